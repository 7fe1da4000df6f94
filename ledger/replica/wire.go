package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A connection begins with a hello: the magic, then one frame with version,
// protocol and who calls. The answer is one frame with a code, a text and who
// answers. Then the protocol has the connection.
const (
	helloMagic    = "dugnadl"
	wireVersion   = 1
	helloBytesMax = 4096
)

// protocol is what a connection is for. Append-only.
type protocol uint8

const (
	protocolRaft     protocol = 1
	protocolCall     protocol = 2
	protocolStream   protocol = 3
	protocolSnapshot protocol = 4
)

// identity is what both sides tell of themselves.
type identity struct{ lineage, id, address string }

func (i identity) append(to []byte) []byte {
	return appendBytes(appendBytes(appendBytes(to, i.lineage), i.id), i.address)
}

func readIdentity(d *decoder) identity {
	return identity{d.string(lineageBytesMax), d.string(idBytesMax), d.string(addressBytesMax)}
}

// conn is a connection behind its hello. Reads go through the buffer.
type conn struct {
	net.Conn
	r    *bufio.Reader
	peer identity
	// closed is called once, by the first Close.
	closed func()
	once   sync.Once
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.closed != nil {
			c.closed()
		}
	})
	return err
}

// dial connects to address for a protocol. The connection is closed when the
// replica is.
func (r *Replica) dial(ctx context.Context, address string, p protocol) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.RPCTimeout)
	defer cancel()
	raw, err := r.config.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c := &conn{Conn: raw, r: bufio.NewReaderSize(raw, 32<<10)}
	if !r.conns.add(c, nil) {
		raw.Close()
		return nil, ErrClosed
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	err = r.greet(c, p)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("greet %s: %w", address, err)
	}
	return c, nil
}

func (r *Replica) greet(c *conn, p protocol) error {
	hello := beginFrame([]byte(helloMagic))
	hello = append(hello, wireVersion, byte(p))
	hello = endFrame(r.self().append(hello), len(helloMagic))
	if _, err := c.Write(hello); err != nil {
		return err
	}
	answer, err := readFrame(c.r, helloBytesMax)
	if err != nil {
		return err
	}
	d := decoder{rest: answer}
	result, text := code(d.byte()), d.string(helloBytesMax)
	c.peer = readIdentity(&d)
	if d.err != nil {
		return d.err
	}
	return errorOf(result, text)
}

// self returns what this member tells of itself.
func (r *Replica) self() identity {
	return identity{r.book.view().lineage, r.config.ID, r.config.Address}
}

// acceptPause is how long accept waits after an error, and at most for a caller that
// it turns away.
const acceptPause = 500 * time.Millisecond

// accept takes connections until the listener is closed.
func (r *Replica) accept() {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		raw, err := r.config.Listener.Accept()
		if r.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				raw.Close()
			}
			return
		}
		if err != nil {
			r.log.Warn("accepting a connection did not work", "err", err)
			if !r.pause(acceptPause) {
				return
			}
			continue
		}
		if r.conns.len() >= r.config.ConnectionsMax {
			r.metrics.limits.WithLabelValues("connections").Inc()
			r.turnAway(raw)
			continue
		}
		c := &conn{Conn: raw, r: bufio.NewReaderSize(raw, 32<<10)}
		if !r.conns.add(c, nil) {
			raw.Close()
			return
		}
		handlers.Go(func() { r.handle(c) })
	}
}

// turnAway tells a caller, without having heard it, that there are too many. It
// does not wait for one that does not listen.
func (r *Replica) turnAway(raw net.Conn) {
	defer raw.Close()
	raw.SetWriteDeadline(time.Now().Add(acceptPause))
	busy := fmt.Errorf("%w: %d connections", errBusy, r.config.ConnectionsMax)
	if err := writeFrame(raw, r.self().append(appendCode(codeBusy, busy))); err != nil {
		r.log.Debug("connection was closed without a word", "err", err)
	}
}

// handle speaks with one caller until the connection ends.
func (r *Replica) handle(c *conn) {
	keep := false
	defer func() {
		if !keep {
			_ = c.Close()
		}
	}()
	c.SetDeadline(time.Now().Add(r.config.RPCTimeout))
	p, err := r.welcome(c)
	if err != nil {
		r.log.Debug("connection was refused", "id", c.peer.id, "err", err)
		return
	}
	c.SetDeadline(time.Time{})
	switch p {
	case protocolRaft:
		keep = r.engine.offer(c)
	case protocolCall:
		r.serveCalls(c)
	case protocolStream:
		r.serveStream(c)
	case protocolSnapshot:
		r.serveSnapshot(c)
	}
}

func (r *Replica) welcome(c *conn) (protocol, error) {
	var magic [len(helloMagic)]byte
	if _, err := io.ReadFull(c.r, magic[:]); err != nil {
		return 0, err
	}
	if string(magic[:]) != helloMagic {
		return 0, fmt.Errorf("hello begins with %q: %w", magic, ErrCorrupt)
	}
	hello, err := readFrame(c.r, helloBytesMax)
	if err != nil {
		return 0, err
	}
	d := decoder{rest: hello}
	version, p := d.byte(), protocol(d.byte())
	c.peer = readIdentity(&d)
	if err := d.end(); err != nil {
		return 0, err
	}
	result, err := r.admit(c, version, p)
	return p, errors.Join(err, writeFrame(c, r.self().append(appendCode(result, err))))
}

func (r *Replica) admit(c *conn, version byte, p protocol) (code, error) {
	if version != wireVersion || p < protocolRaft || p > protocolSnapshot {
		return codeVersion, fmt.Errorf("this member speaks version %d, not %d with protocol %d", wireVersion, version, p)
	}
	if r.config.Admit != nil {
		if err := r.config.Admit(c.Conn, c.peer.id); err != nil {
			return codeNotMember, fmt.Errorf("admit %q: %w", c.peer.id, err)
		}
	}
	mine := r.book.view().lineage
	if mine != "" && c.peer.lineage != "" && mine != c.peer.lineage && p == protocolRaft {
		return codeNotMember, fmt.Errorf("member is of another history of the grid: %w", ErrNotMember)
	}
	return codeOK, nil
}

// connSet keeps the open connections, to close them all.
type connSet struct {
	mu     sync.Mutex
	open   map[*conn]struct{}
	closed bool
}

// add keeps c until it is closed, and calls after, unless it is nil, then;
// false means that the set is closed.
func (s *connSet) add(c *conn, after func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open[c] = struct{}{}
	c.closed = func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
		if after != nil {
			after()
		}
	}
	return true
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *connSet) close() {
	s.mu.Lock()
	s.closed = true
	open := make([]*conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}
