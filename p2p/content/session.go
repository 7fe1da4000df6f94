package content

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
)

// readBytes is how much is read before it is hashed: little enough to still be
// in the cache of the core.
const readBytes = 256 << 10

// brisk is how soon a range must be here for the next one to be longer.
const brisk = 200 * time.Millisecond

// rearm is how old a deadline is before it is put off: what comes fast needs one only.
const rearm = 100 * time.Millisecond

// reuseMax is how long a stream may have been unused to be used again: less than
// holders wait for a request.
const reuseMax = 20 * time.Second

// errDoubt ends a stream, but not the session.
var errDoubt = errors.New("chunk does not fit, and the list may be old")

// errRefused ends a session without blame.
var errRefused = errors.New("holder refused")

// session is one stream to a holder.
type session struct {
	t      *transfer
	h      *holder
	stream p2p.Stream
	// stop ends the watch that resets the stream when the holder is dropped.
	stop   func() bool
	used   time.Time
	hasher *hasher
	buffer []byte
}

// session asks h for what is missing, until it ends one way or the other.
func (t *transfer) session(h *holder, first bool) {
	defer func() {
		t.mu.Lock()
		h.sessions--
		if h.sessions == 0 {
			t.drop(h)
		}
		t.mu.Unlock()
	}()
	buffer := t.s.takeBuffer()
	defer t.s.giveBuffer(buffer)
	n := session{t: t, h: h, hasher: newHasher(), buffer: buffer}
	if err := n.open(); err != nil {
		if first && h.ctx.Err() == nil {
			t.blame(h, ReasonUnreachable)
		}
		return
	}
	err := n.run()
	n.stop()
	if err != nil {
		_ = n.stream.Reset()
		n.judge(err)
		return
	}
	_ = n.stream.Close()
}

// open opens the session's stream.
func (n *session) open() error {
	ctx, cancel := context.WithTimeout(n.h.ctx, n.t.x.config.ChunkTimeout)
	defer cancel()
	stream, err := n.t.x.network.Open(ctx, n.h.id, Protocol)
	if err != nil {
		return err
	}
	n.stream, n.used = stream, time.Now()
	n.stop = context.AfterFunc(n.h.ctx, func() { _ = stream.Reset() })
	return nil
}

// renew opens another stream instead of one that the holder may have closed
// because nothing was asked on it for long, or whose answer was cut short.
func (n *session) renew() error {
	n.stop()
	_ = n.stream.Reset()
	return n.open()
}

// judge says what an error means for the holder.
func (n *session) judge(err error) {
	var wrong *misdeed
	var timeout net.Error
	switch {
	case n.h.ctx.Err() != nil || errors.Is(err, errRefused):
	case errors.As(err, &wrong):
		n.t.blame(n.h, wrong.reason)
	case errors.Is(err, errFrame):
		n.t.blame(n.h, ReasonMalformed)
	case errors.As(err, &timeout) && timeout.Timeout():
		n.t.blame(n.h, ReasonSlow)
	default:
		n.t.blame(n.h, ReasonLost)
	}
}

// misdeed is an error that a holder is to blame for.
type misdeed struct{ reason Reason }

func (m *misdeed) Error() string { return "holder is at fault: " + m.reason.String() }

