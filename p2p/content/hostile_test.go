package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// liar is a holder that follows the protocol up to a point.
type liar struct {
	object []byte
	// claim is the chain that it shows.
	claim *chain
	// list and chunk write an answer of their own, unless they are nil; an
	// error ends the stream.
	list  func(stream p2p.Stream) error
	chunk func(stream p2p.Stream, k int) error
}

var errStop = errors.New("stop")

func (l *liar) serve(stream p2p.Stream) {
	defer stream.Reset()
	for {
		q, err := readRequest(stream)
		if err != nil {
			return
		}
		if q.kind == requestList {
			if l.list != nil {
				err = l.list(stream)
			} else {
				_, err = stream.Write(listing{size: l.claim.size, chain: l.claim}.frame())
			}
		}
		for k := q.first; q.kind == requestRange && k < q.first+q.count && err == nil; k++ {
			if l.chunk != nil {
				err = l.chunk(stream, k)
			} else {
				err = l.honest(stream, k)
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *liar) honest(stream p2p.Stream, k int) error { return l.send(stream, k, 0) }

// send sends chunk k, one byte of it changed by flip.
func (l *liar) send(stream p2p.Stream, k int, flip byte) error {
	at := k * ChunkBytes
	b := append([]byte(nil), l.object[at:min(at+ChunkBytes, len(l.object))]...)
	b[len(b)/2] ^= flip
	_, err := stream.Write(dataFrame(k, b))
	return err
}

func dataFrame(k int, b []byte) []byte {
	return frame(answerData, append(binary.BigEndian.AppendUint32(nil, uint32(k)), b...))
}

// hang answers nothing until the stream ends.
func hang(stream p2p.Stream) error {
	_, err := stream.Read(make([]byte, 1))
	if err == nil {
		err = errStop
	}
	return err
}

func lie(c *chain, state int) *chain {
	l := &chain{hash: c.hash, size: c.size, states: cloneStates(c.states)}
	l.states[state][7] ^= 1
	return l
}

// TestHostileHolders: whatever a holder does, the object comes from an honest
// one, and who did wrong is named.
func TestHostileHolders(t *testing.T) {
	object := noise(1, 5*ChunkBytes+500)
	right := chainOf(object)
	answers := func(b []byte) func(p2p.Stream) error {
		return func(stream p2p.Stream) error { _, err := stream.Write(b); return err }
	}
	tests := map[string]struct {
		liar liar
		// alone is the error when there is nobody else.
		alone error
		// accused is what the holder is accused of when there is nobody else.
		accused Reason
	}{
		"wrong byte in every chunk": {
			liar{chunk: nil}, ErrNoHolder, ReasonWrong,
		},
		"wrong chain": {liar{claim: lie(right, 2)}, ErrNoHolder, ReasonWrong},
		"stops in the middle of a chunk": {
			liar{chunk: func(stream p2p.Stream, k int) error {
				_, _ = stream.Write(dataFrame(k, object[k*ChunkBytes:][:500])[:250])
				return errStop
			}}, ErrNoHolder, ReasonLost,
		},
		"stops": {liar{chunk: func(p2p.Stream, int) error { return errStop }}, ErrNoHolder, ReasonLost},
		"sends another chunk": {
			liar{chunk: func(stream p2p.Stream, k int) error {
				_, err := stream.Write(dataFrame(k^1, make([]byte, right.size-5*ChunkBytes)))
				return err
			}}, ErrNoHolder, ReasonMalformed,
		},
		"sends more than asked": {
			liar{chunk: func(stream p2p.Stream, k int) error {
				_, err := stream.Write(dataFrame(k, make([]byte, ChunkBytes)))
				return err
			}}, ErrNoHolder, ReasonMalformed,
		},
		"claims a frame of 4 GiB": {liar{list: answers([]byte{255, 255, 255, 255, answerList})}, ErrNoHolder, ReasonMalformed},
		"claims 2^63 bytes": {
			liar{list: answers(frame(answerList, []byte{listComplete, 128, 0, 0, 0, 0, 0, 0, 0}))}, ErrNoHolder, ReasonMalformed,
		},
		"claims more than allowed": {
			liar{list: answers(listing{size: 1 << 34, chain: &chain{states: make([]midstate, 1<<14-1)}}.frame())}, ErrTooLarge, 0,
		},
		"claims another length": {
			liar{list: answers(listing{size: 5, chain: &chain{}}.frame()), chunk: func(stream p2p.Stream, k int) error {
				_, err := stream.Write(dataFrame(k, object[:5]))
				return err
			}}, ErrNoHolder, ReasonWrong,
		},
		"answers with garbage":     {liar{list: answers([]byte("GET / HTTP/1.1\r\n\r\n"))}, ErrNoHolder, ReasonMalformed},
		"says that it is denied":   {liar{list: answers(refusal{code: codeDenied}.frame())}, ErrNoHolder, ReasonDenied},
		"says that it is corrupt":  {liar{list: answers(refusal{code: codeCorrupt}.frame())}, ErrNoHolder, ReasonCorrupt},
		"says that it is closing":  {liar{list: answers(refusal{code: codeClosing}.frame())}, ErrNoHolder, 0},
		"has nothing":              {liar{list: answers(refusal{code: codeNotHeld}.frame())}, ErrNoHolder, 0},
		"refuses with a bad frame": {liar{list: answers(frame(answerRefusal, []byte{0, 2, 0}))}, ErrNoHolder, ReasonMalformed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := test.liar
			l.object = object
			if l.claim == nil {
				l.claim = right
			}
			if l.chunk == nil && l.claim == right {
				l.chunk = func(stream p2p.Stream, k int) error { return l.send(stream, k, 1) }
			}
			nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(3)
			nodes[0].Handle(Protocol, l.serve)
			alone := newPeer(t, nodes[1], nil)
			if err := alone.tryFetch(deadline(t), object, nodes[0].Self()); !errors.Is(err, test.alone) {
				t.Fatalf("%v, want %v", err, test.alone)
			}
			want := "[]"
			if test.accused != 0 {
				want = fmt.Sprint([]accusation{{nodes[0].Self(), test.accused}})
			}
			if alone.accused() != want {
				t.Fatalf("accused %s, want %s", alone.accused(), want)
			}
			put(t, alone.Store, object, "")
			both := newPeer(t, nodes[2], func(c *Config) { c.StealAfter = time.Millisecond })
			both.fetch(t, object, nodes[0].Self(), nodes[1].Self())
			for _, a := range both.accusations {
				if a.holder != nodes[0].Self() {
					t.Fatal("an honest holder is accused:", both.accused())
				}
			}
		})
	}
}

// TestSilentHolder: what was asked of a holder that does not answer is asked of
// another one, and one that is alone does not hold up a fetch for ever.
func TestSilentHolder(t *testing.T) {
	object := noise(1, 3*ChunkBytes)
	silent := map[string]*liar{
		"no list":  {object: object, claim: chainOf(object), list: hang},
		"no chunk": {object: object, claim: chainOf(object), chunk: func(stream p2p.Stream, _ int) error { return hang(stream) }},
	}
	for name, l := range silent {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of its time passes in waiting
			nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(4)
			nodes[0].Handle(Protocol, l.serve)
			honest := newPeer(t, nodes[1], nil)
			put(t, honest.Store, object, "")
			p := newPeer(t, nodes[2], func(c *Config) { c.StealAfter = time.Millisecond })
			p.fetch(t, object, nodes[0].Self(), honest.id)
			if p.accused() != "[]" {
				t.Fatal(p.accused())
			}
			alone := newPeer(t, nodes[3], func(c *Config) { c.ChunkTimeout = 2 * time.Second })
			if err := alone.tryFetch(deadline(t), object, nodes[0].Self()); !errors.Is(err, ErrNoHolder) {
				t.Fatal(err)
			}
			if want := fmt.Sprint([]accusation{{nodes[0].Self(), ReasonSlow}}); alone.accused() != want {
				t.Fatal(alone.accused())
			}
		})
	}
}

