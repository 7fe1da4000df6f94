package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// lingerMax is how long whoever was refused has to read why.
const lingerMax = time.Second

// door speaks the hello on each connection before libp2p's swarm has it. One door
// serves all transports of a node, and those of the diallers that AutoNAT makes.
type door struct {
	key     Key
	party   party
	slots   *slots
	timeout time.Duration
	// admit takes note of whom the hello was spoken with, and has the last word.
	admit func(remote peer.ID, g *greeting) error
	// refused hears what the other side says when it refuses.
	refused  func(refusal *Refusal)
	refusals *refusals
	// noted, unless nil, is told whom this side has refused.
	noted   func(Admission)
	log     *slog.Logger
	metrics *metrics
}

// partyOf returns what the owner of that key brings to a hello: the node, or a
// dialler with a key of its own that speaks for it.
func (d *door) partyOf(private crypto.PrivKey) (*party, error) {
	id, err := peer.IDFromPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	p := d.party
	if idOf(id) == p.self {
		return &p, nil
	}
	key, err := keyOf(id)
	if err != nil {
		return nil, err
	}
	signature := signDeputy(d.key, key)
	p.deputy = &signature
	return &p, nil
}

// meet speaks the hello with who is at an address, which may be nil. The connection is
// closed by whoever called, when there is an error.
func (d *door) meet(ctx context.Context, s helloStream, remote peer.ID, at ma.Multiaddr, p *party, dialled bool) error {
	deadline := time.Now().Add(d.timeout)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(deadline) {
		deadline = sooner
	}
	if err := s.SetDeadline(deadline); err != nil {
		return fmt.Errorf("hello: %w: %w", errBroken, err)
	}
	speak := acceptHello
	if dialled {
		speak = dialHello
	}
	g, err := speak(ctx, s, idOf(remote), p)
	if err == nil && (p.deputy == nil || !dialled) {
		err = d.admit(remote, g)
	}
	d.metrics.hello(dialled, err)
	if refusal := new(Refusal); errors.As(err, &refusal) && d.refused != nil {
		d.refused(refusal)
	}
	if err != nil {
		d.log.Debug("hello ended", "peer", remote, "dialled", dialled, "error", err)
		if d.noted != nil && !dialled && refuses(err) {
			d.noted(Admission{Node: idOf(remote), Address: at, Err: err})
		}
		return err
	}
	return s.SetDeadline(time.Time{})
}

// Admission is that this node has let another one in with an invitation, or has refused
// it.
type Admission struct {
	Node NodeID
	// Address is where it called from; nil when that is not known.
	Address ma.Multiaddr
	// Invitation is the one that it has shown and that was good, Role what it may do
	// now; zero for one that was refused.
	Invitation InvitationID
	Role       Role
	// Err is why it was refused; nil for one that was let in.
	Err error
}

// refuses reports whether an error of a hello is this side's no.
func refuses(err error) bool {
	return ownRefusal(err) && !errors.As(err, new(*Refusal))
}

// linger waits until the other side has read why it was refused and closed, so
// that closing does not take the words out of its hands. It reads little, for a
// bounded time.
func linger(s helloStream, err error) {
	var refusal *Refusal
	if errors.As(err, &refusal) || errors.Is(err, errBroken) {
		return // the other side knows, or is gone
	}
	if s.SetDeadline(time.Now().Add(lingerMax)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, s, helloBytesMax)
}

// connRefused is the first of libp2p's codes for a closed connection that carry a
// Code, for those who are not worth a hello.
const connRefused network.ConnErrorCode = 0x64756700

// refusalOf turns the code of a closed connection into a refusal.
func refusalOf(err error) error {
	var closed *network.ConnError
	if errors.As(err, &closed) && closed.Remote && closed.ErrorCode > connRefused && closed.ErrorCode < connRefused+network.ConnErrorCode(codes) {
		return errors.Join(&Refusal{Code: Code(closed.ErrorCode - connRefused)}, err)
	}
	return err
}
