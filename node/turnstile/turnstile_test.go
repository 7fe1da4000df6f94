package turnstile

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
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
	bounded, err := New(l, Config{Places: 2, Name: Port, Registerer: reg})
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
	counted, err := reg.Gather()
	if err != nil || len(counted) != 1 {
		t.Fatalf("%v, %v: want one metric", counted, err)
	}
	for _, m := range counted[0].GetMetric() {
		if name := m.GetLabel()[0].GetValue(); name == Port && m.GetCounter().GetValue() != 1 {
			t.Errorf("%v: want one refusal", m)
		}
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

// TestRoom: a connection that waits makes room for a new one, first one of those of
// which there are the most; one with a request never does.
func TestRoom(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded, err := New(l, Config{Places: 3, Name: Port, Encrypted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bounded.Close()
	dial := func(from string) (here net.Conn, there net.Conn) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		v, err := bounded.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = v.Close() })
		return c, v
	}
	over := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	alone, visitor := dial("127.0.0.2")
	bounded.Note(visitor, http.StateNew)
	first, visitor := dial("127.0.0.3")
	bounded.Note(visitor, http.StateIdle)
	second, busy := dial("127.0.0.3")
	bounded.Note(busy, http.StateNew)
	third, visitor := dial("127.0.0.4")
	if !over(first) {
		t.Error("the older of two from one address has not made room")
	}
	bounded.Note(visitor, http.StateActive)
	bounded.Note(busy, http.StateActive)
	fourth, _ := dial("127.0.0.3")
	if !over(alone) {
		t.Error("the only one that waits has not made room")
	}
	for _, c := range []net.Conn{second, third, fourth} {
		_ = c.SetReadDeadline(time.Now())
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: one that did not wait was closed", err)
		}
	}
}

// TestPerAddress: one address has its share of the places, and no more.
func TestPerAddress(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded, err := New(l, Config{Places: 10, PerAddress: 2, Name: Port, Encrypted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bounded.Close()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	accept := func() net.Conn {
		t.Helper()
		v, err := bounded.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = v.Close() })
		return v
	}
	dial("127.0.0.2")
	first := accept()
	dial("127.0.0.2")
	accept()
	third := dial("127.0.0.2")
	dial("127.0.0.3")
	if other := accept(); other.RemoteAddr().(*net.TCPAddr).IP.String() != "127.0.0.3" {
		t.Errorf("a third one from an address was let in, which is %s", other.RemoteAddr())
	}
	_ = third.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it was not closed: %v", err)
	}
	bounded.Note(first, http.StateIdle)
	dial("127.0.0.2")
	if fourth := accept(); fourth.RemoteAddr().(*net.TCPAddr).IP.String() != "127.0.0.2" || len(bounded.all) != 2 {
		t.Errorf("one that waits has not made room: %s, %v", fourth.RemoteAddr(), bounded.all)
	}
}
