package content

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
)

// partialWait is how long a fetcher waits before it asks a holder that is still
// fetching again.
const partialWait = 25 * time.Millisecond

// source is what chunks are served from: an object, or a fetch that runs.
type source interface {
	// listing says what there is.
	listing() (listing, bool)
	// chunk reads chunk k into b and verifies it; ErrNotHeld means not yet.
	chunk(h *hasher, k int, b []byte) error
	io.Closer
}

func (o *Object) listing() (listing, bool) { return listing{size: o.e.size, chain: o.chain}, true }

// serve answers the requests on one stream.
func (x *exchange) serve(stream p2p.Stream) {
	if !x.admit(stream) {
		x.s.meter.refusals.WithLabelValues("streams").Inc()
		_ = stream.Reset()
		return
	}
	defer x.dismiss(stream)
	h := newHasher()
	for {
		_ = stream.SetReadDeadline(time.Now().Add(x.config.IdleTimeout))
		q, err := readRequest(stream)
		if errors.Is(err, io.EOF) {
			_ = stream.Close()
			return
		}
		if errors.Is(err, errFrame) {
			_ = x.refuse(stream, refusal{code: codeMalformed})
		}
		if err != nil {
			_ = stream.Reset()
			return
		}
		if err := x.answer(stream, h, q); err != nil {
			_ = stream.Reset()
			return
		}
	}
}

// answer returns an error if the stream is of no use any more.
func (x *exchange) answer(stream p2p.Stream, h *hasher, q request) error {
	if role, ok := x.network.RoleOf(stream.Remote()); !ok || role < x.config.ServeRole {
		return x.refuse(stream, refusal{code: codeDenied})
	}
	src, err := x.source(q.hash)
	if err != nil {
		return x.refuse(stream, refusalOf(err))
	}
	defer src.Close()
	l, ok := src.listing()
	if !ok {
		return x.refuse(stream, refusal{code: codeBusy, wait: partialWait})
	}
	if wait := x.crowded(); wait > 0 {
		return x.refuse(stream, refusal{code: codeBusy, wait: wait})
	}
	// A list is answered at the same price as a range: its buffer is bounded by
	// a chunk's.
	if !x.beginUpload(stream.Remote()) {
		return x.refuse(stream, refusal{code: codeBusy, wait: partialWait})
	}
	defer x.endUpload(stream.Remote())
	if q.kind == requestRange {
		return x.upload(stream, h, q, src, l)
	}
	if q.known != (Hash{}) && l.chain.digest() == q.known {
		l.chain = nil
	}
	return x.send(stream, l.frame())
}

// source finds what there is of an object.
func (x *exchange) source(h Hash) (source, error) {
	o, err := x.s.Open(h, false)
	if err == nil {
		return o, nil
	}
	if !errors.Is(err, ErrNotHeld) {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if t := x.transfers[h]; t != nil {
		return t, nil
	}
	return nil, ErrNotHeld
}

func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, ErrNotHeld):
		return refusal{code: codeNotHeld}
	case errors.Is(err, ErrClosed):
		return refusal{code: codeClosing}
	}
	return refusal{code: codeCorrupt}
}

// upload sends the chunks of a range, each after it was verified.
func (x *exchange) upload(stream p2p.Stream, h *hasher, q request, src source, l listing) error {
	c := l.chain
	if q.first+q.count > c.chunks() {
		return x.refuse(stream, refusal{code: codeMalformed})
	}
	buffer := x.s.takeBuffer()
	defer x.s.giveBuffer(buffer)
	for k := q.first; k < q.first+q.count; k++ {
		if l.have != nil && !l.have.has(k) {
			return x.refuse(stream, refusal{code: codeBusy, wait: partialWait})
		}
		others, ok := x.spread.admit(q.hash, k, stream.Remote(), q.insist)
		if !ok {
			return x.refuse(stream, refusal{code: codeBusy, wait: partialWait, others: others})
		}
		_, n := c.span(k)
		frame := buffer[:dataHeadBytes+n]
		if err := src.chunk(h, k, frame[dataHeadBytes:]); errors.Is(err, ErrNotHeld) {
			return x.refuse(stream, refusal{code: codeBusy, wait: partialWait})
		} else if err != nil {
			return x.refuse(stream, refusalOf(err))
		}
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		frame[4] = answerData
		binary.BigEndian.PutUint32(frame[frameHead:], uint32(k))
		if err := x.send(stream, frame); err != nil {
			return err
		}
		x.s.meter.sent.Add(float64(n))
	}
	return nil
}

// crowded says for how long a fetcher is to come back later: so many wait for the
// bandwidth that it would take this node for a slow one.
func (x *exchange) crowded() time.Duration {
	if wait := x.config.Up.Delay(); wait > x.config.ChunkTimeout/4 {
		return wait
	}
	return 0
}

// send writes a frame, in pieces as the bandwidth allows; who does not read one of them
// in time is not waited for.
func (x *exchange) send(stream p2p.Stream, frame []byte) error {
	up := x.config.Up
	size := len(frame)
	if up.Bound() {
		size = bandwidth.PieceBytes
	}
	for len(frame) > 0 {
		piece := frame[:min(size, len(frame))]
		if err := up.Wait(x.ctx, bandwidth.KindObjects, len(piece)); err != nil {
			return err
		}
		_ = stream.SetWriteDeadline(time.Now().Add(x.config.ChunkTimeout))
		if _, err := stream.Write(piece); err != nil {
			return err
		}
		frame = frame[len(piece):]
	}
	return nil
}

// refuse answers at once, however many wait for the bandwidth.
func (x *exchange) refuse(stream p2p.Stream, f refusal) error {
	x.s.meter.refusals.WithLabelValues(f.code.String()).Inc()
	frame := f.frame()
	x.config.Up.Book(bandwidth.KindObjects, len(frame))
	_ = stream.SetWriteDeadline(time.Now().Add(x.config.ChunkTimeout))
	_, err := stream.Write(frame)
	return err
}
