package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"
)

// The kinds of who dials.
const (
	helloMember = 1 + iota // shows a membership
	helloJoin              // has an invitation
	helloDeputy            // speaks for the member whose key signed its own
)

// party is what one node brings to a hello. Its functions are called at most once
// for each hello.
type party struct {
	grid GridID
	self NodeID
	name string
	now  func() time.Time
	// membership returns this node's, nil while it has none.
	membership func() *Membership
	// invitation is shown by a dialler that has no membership.
	invitation *Invitation
	// deputy is set for a dialler with a key of its own: the node's signature
	// for it.
	deputy *[64]byte
	// news is what members tell each other besides.
	news func() news
	// verify says whether a membership is valid now.
	verify func(m *Membership, now time.Time) error
	// redeem makes the node a member, at the listener.
	redeem func(ctx context.Context, v *Invitation, node NodeID) (*Membership, error)
}

// news is what a member tells another one when they meet. What is wrong in it is
// nobody's loss but the teller's.
type news struct {
	name     string
	expelled digest
	// session is random and made anew whenever a host is opened; zero is unknown.
	session [8]byte
	record  []byte // signed peer record; may be empty
}

// greeting is what is known of the other side after a hello.
type greeting struct {
	membership *Membership
	news       news
	// deputy says that the connection is good for AutoNAT only.
	deputy bool
	// own is this node's new membership, when it has joined.
	own *Membership
	// clock is what the other side's clock showed.
	clock time.Time
}

// stream is what a hello is spoken on.
type helloStream interface {
	io.ReadWriter
	SetDeadline(t time.Time) error
}

// dialHello speaks the hello as the side that dialled. remote is whom the
// transport has authenticated. An error is a Refusal when the other side has
// said no; else this side has, and has told the other.
func dialHello(ctx context.Context, s helloStream, remote NodeID, p *party) (*greeting, error) {
	now, own := p.now(), p.membership()
	first := appendTime([]byte{encodingVersion, 0}, now)
	first = append(first, p.grid[:]...)
	switch {
	case p.deputy != nil && own != nil:
		first[1] = helloDeputy
		first = append(appendBytes(first, own.Encode()), p.deputy[:]...)
	case own != nil:
		first[1] = helloMember
		first = appendBytes(first, own.Encode())
		first = appendNews(first, p.news())
	case p.invitation != nil && p.deputy == nil:
		first[1] = helloJoin
	default:
		return nil, fmt.Errorf("say hello: %w", ErrNoMembership)
	}
	if err := writeFrame(s, first); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	g, err := readAnswer(s)
	if err == nil {
		err = p.check(g.membership, remote, now, g.clock)
	}
	if err != nil {
		return nil, fmt.Errorf("say hello: %w", refuse(s, now, err))
	}
	if first[1] != helloJoin {
		if err := writeFrame(s, appendAnswer(now)); err != nil {
			return nil, fmt.Errorf("say hello: %w", err)
		}
		return g, nil
	}
	shown := appendBytes(appendAnswer(now), p.invitation.Encode())
	if err := writeFrame(s, appendNews(shown, p.news())); err != nil {
		return nil, fmt.Errorf("show invitation: %w", err)
	}
	if err := p.join(s, g); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return g, nil
}

// join reads the membership that an invitation was exchanged for.
func (p *party) join(s io.Reader, g *greeting) error {
	r, theirs, err := readStatus(s)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		refusal.Member = true
	}
	if err != nil {
		return err
	}
	own := r.membership()
	g.news = r.news()
	if err := r.done(); err != nil {
		return err
	}
	if err := p.check(own, p.self, p.now(), theirs); err != nil {
		return err
	}
	g.own = own
	return nil
}

