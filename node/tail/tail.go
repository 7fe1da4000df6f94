// Package tail carries what a task has put out so far from the node that runs it to the
// node that somebody asks. The runner's side reads at its follower's pace, so that a slow
// one holds up nobody; what a follower has not read by the end of the attempt is in the
// attempt's result.
package tail

import (
	"context"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// BackBytesMax bounds how far behind the end of a stream a follower begins: what is
	// older is left out, and is in the result.
	BackBytesMax = 16 << 20
	// PieceBytesMax bounds the output in one Piece.
	PieceBytesMax = 16 << 10
)

// Stream is one of a task's outputs.
type Stream uint8

// The streams, and their number.
const (
	Stdout Stream = iota
	Stderr
	Streams
)

// String returns the stream's name.
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return fmt.Sprintf("stream %d", uint8(s))
}

// Query says what is followed: a task of a lease, from where on.
type Query struct {
	Job   ledger.JobID
	Index uint32
	Epoch ledger.Epoch
	// Want says which streams.
	Want [Streams]bool
	// From is where each stream begins, as long as it is of Run; of another one it
	// begins at 0. A Run of 0 is any.
	From [Streams]uint64
	Run  uint64
	// Back bounds how far behind its end, in bytes, each stream begins; 0 is
	// BackBytesMax, and so is more.
	Back uint64
}

// Kind says what a Piece tells.
type Kind uint8

// The kinds of Piece. The values are on the wire.
const (
	// Begun: the guest runs, or is about to. Run tells one run under a lease from
	// another; 0 is that one, begun under an earlier process of the node, goes on.
	Begun Kind = iota + 1
	// Output: Data was written at byte At of Stream. A Piece that begins behind the end
	// of the one before says that what is between was left out.
	Output
	// Ended: the guest writes no more. Sizes are how much it has written, as far as the
	// runner knows: not all of it need have been sent.
	Ended
)

// Piece is what a follower is told.
type Piece struct {
	Kind   Kind
	Run    uint64
	Stream Stream
	At     uint64
	Data   []byte
	Sizes  [Streams]uint64
}

// Source is the node's executor.
type Source interface {
	// Follow calls send with what a task puts out until its attempt has ended, ctx ends
	// or send returns an error, which is returned. It waits for a task that has not
	// begun. The Data of a Piece is good until send returns. Its own errors are
	// ErrNotHere, ErrFollowers and ErrClosing.
	Follow(ctx context.Context, q Query, send func(p Piece) error) error
}

// Why a node does not let a task be followed. The codes are on the wire: they stay as
// they are.
var (
	// ErrMalformed: the request, or a Piece, is not one.
	ErrMalformed = &rpc.Fault{Code: "malformed", Text: "malformed request"}
	// ErrNotHere: the node does not hold the lease, not yet or not any more.
	ErrNotHere = &rpc.Fault{Code: "not_here", Text: "the node does not hold the lease"}
	// ErrFollowers: as many follow tasks of the node as may.
	ErrFollowers = &rpc.Fault{Code: "followers", Text: "too many follow tasks of the node"}
	// ErrClosing: the node is not ready, runs nothing, or stops.
	ErrClosing = &rpc.Fault{Code: "closing", Text: "the node lets no task be followed now"}
)

// Methods are what members may ask of this node. source is called for each request: it
// returns nil while there is none. up, if it is not nil, bounds what is sent.
func Methods(source func() Source, up *bandwidth.Flow) []rpc.Method {
	return []rpc.Method{{
		Name: followMethod, Allow: p2p.RoleClient, RequestBytesMax: queryBytes, ResponseBytesMax: pieceHead + PieceBytesMax,
		Watch: func(ctx context.Context, r rpc.Request, send func(message []byte) error) error {
			q, err := decodeQuery(r.Body)
			if err != nil {
				return err
			}
			s := source()
			if s == nil {
				return ErrClosing
			}
			var message []byte
			return s.Follow(ctx, q, func(p Piece) error {
				message = p.append(message[:0])
				if err := up.Wait(ctx, bandwidth.KindLogs, len(message)); err != nil {
					return err
				}
				return send(message)
			})
		},
	}}
}

// Peers watches methods of other members.
type Peers interface {
	Watch(ctx context.Context, to p2p.NodeID, method string, request []byte) (*rpc.Watch, error)
}

// Asker follows tasks wherever they run.
type Asker struct {
	// Self is this node, whose own tasks Source has; it returns nil when there is none.
	Self   ledger.NodeID
	Source func() Source
	Peers  Peers
	// Down, if it is not nil, counts what comes: what follows waits for it. The other node
	// has a bound of its own.
	Down *bandwidth.Flow
}

// Follow is Source.Follow at a node, whose word for what it sends is not taken: a piece
// that was read already, or is not one, is ErrMalformed. Other errors are those of the
// way to the node.
func (a *Asker) Follow(ctx context.Context, node ledger.NodeID, q Query, visit func(p Piece) error) error {
	if node == a.Self {
		s := a.Source()
		if s == nil {
			return ErrClosing
		}
		return s.Follow(ctx, q, visit)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := a.Peers.Watch(ctx, p2p.NodeID(node), followMethod, q.encode())
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }() // Next has told
	for in := (order{run: q.Run, want: q.Want, at: q.From}); ; {
		message, err := w.Next(ctx)
		if err != nil {
			return ended(err)
		}
		a.Down.Book(bandwidth.KindLogs, len(message))
		p, err := decodePiece(message)
		if err == nil {
			err = in.take(&p)
		}
		if err == nil {
			err = visit(p)
		}
		if err != nil || p.Kind == Ended {
			return err
		}
	}
}