func (n *session) run() error {
	for {
		j, ok := n.t.take(n.h)
		if !ok {
			return nil
		}
		if err := n.do(j); errors.Is(err, errDoubt) {
			if err := n.renew(); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
}

func (n *session) do(j job) error {
	if j.kind == requestList {
		return n.list(j)
	}
	return n.fetch(j)
}

func (n *session) request(q request) error {
	if time.Since(n.used) > reuseMax {
		if err := n.renew(); err != nil {
			return err
		}
	}
	n.used = time.Now()
	_ = n.stream.SetWriteDeadline(time.Now().Add(n.t.x.config.ChunkTimeout))
	_, err := n.stream.Write(q.frame())
	return err
}

// answer reads the head of the next answer.
func (n *session) answer(most int) (kind byte, length int, err error) {
	_ = n.stream.SetReadDeadline(time.Now().Add(n.t.x.config.ChunkTimeout))
	kind, length, err = readHead(n.stream, most)
	return kind, length, noEOF(err)
}

// list asks what the holder has.
func (n *session) list(j job) error {
	q := request{kind: requestList, hash: n.t.hash}
	if j.chain != nil {
		q.known = j.chain.digest()
	}
	if err := n.request(q); err != nil {
		return err
	}
	kind, length, err := n.answer(answerBytesMax)
	if err != nil {
		return err
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(n.stream, b); err != nil {
		return noEOF(err)
	}
	if kind == answerRefusal {
		return n.refused(j, 0, b)
	}
	n.t.x.config.Down.Book(bandwidth.KindObjects, length)
	if kind != answerList {
		return fmt.Errorf("%w: answer of kind %d to a list", errFrame, kind)
	}
	l, err := parseListing(n.t.hash, b)
	if err != nil {
		return err
	}
	if l.chain == nil {
		if j.chain == nil || l.size != j.chain.size {
			return fmt.Errorf("%w: listing without a chain", errFrame)
		}
		l.chain = j.chain
	}
	n.t.listed(n.h, l)
	return nil
}

// fetch asks for a range and takes its chunks in.
func (n *session) fetch(j job) error {
	k := j.first
	defer func() { n.t.land(n.h, j, k) }()
	if err := n.afford(j); err != nil {
		return err
	}
	began := time.Now()
	if err := n.request(request{kind: requestRange, hash: n.t.hash, first: j.first, count: j.count, insist: j.insist}); err != nil {
		return err
	}
	for ; k < j.first+j.count; k++ {
		refused, err := n.chunk(j, k)
		if err != nil || refused {
			return err
		}
		n.t.mu.Lock()
		n.t.landOne(n.h, k)
		n.t.mu.Unlock()
	}
	n.used = time.Now()
	n.t.mu.Lock()
	n.h.poll = pollFirst
	if time.Since(began) < brisk {
		n.h.pace = min(2*n.h.pace, RangeChunksMax)
	} else {
		n.h.pace = max(1, n.h.pace/2)
	}
	n.t.mu.Unlock()
	return nil
}

// afford waits until the bandwidth allows for a job's chunks. What was asked for is read
// at once: what comes and is not read would hold up the connection, which the ledger
// shares.
func (n *session) afford(j job) error {
	size := 0
	for k := j.first; k < j.first+j.count; k++ {
		_, bytes := j.chain.span(k)
		size += bytes
	}
	down := n.t.x.config.Down
	if down.Bound() {
		n.t.hold(n.h, j, true)
		defer n.t.hold(n.h, j, false)
	}
	return down.Wait(n.h.ctx, bandwidth.KindObjects, size)
}

// chunk reads the answer for chunk k. The bytes are hashed as they come; only
// if they fit do they reach the disk.
func (n *session) chunk(j job, k int) (refused bool, err error) {
	_, size := j.chain.span(k)
	kind, length, err := n.answer(1 + 4 + ChunkBytes)
	if err != nil {
		return false, err
	}
	if kind == answerRefusal {
		b := n.buffer[:min(length, len(n.buffer))]
		if _, err := io.ReadFull(n.stream, b); err != nil {
			return false, noEOF(err)
		}
		return true, n.refused(j, k, b)
	}
	if kind != answerData || length != 4+size {
		return false, fmt.Errorf("%w: answer of kind %d and %d bytes for a chunk of %d", errFrame, kind, length, size)
	}
	b := n.buffer[:size]
	if err := n.data(j, k, b); err != nil {
		return false, err
	}
	if !j.chain.ends(n.hasher, k) {
		if n.t.doubt(n.h) {
			return false, errDoubt
		}
		return false, &misdeed{reason: ReasonWrong}
	}
	if err := n.t.accept(j.generation, k, b); err != nil {
		n.t.fail(err)
		return false, errRefused
	}
	return false, nil
}

// data reads chunk k into b and hashes it.
func (n *session) data(j job, k int, b []byte) error {
	var index [4]byte
	if _, err := io.ReadFull(n.stream, index[:]); err != nil {
		return noEOF(err)
	}
	if got := binary.BigEndian.Uint32(index[:]); int64(got) != int64(k) {
		return fmt.Errorf("%w: chunk %d instead of %d", errFrame, got, k)
	}
	j.chain.begin(n.hasher, k)
	for at := 0; at < len(b); {
		end := min(at+readBytes, len(b))
		if err := n.fill(b[at:end]); err != nil {
			return noEOF(err)
		}
		_, _ = n.hasher.Write(b[at:end])
		at = end
	}
	return nil
}

// fill reads into all of b, each piece of which may take as long as an answer.
func (n *session) fill(b []byte) error {
	armed := time.Now()
	for at, piece := 0, 0; at < len(b); {
		count, err := n.stream.Read(b[at:])
		at, piece = at+count, piece+count
		if err != nil && at < len(b) {
			return err
		}
		if now := time.Now(); piece >= bandwidth.PieceBytes && now.Sub(armed) > rearm {
			armed, piece = now, 0
			_ = n.stream.SetReadDeadline(now.Add(n.t.x.config.ChunkTimeout))
		}
	}
	return nil
}
