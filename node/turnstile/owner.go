package turnstile

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
)

// PerOwnerMax bounds the connections of one owner, whom requests by them are found to be
// of.
const PerOwnerMax = ConnectionsMax / 4

// crowd is who has connections: an owner, or an address as long as none is known.
type crowd struct {
	owner   string
	address netip.Addr
}

type contextKey struct{}

// Context puts a connection into the context of its requests, as http.Server.ConnContext
// does: Claim and Crowded are about it.
func (t *Turnstile) Context(ctx context.Context, c net.Conn) context.Context {
	if v := visitorOf(c); v != nil {
		return context.WithValue(ctx, contextKey{}, v)
	}
	return ctx
}

// Claim says whose the connection is by which a request has come, from now on. One that
// waits and is of the same owner makes room for one too many; when none does Claim returns
// false, and the connection stays whose it was. Whatever came by no turnstile is claimed.
func Claim(ctx context.Context, owner string) bool {
	v, _ := ctx.Value(contextKey{}).(*visitor)
	if v == nil {
		return true
	}
	t := v.turnstile
	out, ok := t.claim(v, owner)
	if out != nil {
		t.displaced.Inc()
		_ = out.Close()
	}
	if !ok {
		t.crowded.Inc()
	}
	return ok
}

// claim makes a visitor an owner's, and returns who has to leave for that.
func (t *Turnstile) claim(v *visitor, owner string) (out *visitor, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.gone || v.owner == owner {
		return nil, true
	}
	if t.owned[owner] >= t.perOwner {
		if out = t.front(func(w *visitor) bool { return w.owner == owner }); out == nil {
			return nil, false
		}
		t.disown(out)
	}
	waits := v.place != nil
	t.disown(v)
	v.owner = owner
	t.owned[owner]++
	if waits {
		t.await(v)
	}
	return out, true
}

// disown takes a visitor from its owner, and out of those that wait.
func (t *Turnstile) disown(v *visitor) {
	t.forget(v)
	if v.owner == "" {
		return
	}
	if t.owned[v.owner]--; t.owned[v.owner] == 0 {
		delete(t.owned, v.owner)
	}
	v.owner = ""
}

// Crowded reports whether Claim would return false, and claims nothing.
func Crowded(ctx context.Context, owner string) bool {
	v, _ := ctx.Value(contextKey{}).(*visitor)
	if v == nil {
		return false
	}
	t := v.turnstile
	t.mu.Lock()
	defer t.mu.Unlock()
	crowded := v.owner != owner && t.owned[owner] >= t.perOwner && t.crowds[crowd{owner: owner}] == 0
	if crowded {
		t.crowded.Inc()
	}
	return crowded
}

// visitorOf returns the visitor of a connection of this package, or of one with TLS
// above, nil of another.
func visitorOf(c net.Conn) *visitor {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	v, _ := c.(*visitor)
	return v
}
