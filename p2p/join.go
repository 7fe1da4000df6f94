package p2p

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
)

// joinPause is between two rounds of knocking, unless somebody new is found.
const joinPause = time.Second

// join shows the invitation to its contacts, and to whom local discovery finds,
// until one of them has made this node a member.
func (h *Host) join(ctx context.Context) error {
	h.hearContacts()
	for {
		done, err := h.knock(ctx)
		switch {
		case err == nil:
			return nil
		case done:
			return fmt.Errorf("join: %w", err)
		}
		h.log.Info("nobody has let this node in yet", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("join: %w", errors.Join(err, ctx.Err()))
		case <-h.lonely:
		case <-time.After(joinPause):
		}
	}
}

// final says whether another member, or the same one later, would say no as well.
// The word of a node that local discovery has found counts only when it has shown
// that it is a member: anybody can be found there.
func (h *Host) final(p peer.ID, err error) bool {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return false
	}
	contact := slices.ContainsFunc(h.cfg.Invitation.Contacts, func(c Contact) bool { return c.Node == idOf(p) })
	if !contact && !refusal.Member {
		return false
	}
	switch refusal.Code {
	case CodeBusy, CodeNoAuthority, CodeInvitationUnknown, CodeNoMembership, CodeOther:
		return false
	default:
		return true
	}
}

// knock tries everybody whose address is known, once. done says that another round
// would change nothing.
func (h *Host) knock(ctx context.Context) (done bool, err error) {
	err = ErrUnreachable
	ids, _ := h.book.candidates(h.cfg.MembersMax, time.Now())
	for _, p := range ids {
		failed := h.connect(ctx, p)
		switch {
		case h.membership.Load() != nil:
			return true, nil
		case failed == nil:
			// A connection of before is still open, on which nobody joined.
			_ = h.swarm.ClosePeer(p) // it is made anew
		case h.final(p, failed):
			return true, failed
		case errors.As(failed, new(*Refusal)) || errors.Is(err, ErrUnreachable):
			err = failed
		}
	}
	return false, err
}

// hearContacts notes the members that the invitation names.
func (h *Host) hearContacts() {
	if h.cfg.Invitation == nil {
		return
	}
	for _, c := range h.cfg.Invitation.Contacts {
		p, err := c.Node.peer()
		if err != nil || p == h.self {
			continue
		}
		h.book.hear(p, parseAddresses(c.Addresses))
	}
}

func parseAddresses(texts []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, text := range texts {
		if a, err := ma.NewMultiaddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// connect connects with a node, by the addresses that are known of it. A refusal
// is told from an address that did not answer.
func (h *Host) connect(ctx context.Context, p peer.ID) error {
	info := h.peerInfo(p)
	if len(info.Addrs) == 0 {
		info.Addrs = h.find(ctx, p)
	}
	if len(info.Addrs) == 0 && len(h.libp2p.Peerstore().Addrs(p)) == 0 {
		return fmt.Errorf("connect to %s: %w", p, ErrUnknownMember)
	}
	h.libp2p.Peerstore().AddAddrs(p, info.Addrs, peerstore.TempAddrTTL)
	h.swarm.Backoff().Clear(p)
	err := h.libp2p.Connect(ctx, info)
	if err == nil {
		return nil
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return fmt.Errorf("connect to %s: %w", p, refusal)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fmt.Errorf("connect to %s: %w", p, ErrBusy)
	case ownRefusal(err):
		return fmt.Errorf("connect to %s: %w", p, err)
	default:
		return fmt.Errorf("connect to %s: %w: %w", p, ErrUnreachable, err)
	}
}

// ownRefusal says whether this side has refused the other.
func ownRefusal(err error) bool {
	code := CodeOf(err)
	return code != CodeOther && !errors.Is(err, errBroken)
}

// redeem exchanges an invitation that was shown to this node.
func (h *Host) redeem(ctx context.Context, v *Invitation, node NodeID) (m *Membership, err error) {
	defer func() {
		h.metrics.redemptions.WithLabelValues(CodeOf(err).String()).Inc()
		if err != nil {
			h.log.Info("invitation was not redeemed", "node", node, "invitation", v.ID, "error", err)
		} else {
			h.log.Info("invitation was redeemed", "node", node, "invitation", v.ID, "role", m.Role)
		}
	}()
	if err := errors.Join(h.expelled.check(node), v.Verify(h.grid, time.Now(), h.expelled)); err != nil {
		return nil, err
	}
	if h.cfg.Redeem != nil {
		m, err = h.cfg.Redeem(ctx, v, node)
	} else {
		m, err = h.redeemHere(v, node)
		if errors.Is(err, ErrInvitationUnknown) {
			m, err = h.redeemElsewhere(ctx, v, node)
		}
	}
	if err != nil {
		return nil, err
	}
	if m == nil || m.Node != node {
		return nil, fmt.Errorf("%w: the authority's answer", ErrMalformed)
	}
	if err := h.verify(m, time.Now()); err != nil {
		return nil, err
	}
	if h.cfg.Noted != nil {
		h.cfg.Noted(Admission{Node: node, Invitation: v.ID, Role: m.Role})
	}
	return m, nil
}

func (h *Host) redeemHere(v *Invitation, node NodeID) (*Membership, error) {
	a := h.authority.Load()
	if a == nil {
		return nil, ErrInvitationUnknown
	}
	return a.Redeem(v, node)
}

// loopbackRates lets this machine connect as fast as it likes.
func loopbackRates() []rate.PrefixLimit {
	return []rate.PrefixLimit{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
		{Prefix: netip.MustParsePrefix("::1/128")},
	}
}

func sortedIDs(ids []NodeID) []NodeID {
	slices.Sort(ids)
	return ids
}