// TestLyingChain: a holder whose chain is a lie in one place, which gives right
// chunks elsewhere, and two honest ones. Whoever is followed first, the object
// arrives, nobody honest is accused, and the liar is.
func TestLyingChain(t *testing.T) {
	object := noise(1, 6*ChunkBytes+1)
	c := chainOf(object)
	for state := range c.states {
		t.Run(fmt.Sprint(state), func(t *testing.T) {
			nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(4)
			l := &liar{object: object, claim: lie(c, state)}
			nodes[0].Handle(Protocol, l.serve)
			a, b := newPeer(t, nodes[1], nil), newPeer(t, nodes[2], nil)
			put(t, a.Store, object, "")
			put(t, b.Store, object, "")
			p := newPeer(t, nodes[3], nil)
			if err := p.tryFetch(deadline(t), object, nodes[0].Self()); !errors.Is(err, ErrNoHolder) {
				t.Fatal(err)
			}
			if want := fmt.Sprint([]accusation{{nodes[0].Self(), ReasonWrong}}); p.accused() != want {
				t.Fatal(p.accused())
			}
			before := a.metric(t, "sent_bytes_total") + b.metric(t, "sent_bytes_total")
			kept := p.metric(t, "received_bytes_total")
			p.fetch(t, object, a.id, b.id)
			again := a.metric(t, "sent_bytes_total") + b.metric(t, "sent_bytes_total") - before
			if most := float64(len(object)) - kept + 2*ChunkBytes; again > most {
				t.Fatalf("%v bytes sent again, %v were right already", again, kept)
			}
		})
	}
}

// TestBanned: a holder that sent wrong bytes is not asked for a while.
func TestBanned(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
	object := noise(1, 100)
	asked := make(chan struct{}, 10)
	l := &liar{object: object, claim: chainOf(object)}
	l.chunk = func(stream p2p.Stream, k int) error { asked <- struct{}{}; return l.send(stream, k, 1) }
	nodes[0].Handle(Protocol, l.serve)
	p := newPeer(t, nodes[1], nil)
	for range 3 {
		if err := p.tryFetch(deadline(t), object, nodes[0].Self()); !errors.Is(err, ErrNoHolder) {
			t.Fatal(err)
		}
	}
	if len(asked) != 1 {
		t.Fatal("asked", len(asked), "times")
	}
}
