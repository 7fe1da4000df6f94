package turnstile

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
)

// TestTurnstile: a connection too many hears so, and there is room again when one
// of the others has gone.
func TestTurnstile(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	bounded, err := New(l, 2, Port, reg)
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(bounded) }()
	defer func() {
		_ = server.Close()
		<-served
	}()
	ask := func(c net.Conn) *http.Response {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: node\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	first, second := dial(), dial()
	for _, c := range []net.Conn{first, second} {
		if r := ask(c); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status)
		}
	}
	r := ask(dial())
	var p api.Problem
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.StatusCode != http.StatusServiceUnavailable || p.Code != api.CodeOverloaded {
		t.Fatalf("%s, %+v, %v", r.Status, p, err)
	}
	if counted, err := reg.Gather(); err != nil || len(counted) != 1 || counted[0].GetMetric()[0].GetCounter().GetValue() != 1 {
		t.Errorf("%v, %v: want one refusal", counted, err)
	}
	_ = first.Close()
	for again := 0; ; again++ {
		// The server learns of the close at its own time.
		if r := ask(dial()); r.StatusCode == http.StatusOK {
			break
		}
		if again > 1000 {
			t.Fatal("no room after one has gone")
		}
	}
}
