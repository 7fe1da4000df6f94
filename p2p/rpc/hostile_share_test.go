package rpc

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// TestNeverReads makes a member ask for large answers that it does not read: no
// more are made than fit into its share, and its stream ends when it has stood
// still for StallTimeMax.
func TestNeverReads(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		s := v.dial(t)
		var sent raw
		for i := range uint64(InFlightMax) {
			sent = sent.call(1+i, "large", 0)
		}
		s.Write(sent)
		synctest.Wait()
		g := v.guest("h")
		if g.reserved > AnswerBytesMax || g.running != 0 || len(g.waiting) != InFlightMax-AnswerBytesMax/(4<<20) {
			t.Errorf("%d bytes set aside, %d handlers, %d waiting", g.reserved, g.running, len(g.waiting))
		}
		if got, err := v.honest.Call(t.Context(), "v", "echo", nil); err != nil {
			t.Errorf("the honest member got %q, %v", got, err)
		}
		<-time.After(Default().StallTimeMax + time.Second)
		if v.guest("h") != nil {
			t.Error("the member still takes something up")
		}
		if _, err := io.Copy(io.Discard, s); err == nil {
			t.Error("the stream of a member that never reads ended well")
		}
	})
}

func (v *victim) guest(id p2p.NodeID) *guest {
	v.endpoint.server.mu.Lock()
	defer v.endpoint.server.mu.Unlock()
	return v.endpoint.server.guests[id]
}

// TestHalfRequest leaves requests, and a frame, half sent.
func TestHalfRequest(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		s := v.dial(t)
		var sent raw
		for i := range uint64(InFlightMax) {
			sent = sent.call(1+i, "echo", 1<<20, make([]byte, 1000)...)
		}
		s.Write(append(sent, 1, 2, 3))
		synctest.Wait()
		if n := v.guest("h").held.Load(); n != InFlightMax*1000 {
			t.Errorf("%d bytes are held, want what was sent", n)
		}
		s.Reset()
		synctest.Wait()
		if n := v.endpoint.server.held.Load(); n != 0 || v.guest("h") != nil {
			t.Errorf("%d bytes are held after the end", n)
		}
	})
}

// TestCancelStorm calls and cancels handlers that do not listen to their
// context, and comes back on new streams: the share stays the same.
func TestCancelStorm(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		for range 5 {
			s := v.dial(t)
			for i := range uint64(500) {
				s.Write(raw{}.call(1+i, "stubborn", 0).frame(kindCancel, 1+i))
			}
			s.Write(raw{}.call(501, "stubborn", 0))
			synctest.Wait()
			g := v.guest("h")
			if g.running > Default().HandlersPerPeerMax || len(g.waiting) > 1 {
				t.Errorf("%d handlers, %d waiting", g.running, len(g.waiting))
			}
		}
	})
}

// TestHeldBytes refuses a member what goes beyond the bytes that may be held,
// and serves one that holds little.
func TestHeldBytes(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		s := v.dial(t)
		for i := range uint64(3) {
			sent := raw{}.call(1+i, "stubborn", 1<<20)
			for range 32 {
				sent = sent.frame(kindBody, 1+i, make([]byte, FrameBytesMax)...)
			}
			s.Write(sent)
		}
		synctest.Wait()
		if n := v.endpoint.server.held.Load(); n > 2<<20 {
			t.Errorf("%d bytes are held, want at most %d", n, 2<<20)
		}
		b := make([]byte, headerBytes+2)
		io.ReadFull(s, b)
		if h, _ := decodeHeader(b); h.kind != kindEnd || Code(b[headerBytes]) != CodeBusy {
			t.Errorf("the third call: kind %d, code %d", h.kind, b[headerBytes])
		}
	}, func(c *Config) { c.HeldBytesMax = 2 << 20 })
}