// acceptHello speaks the hello as the side that listened. Whoever is refused has
// been told when it returns; linger then waits until that was read.
func acceptHello(ctx context.Context, s helloStream, remote NodeID, p *party) (*greeting, error) {
	g, err := p.accept(ctx, s, remote)
	if err != nil {
		return nil, fmt.Errorf("hear hello: %w", refuse(s, p.now(), err))
	}
	return g, nil
}

func (p *party) accept(ctx context.Context, s helloStream, remote NodeID) (*greeting, error) {
	b, err := readFrame(s)
	if err != nil {
		return nil, err
	}
	now := p.now()
	g, kind, err := p.readFirst(b, remote, now)
	if err != nil {
		return nil, err
	}
	own := p.membership()
	if own == nil {
		return nil, ErrNoMembership
	}
	answer := appendBytes(appendAnswer(now), own.Encode())
	if kind == helloMember {
		answer = appendNews(answer, p.news())
	} else {
		answer = appendNews(answer, news{name: p.name})
	}
	if err := writeFrame(s, answer); err != nil {
		return nil, err
	}
	r, _, err := readStatus(s)
	if err != nil {
		return nil, err
	}
	if kind != helloJoin {
		return g, r.done()
	}
	return g, p.admit(ctx, s, r, remote, g)
}

// admit makes the dialler a member, in exchange for the invitation that it shows.
func (p *party) admit(ctx context.Context, s io.Writer, r *reader, node NodeID, g *greeting) error {
	v, err := DecodeInvitation(r.bytes(invitationBytesMax))
	if err == nil {
		g.news = r.news()
		err = r.done()
	}
	if err != nil {
		return err
	}
	if g.membership, err = p.redeem(ctx, v, node); err != nil {
		return err
	}
	last := appendBytes(appendAnswer(p.now()), g.membership.Encode())
	return writeFrame(s, appendNews(last, p.news()))
}

// readFirst reads and checks the dialler's first frame.
func (p *party) readFirst(b []byte, remote NodeID, now time.Time) (*greeting, uint8, error) {
	r := reader{b: b}
	r.version()
	kind := r.u8()
	theirs := r.time()
	var grid GridID
	r.fixed(grid[:])
	if r.err == nil && grid != p.grid {
		return nil, 0, ErrWrongGrid
	}
	g := &greeting{clock: theirs}
	signer := remote
	var signature [64]byte
	switch kind {
	case helloMember:
		g.membership = r.membership()
		g.news = r.news()
	case helloDeputy:
		g.deputy = true
		g.membership = r.membership()
		r.fixed(signature[:])
		if g.membership != nil {
			signer = g.membership.Node
		}
	case helloJoin:
	default:
		r.fail("kind of hello")
	}
	if err := r.done(); err != nil {
		return nil, 0, err
	}
	if kind == helloJoin {
		return g, kind, nil
	}
	if kind == helloDeputy && !deputySigned(signer, remote, signature) {
		return nil, 0, fmt.Errorf("%w: the deputy's", ErrSignature)
	}
	return g, kind, p.check(g.membership, signer, now, theirs)
}

// check says whether the membership is valid and the node's own. When a clock is
// wrong it says what both show.
func (p *party) check(m *Membership, node NodeID, now, theirs time.Time) error {
	if m.Node != node {
		return fmt.Errorf("%w: the one shown is of %s", ErrNoMembership, m.Node)
	}
	err := p.verify(m, now)
	if errors.Is(err, ErrClock) {
		return fmt.Errorf("%w, the other node's %s", err, clock(theirs))
	}
	return err
}

// signDeputy signs that the key of deputy speaks for this node.
func signDeputy(node Key, deputy [32]byte) [64]byte {
	return node.sign(append([]byte(domainDeputy), deputy[:]...))
}

func deputySigned(node, deputy NodeID, signature [64]byte) bool {
	key, err := node.key()
	if err != nil {
		return false
	}
	other, err := deputy.key()
	if err != nil {
		return false
	}
	return ed25519.Verify(key[:], append([]byte(domainDeputy), other[:]...), signature[:])
}
