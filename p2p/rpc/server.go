package rpc

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dugnad/dugnad/p2p"
)

// server shares the handlers among the members that call.
type server struct {
	endpoint *Endpoint
	// held counts the bytes of requests that have come and are not yet handled.
	held atomic.Int64

	// mu is taken with a line's lock held, never the other way round.
	mu               sync.Mutex
	guests           map[p2p.NodeID]*guest
	running, watches int
	// turn lists the members that may have a call to be run, who waits longest
	// first.
	turn []*guest
}

// guest is a member that calls, with what it takes up. All but held is guarded
// by the server's lock.
type guest struct {
	id   p2p.NodeID
	held atomic.Int64
	line *inbound
	// users counts its lines: one, or two while one replaces the other.
	users            int
	running, watches int
	// reserved is set aside for answers that take several frames.
	reserved int
	waiting  []*served
	inTurn   bool
}

// state is how far a served call has come.
type state uint8

const (
	stateArriving state = iota
	stateWaiting
	stateRunning
	stateDone
)

func newServer(e *Endpoint) *server {
	return &server{endpoint: e, guests: make(map[p2p.NodeID]*guest)}
}

// enter notes a member's line. It takes the place of the one before.
func (s *server) enter(id p2p.NodeID, in *inbound) *guest {
	s.mu.Lock()
	g := s.guests[id]
	if g == nil {
		g = &guest{id: id}
		s.guests[id] = g
	}
	before := g.line
	g.line = in
	g.users++
	s.mu.Unlock()
	if before != nil {
		s.endpoint.metrics.streams.WithLabelValues("replaced").Inc()
		before.abandon()
	}
	return g
}

func (s *server) leave(g *guest, in *inbound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.line == in {
		g.line = nil
	}
	g.users--
	s.tidy(g)
}

// tidy forgets a member that takes up nothing.
func (s *server) tidy(g *guest) {
	if g.users == 0 && g.running == 0 && g.watches == 0 {
		delete(s.guests, g.id)
	}
}

// check says whether a call may be handled at all.
func (s *server) check(c *served) *Error {
	e := s.endpoint
	role, ok := e.config.Network.RoleOf(c.in.guest.id)
	switch {
	case !c.method.known || c.watch != (c.method.Watch != nil):
		return &Error{Code: CodeUnknownMethod}
	case !ok || role < c.method.Allow:
		return fail(CodeNotAllowed, "role %d, at least %d", role, c.method.Allow)
	case c.total > c.method.RequestBytesMax:
		e.metrics.limits.WithLabelValues("request_bytes").Inc()
		return fail(CodeRequestTooLarge, "%d bytes, at most %d", c.total, c.method.RequestBytesMax)
	}
	return nil
}

// refuse answers a call that no handler was called for.
func (s *server) refuse(c *served, refusal *Error) {
	if refusal.Code == CodeBusy {
		s.endpoint.metrics.limits.WithLabelValues("serve").Inc()
	}
	c.refused = true
	s.mu.Lock()
	c.state = stateDone
	s.mu.Unlock()
	s.let(c.in.guest, len(c.body))
	if c.cancel != nil {
		c.cancel()
	}
	c.method.served.count(refusal, 0)
	c.reply(nil, refusal)
}

// hold books n bytes of a request. It returns false when there is no room.
func (s *server) hold(g *guest, n int) bool {
	all, own := s.held.Add(int64(n)), g.held.Add(int64(n))
	if all > int64(s.endpoint.config.HeldBytesMax) && own > PeerBytesFloor {
		s.let(g, n)
		return false
	}
	s.endpoint.metrics.held.Add(float64(n))
	return true
}

// let gives back what hold booked.
func (s *server) let(g *guest, n int) {
	s.held.Add(int64(-n))
	g.held.Add(int64(-n))
	s.endpoint.metrics.held.Sub(float64(n))
}

// admit has a complete request handled, in its turn.
func (s *server) admit(c *served) {
	g := c.in.guest
	s.mu.Lock()
	if c.watch {
		config := s.endpoint.config
		full := s.watches >= config.WatchesMax || g.watches >= config.WatchesPerPeerMax
		if !full {
			s.watches++
			g.watches++
			c.state = stateRunning
			s.endpoint.work(c.run)
		}
		s.mu.Unlock()
		if full {
			s.refuse(c, fail(CodeBusy, "%d watches, %d of one member, are served", config.WatchesMax, config.WatchesPerPeerMax))
		}
		return
	}
	defer s.mu.Unlock()
	c.state = stateWaiting
	g.waiting = append(g.waiting, c)
	s.endpoint.metrics.waiting.Inc()
	s.ready(g)
	s.next()
}

// ready puts a member that has requests waiting at the end of those whose turn
// comes.
func (s *server) ready(g *guest) {
	if !g.inTurn && len(g.waiting) > 0 {
		g.inTurn = true
		s.turn = append(s.turn, g)
	}
}

// next starts handlers: one of each member in turn, as long as there is room.
// A member whose own share is full is passed over until some of it is free.
func (s *server) next() {
	e := s.endpoint
	for s.running < e.config.HandlersMax && len(s.turn) > 0 {
		g := s.turn[0]
		s.turn[0] = nil
		s.turn = s.turn[1:]
		g.inTurn = false
		if len(g.waiting) == 0 || g.running >= e.config.HandlersPerPeerMax {
			continue
		}
		c := g.waiting[0]
		reserve := 0
		if c.method.ResponseBytesMax > FrameBytesMax-answerHeadBytes {
			reserve = c.method.ResponseBytesMax
		}
		if g.reserved+reserve > AnswerBytesMax {
			continue
		}
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		e.metrics.waiting.Dec()
		s.running++
		g.running++
		g.reserved += reserve
		c.reserved, c.state = reserve, stateRunning
		e.metrics.running.Inc()
		e.work(c.run)
		s.ready(g)
	}
}

// finish books that a handler has returned, with an answer of so many bytes to
// be written.
func (s *server) finish(c *served, answer int) {
	g := c.in.guest
	s.let(g, c.total)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.state = stateDone
	if c.watch {
		s.watches--
		g.watches--
	} else {
		s.running--
		g.running--
		s.endpoint.metrics.running.Dec()
		keep := 0
		if answer > FrameBytesMax-answerHeadBytes {
			keep = answer
		}
		g.reserved -= c.reserved - keep
		c.reserved = keep
	}
	s.tidy(g)
	s.ready(g)
	s.next()
}

// free gives back what was set aside for an answer.
func (s *server) free(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := c.in.guest
	g.reserved -= c.reserved
	c.reserved = 0
	s.ready(g)
	s.next()
}

// withdraw ends a call that was taken out of its line's.
func (s *server) withdraw(c *served) {
	if c.cancel != nil {
		c.cancel()
	}
	g := c.in.guest
	s.mu.Lock()
	was := c.state
	if was == stateWaiting {
		at := slices.Index(g.waiting, c)
		g.waiting = slices.Delete(g.waiting, at, at+1)
		s.endpoint.metrics.waiting.Dec()
		s.ready(g)
		s.next()
	}
	if was != stateRunning {
		c.state = stateDone
	}
	s.mu.Unlock()
	switch was {
	case stateArriving, stateWaiting:
		s.let(g, len(c.body))
		c.method.served.count(&Error{Code: CodeCancelled}, 0)
	case stateDone:
		s.free(c)
	}
}
