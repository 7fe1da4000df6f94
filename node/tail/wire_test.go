package tail

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzWire: what is read as a request or a piece is what is written for it, byte for
// byte, and everything else is malformed; no order of pieces goes back.
func FuzzWire(f *testing.F) {
	q := Query{Job: [16]byte{1}, Index: 2, Epoch: 3, Want: [Streams]bool{true, false}, From: [Streams]uint64{4, 5}, Run: 6, Back: 7}
	f.Add(q.encode())
	for _, p := range []Piece{
		{Kind: Begun, Run: 9},
		{Kind: Output, Stream: Stderr, At: 1 << 40, Data: []byte("line\n")},
		{Kind: Ended, Sizes: [Streams]uint64{1, 2}},
		{Kind: Output, At: ^uint64(0), Data: []byte("beyond")},
	} {
		f.Add(p.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeQuery(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Errorf("query %+v is %x, was %x", q, q.encode(), b)
		} else if err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		p, err := decodePiece(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(p.append(nil), b) {
			t.Errorf("piece %+v is %x, was %x", p, p.append(nil), b)
		}
		in := order{want: [Streams]bool{true, true}}
		if p.Kind == Output && (in.take(&p) != nil || in.take(&p) == nil) {
			t.Error("a piece that was read already is taken again, or a new one is not")
		}
	})
}

// TestOrder: pieces that come next are taken, others not.
func TestOrder(t *testing.T) {
	in := order{run: 1, want: [Streams]bool{true, false}, at: [Streams]uint64{10, 0}}
	for i, step := range []struct {
		p  Piece
		at uint64
		ok bool
	}{
		{Piece{Kind: Begun}, 10, true},
		{Piece{Kind: Output, At: 9, Data: []byte("x")}, 10, false},
		{Piece{Kind: Output, At: 10, Data: []byte("xy")}, 12, true},
		{Piece{Kind: Output, Stream: Stderr, Data: []byte("unasked")}, 12, false},
		{Piece{Kind: Output, At: 20, Data: []byte("z")}, 21, true},
		{Piece{Kind: Begun, Run: 1}, 21, true},
		{Piece{Kind: Begun, Run: 2}, 0, true},
		{Piece{Kind: Output, At: 0, Data: []byte("again")}, 5, true},
		{Piece{Kind: Ended}, 5, true},
	} {
		if err := in.take(&step.p); (err == nil) != step.ok || in.at[Stdout] != step.at {
			t.Errorf("step %d: %v, at %d", i, err, in.at[Stdout])
		}
	}
}
