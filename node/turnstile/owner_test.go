package turnstile

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// owned is a turnstile whose connections tests make, with the context of their requests.
type owned struct {
	*Turnstile
	t *testing.T
}

func openOwned(t *testing.T, c Config) *owned {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.Encrypted = Port, true
	bounded, err := New(l, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bounded.Close() })
	return &owned{bounded, t}
}

// connect makes a connection whose first request has come.
func (o *owned) connect() (client, there net.Conn, request context.Context) {
	o.t.Helper()
	client, err := (&net.Dialer{}).DialContext(o.t.Context(), "tcp", o.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = client.Close() })
	if there, err = o.Accept(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = there.Close() })
	o.Note(there, http.StateNew)
	o.Note(there, http.StateActive)
	return client, there, o.Context(o.t.Context(), there)
}

func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// TestOwner: an owner has so many connections; one of them that waits makes room for
// another, and those of others do not.
func TestOwner(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := openOwned(t, Config{Places: 8, PerOwner: 2, Registerer: reg})
	firstClient, first, a := o.connect()
	_, second, b := o.connect()
	_, third, c := o.connect()
	for _, request := range []context.Context{a, a, b} {
		if !Claim(request, "acme") {
			t.Fatal("two of two are refused")
		}
	}
	if !Crowded(c, "acme") || Claim(c, "acme") || Crowded(a, "acme") || Crowded(c, "beta") {
		t.Error("a third one is not refused, or others are")
	}
	if !Claim(c, "beta") || o.owned["acme"] != 2 || o.owned["beta"] != 1 {
		t.Errorf("owned: %v", o.owned)
	}
	o.Note(third, http.StateIdle) // another's that waits makes no room
	if Claim(c, "acme") {
		t.Error("a third one is let in")
	}
	o.Note(first, http.StateIdle)
	if Crowded(c, "acme") || !Claim(c, "acme") || !closed(firstClient) {
		t.Error("the one that waits makes no room")
	}
	if o.owned["acme"] != 2 || o.owned["beta"] != 0 || o.crowds[crowd{owner: "acme"}] != 1 {
		t.Errorf("owned: %v, waiting: %v", o.owned, o.crowds)
	}
	for _, there := range []net.Conn{first, second, third} {
		_ = there.Close()
	}
	if len(o.owned)+len(o.crowds)+len(o.all)+o.waiting.Len() != 0 || Claim(a, "acme") != true || len(o.owned) != 0 {
		t.Errorf("what is closed stays: %v, %v, %v", o.owned, o.crowds, o.all)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == Owner && m.GetCounter().GetValue() != 3 {
			t.Errorf("%v: want three refusals", m)
		}
	}
	if !Claim(t.Context(), "acme") || Crowded(t.Context(), "acme") {
		t.Error("what came by no turnstile is refused")
	}
}

// TestOwnersMakeRoom: when there is no place left it is one of the owner's that has the
// most which makes room, also where all have one address.
func TestOwnersMakeRoom(t *testing.T) {
	o := openOwned(t, Config{Places: 3})
	alone, there, request := o.connect()
	Claim(request, "beta")
	o.Note(there, http.StateIdle)
	many, there, request := o.connect()
	Claim(request, "acme")
	o.Note(there, http.StateIdle)
	_, there, request = o.connect()
	Claim(request, "acme")
	o.Note(there, http.StateIdle)
	o.connect()
	if !closed(many) {
		t.Error("the one who has two keeps both")
	}
	_ = alone.SetReadDeadline(time.Now())
	if _, err := alone.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		t.Error("the one who has one has made room")
	}
}
