package tail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// followMethod is a watch of a task's output.
	followMethod = "task.follow"

	wireVersion = 1
	// queryBytes is the length of a request: version, job, index, epoch, streams, where
	// each begins, run, and how far back.
	queryBytes = 1 + 16 + 4 + 8 + 1 + 8*int(Streams) + 8 + 8
	// pieceHead is what comes before the output in a Piece: kind, stream, place.
	pieceHead = 1 + 1 + 8
)

func (q *Query) encode() []byte {
	b := append(make([]byte, 0, queryBytes), wireVersion)
	b = append(b, q.Job[:]...)
	b = binary.BigEndian.AppendUint32(b, q.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(q.Epoch))
	want := byte(0)
	for s, is := range q.Want {
		if is {
			want |= 1 << s
		}
	}
	b = append(b, want)
	for _, from := range q.From {
		b = binary.BigEndian.AppendUint64(b, from)
	}
	b = binary.BigEndian.AppendUint64(b, q.Run)
	return binary.BigEndian.AppendUint64(b, q.Back)
}

// decodeQuery reads what encode writes. Its errors are ErrMalformed.
func decodeQuery(b []byte) (q Query, err error) {
	if len(b) != queryBytes || b[0] != wireVersion || b[29]>>Streams != 0 {
		return q, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	q.Job, q.Index = ledger.JobID(b[1:17]), binary.BigEndian.Uint32(b[17:])
	q.Epoch = ledger.Epoch(binary.BigEndian.Uint64(b[21:]))
	for s := range q.Want {
		q.Want[s] = b[29]&(1<<s) != 0
		q.From[s] = binary.BigEndian.Uint64(b[30+8*s:])
	}
	rest := b[30+8*int(Streams):]
	q.Run, q.Back = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
	return q, nil
}

func (p *Piece) append(b []byte) []byte {
	b = append(b, byte(p.Kind))
	switch p.Kind {
	case Begun:
		b = binary.BigEndian.AppendUint64(b, p.Run)
	case Output:
		b = append(b, byte(p.Stream))
		b = binary.BigEndian.AppendUint64(b, p.At)
		b = append(b, p.Data...)
	case Ended:
		for _, size := range p.Sizes {
			b = binary.BigEndian.AppendUint64(b, size)
		}
	}
	return b
}

// decodePiece reads what append writes; Data stays a part of b. Its errors are
// ErrMalformed.
func decodePiece(b []byte) (p Piece, err error) {
	if len(b) > 0 {
		p.Kind = Kind(b[0])
	}
	switch {
	case p.Kind == Begun && len(b) == 1+8:
		p.Run = binary.BigEndian.Uint64(b[1:])
	case p.Kind == Ended && len(b) == 1+8*int(Streams):
		for s := range p.Sizes {
			p.Sizes[s] = binary.BigEndian.Uint64(b[1+8*s:])
		}
	case p.Kind == Output && len(b) > pieceHead && len(b) <= pieceHead+PieceBytesMax && Stream(b[1]) < Streams:
		p.Stream, p.At, p.Data = Stream(b[1]), binary.BigEndian.Uint64(b[2:]), b[pieceHead:]
		if p.At+uint64(len(p.Data)) < p.At {
			return Piece{}, fmt.Errorf("%w: output at byte %d", ErrMalformed, p.At)
		}
	default:
		return Piece{}, fmt.Errorf("%w: a piece of %d bytes", ErrMalformed, len(b))
	}
	return p, nil
}

// order is how far the streams of a follower are.
type order struct {
	run  uint64
	want [Streams]bool
	at   [Streams]uint64
}

// take takes the next piece, or returns ErrMalformed for one that does not come next.
func (o *order) take(p *Piece) error {
	switch p.Kind {
	case Begun:
		if p.Run != 0 && o.run != 0 && p.Run != o.run {
			o.at = [Streams]uint64{}
		}
		if p.Run != 0 {
			o.run = p.Run
		}
	case Output:
		if !o.want[p.Stream] || p.At < o.at[p.Stream] {
			return fmt.Errorf("%w: %s at byte %d, read up to %d", ErrMalformed, p.Stream, p.At, o.at[p.Stream])
		}
		o.at[p.Stream] = p.At + uint64(len(p.Data))
	}
	return nil
}

// ended makes the end of a watch that has not told the attempt's end the error that it
// is.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)
	}
	return err
}
