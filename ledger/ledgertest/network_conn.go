package ledgertest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// halfBytesMax bounds what is under way in one direction of a connection.
const halfBytesMax = 1 << 20

// half is one direction of a connection.
type half struct {
	network  *Network
	from, to string

	mu     sync.Mutex
	pieces []piece
	bytes  int
	due    time.Time
	// sent is closed by the sender's Close, given up by the receiver's.
	ended, abandoned bool
	// changed is closed and replaced when any of it changes.
	changed chan struct{}
}

type piece struct {
	data []byte
	due  time.Time
}

func newHalf(n *Network, from, to string) *half {
	return &half{network: n, from: from, to: to, changed: make(chan struct{})}
}

// wake needs mu.
func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Conn is a connection of a Network.
type Conn struct {
	network       *Network
	local, remote string
	in, out       *half

	mu          sync.Mutex
	closed      bool
	read, write deadline
}

// deadline is a point in time and a channel that is closed when it is changed.
type deadline struct {
	at      time.Time
	changed chan struct{}
}

func (c *Conn) deadline(d *deadline) (time.Time, <-chan struct{}, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.at, d.changed, c.closed
}

// wait returns when one of the channels is closed, at until, or at the deadline
// at. A zero time is never.
func wait(at, until time.Time, channels ...<-chan struct{}) {
	if until.IsZero() || !at.IsZero() && at.Before(until) {
		until = at
	}
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	var third <-chan struct{}
	if len(channels) > 2 {
		third = channels[2]
	}
	select {
	case <-channels[0]:
	case <-channels[1]:
	case <-third:
	case <-timer:
	}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		at, moved, closed := c.deadline(&c.read)
		switch {
		case closed:
			return 0, net.ErrClosed
		case !at.IsZero() && !time.Now().Before(at):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		h := c.in
		h.network.mu.Lock()
		blocked, rules := h.network.isBlocked(h.from, h.to), h.network.changed
		h.network.mu.Unlock()
		h.mu.Lock()
		var until time.Time
		if !blocked {
			if len(h.pieces) == 0 && h.ended {
				h.mu.Unlock()
				return 0, io.EOF
			}
			if len(h.pieces) > 0 {
				p := &h.pieces[0]
				if !p.due.After(time.Now()) {
					n := copy(b, p.data)
					p.data = p.data[n:]
					if len(p.data) == 0 {
						h.pieces = h.pieces[1:]
					}
					h.bytes -= n
					h.wake()
					h.mu.Unlock()
					return n, nil
				}
				until = p.due
			}
		}
		changed := h.changed
		h.mu.Unlock()
		wait(at, until, changed, moved, rules)
	}
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	written := 0
	for {
		at, moved, closed := c.deadline(&c.write)
		switch {
		case closed:
			return written, net.ErrClosed
		case !at.IsZero() && !time.Now().Before(at):
			return written, os.ErrDeadlineExceeded
		case written == len(b):
			return written, nil
		}
		h := c.out
		h.network.mu.Lock()
		delay := h.network.delay(h.from, h.to)
		h.network.mu.Unlock()
		h.mu.Lock()
		if h.abandoned {
			h.mu.Unlock()
			return written, errReset
		}
		if room := halfBytesMax - h.bytes; room > 0 {
			part := b[written:min(len(b), written+room)]
			due := time.Now().Add(delay)
			if due.Before(h.due) {
				due = h.due
			}
			h.due = due
			h.pieces = append(h.pieces, piece{append([]byte(nil), part...), due})
			h.bytes += len(part)
			written += len(part)
			h.wake()
			h.mu.Unlock()
			h.network.mu.Lock()
			h.network.bytes[link{h.from, h.to}] += uint64(len(part))
			h.network.mu.Unlock()
			continue
		}
		changed := h.changed
		h.mu.Unlock()
		wait(at, time.Time{}, changed, moved)
	}
}

// Close implements net.Conn. What was written before still arrives.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for _, d := range []*deadline{&c.read, &c.write} {
		if d.changed != nil {
			close(d.changed)
			d.changed = nil
		}
	}
	c.mu.Unlock()
	c.out.mu.Lock()
	c.out.ended = true
	c.out.wake()
	c.out.mu.Unlock()
	c.in.mu.Lock()
	c.in.abandoned = true
	c.in.wake()
	c.in.mu.Unlock()
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return netAddr(c.local) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.set(&c.read, t)
	c.set(&c.write, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.set(&c.read, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.set(&c.write, t)
	return nil
}

func (c *Conn) set(d *deadline, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.at = t
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}
