package replica_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// messages has something befall single messages between members: what Raft and
// the replica's calls ask, and what they answer. It stands where members dial and
// knows where a message ends, so that a connection never carries half of one.
//
// A call has a number, so that any frame may be missing, come twice or behind a
// later one. Raft's requests have none: one that is lost takes its connection
// along, as it would after a time-out, and one that comes late or again does so
// over a connection of its own. Streams of changes and snapshots are left alone:
// they are one message, and a byte stream keeps its order.
type messages struct {
	mu     sync.Mutex
	random *rand.Rand
	// odds is how many of a hundred messages something befalls.
	odds   int
	counts map[string]int
	late   sync.WaitGroup
}

// lateMax bounds how late a message comes: long enough for another election.
const lateMax = 400 * time.Millisecond

const (
	lost    = "lost"
	doubled = "doubled"
	late    = "late"
)

// befallen are all the ways in which a message can go astray.
var befallen = []string{
	"raft request lost", "raft request doubled", "raft request late", "raft answer lost",
	"call request lost", "call request doubled", "call request late",
	"call answer lost", "call answer doubled", "call answer late",
}

func newMessages(t testing.TB, seed uint64) *messages {
	m := &messages{random: rand.New(rand.NewPCG(seed, 9)), counts: map[string]int{}}
	t.Cleanup(m.settle)
	return m
}

// disturb sets how many of a hundred messages something befalls from now on.
func (m *messages) disturb(odds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.odds = odds
}

// settle disturbs no more and returns when what is late has arrived.
func (m *messages) settle() {
	m.disturb(0)
	m.late.Wait()
}

// missing returns what has befallen no message yet.
func (m *messages) missing() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, what := range befallen {
		if m.counts[what] == 0 {
			list = append(list, what)
		}
	}
	return list
}

// String tells how often what has befallen messages.
func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := ""
	for _, what := range slices.Sorted(maps.Keys(m.counts)) {
		text += fmt.Sprintf(", %d %s", m.counts[what], what)
	}
	return text
}

// draw returns one of fates, or "" when the message arrives.
func (m *messages) draw(fates ...string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.odds == 0 || m.random.IntN(100) >= m.odds {
		return ""
	}
	return fates[m.random.IntN(len(fates))]
}

// count notes that something has befallen a message.
func (m *messages) count(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what]++
}

// later delivers after a while, and counts what was delivered.
func (m *messages) later(what string, deliver func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.odds == 0 {
		return
	}
	after := time.NewTimer(time.Duration(m.random.Int64N(int64(lateMax))))
	m.late.Go(func() {
		<-after.C
		if deliver() == nil {
			m.count(what)
		}
	})
}

type dialFunc = func(ctx context.Context, address string) (net.Conn, error)

// dial is dial with what befalls messages.
func (m *messages) dial(dial dialFunc) dialFunc {
	return func(ctx context.Context, address string) (net.Conn, error) {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		again := func(ctx context.Context) (net.Conn, error) { return dial(ctx, address) }
		return &messageConn{Conn: c, messages: m, again: again}, nil
	}
}

// Where a hello says what its connection is for, and the numbers that matter: as
// wire.go has them, and Raft's transport.
const (
	helloProtocol       = len("dugnadl") + 4 + 1
	protocolRaft        = 1
	protocolCall        = 2
	raftInstallSnapshot = 2
)

// messageConn is the end of a connection that was dialled. Each of its writes is
// one message.
type messageConn struct {
	net.Conn
	messages *messages
	// again dials the same member once more.
	again func(ctx context.Context) (net.Conn, error)

	// writing is held while something is written, late things too.
	writing  sync.Mutex
	hello    []byte
	protocol byte
	// bulk says that a snapshot is being written, cut that the next answer is lost.
	bulk, cut atomic.Bool

	// arrived are frames to be read; behind them comes held, with the next one.
	arrived, held []byte
	greeted       bool
}

// Write implements net.Conn.
func (c *messageConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	switch {
	case c.hello == nil:
		c.hello, c.protocol = slices.Clone(b), b[helloProtocol]
	case c.protocol == protocolCall:
		return c.writeCall(b)
	case c.protocol == protocolRaft && !c.bulk.Load():
		return c.writeRaft(b)
	}
	return c.Conn.Write(b)
}

func (c *messageConn) writeCall(b []byte) (int, error) {
	fate := c.messages.draw(lost, doubled, late)
	switch fate {
	case lost:
		c.messages.count("call request lost")
		return len(b), nil
	case doubled, late:
		frame := slices.Clone(b)
		c.messages.later("call request "+fate, func() error {
			c.writing.Lock()
			defer c.writing.Unlock()
			_, err := c.Conn.Write(frame)
			return err
		})
		if fate == late {
			return len(b), nil
		}
	}
	return c.Conn.Write(b)
}

func (c *messageConn) writeRaft(b []byte) (int, error) {
	fates := []string{lost, doubled, late}
	if b[0] == raftInstallSnapshot {
		c.bulk.Store(true) // what follows is no message
		fates = []string{lost}
	}
	fate := c.messages.draw(fates...)
	if fate == doubled || fate == late {
		request := slices.Clone(b)
		c.messages.later("raft request "+fate, func() error { return c.repeat(request) })
	}
	if fate == lost || fate == late {
		if fate == lost {
			c.messages.count("raft request lost")
		}
		_ = c.Close()
		return 0, os.ErrDeadlineExceeded
	}
	if c.messages.draw(lost) == lost {
		c.cut.Store(true)
	}
	return c.Conn.Write(b)
}

// repeat sends one of Raft's requests over another connection, and reads the
// beginning of the answer.
func (c *messageConn) repeat(request []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	other, err := c.again(ctx)
	if err != nil {
		return err
	}
	defer other.Close()
	defer context.AfterFunc(ctx, func() { other.Close() })()
	if _, err := other.Write(c.hello); err != nil {
		return err
	}
	if _, err := wholeFrame(other); err != nil {
		return err
	}
	if _, err := other.Write(request); err != nil {
		return err
	}
	_, err = other.Read(make([]byte, 1))
	return err
}

// Read implements net.Conn.
func (c *messageConn) Read(b []byte) (int, error) {
	if c.protocol == protocolCall {
		for len(c.arrived) == 0 {
			if err := c.receive(); err != nil {
				return 0, err
			}
		}
		n := copy(b, c.arrived)
		c.arrived = c.arrived[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	c.bulk.Store(false)
	if n > 0 && c.cut.Load() {
		c.messages.count("raft answer lost")
		_ = c.Close()
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// receive takes one answer from the connection.
func (c *messageConn) receive() error {
	frame, err := wholeFrame(c.Conn)
	if err != nil || !c.greeted {
		c.arrived, c.greeted = frame, true
		return err
	}
	fate := c.messages.draw(lost, doubled, late)
	switch fate {
	case late:
		c.held = append(c.held, frame...)
		return nil
	case doubled:
		c.arrived = slices.Concat(frame, frame)
	case "":
		c.arrived = frame
	}
	if fate != "" {
		c.messages.count("call answer " + fate)
	}
	if len(c.held) > 0 && len(c.arrived) > 0 {
		c.messages.count("call answer late")
		c.arrived, c.held = append(c.arrived, c.held...), nil
	}
	return nil
}

// wholeFrame reads a frame with its header.
func wholeFrame(r io.Reader) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(frame)
	if n > 16<<20 {
		return nil, fmt.Errorf("frame has %d bytes", n)
	}
	frame = append(frame, make([]byte, n)...)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
