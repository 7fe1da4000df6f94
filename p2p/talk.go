package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What members ask each other in this package: one frame there, one frame back, on
// a stream of its own.
const (
	protocolRedeem     = "/dugnad/redeem/1"
	protocolExpulsions = "/dugnad/expulsions/1"
	protocolPeers      = "/dugnad/peers/1"
	protocolDialBack   = "/dugnad/dialback/1"
)

var ownProtocols = []string{protocolRedeem, protocolExpulsions, protocolPeers, protocolDialBack}

// ownStreams bounds the streams of each of them.
var ownStreams = StreamLimit{PerPeer: 4, Total: 256}

const (
	// talkTimeout bounds one question and its answer.
	talkTimeout = 10 * time.Second
	// exchangeMax bounds the members that one tells another of.
	exchangeMax      = 32
	exchangeBytesMax = exchangeMax * (recordBytesMax + 4)
	// exchangesQueued and exchangesMax bound those that wait and that are under way.
	exchangesQueued = 256
	exchangesMax    = 4
	// redeemersMax bounds the admins that are asked to redeem one invitation.
	redeemersMax = 4
)

// serve answers other members' questions.
func (h *Host) serve() {
	h.answer(protocolRedeem, helloBytesMax, h.answerRedeem)
	h.answer(protocolExpulsions, expulsionsBytesMax, h.answerExpulsions)
	h.answer(protocolPeers, 0, h.answerPeers)
	h.answer(protocolDialBack, helloBytesMax, h.answerDialBack)
	for range exchangesMax {
		h.wg.Go(h.exchangePeers)
	}
}

// answer registers one kind of question. Without an answer the stream is reset.
func (h *Host) answer(protocol string, limit uint32, f func(ctx context.Context, from peer.ID, question []byte) ([]byte, error)) {
	h.Handle(protocol, func(s Stream) {
		s.SetDeadline(time.Now().Add(talkTimeout))
		question, err := readBounded(s, limit)
		if err != nil {
			return
		}
		from, err := s.Remote().peer()
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, talkTimeout)
		defer cancel()
		answer, err := f(ctx, from, question)
		if err != nil {
			h.log.Debug("question was not answered", "protocol", protocol, "member", from, "error", err)
			return
		}
		s.SetDeadline(time.Now().Add(talkTimeout))
		if writeFrame(s, answer) == nil {
			_ = s.Close() // the answer was written
		}
	})
}

// ask asks a member one question.
func (h *Host) ask(ctx context.Context, of peer.ID, protocol string, question []byte, limit uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, talkTimeout)
	defer cancel()
	s, err := h.Open(ctx, idOf(of), protocol)
	if err != nil {
		return nil, err
	}
	defer s.Reset() //nolint:errcheck // it is read to the end
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := writeFrame(s, question); err != nil {
		return nil, fmt.Errorf("ask %s: %w", of, err)
	}
	answer, err := readBounded(s, limit)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", of, errors.Join(err, ctx.Err()))
	}
	return answer, nil
}

// redeemElsewhere asks admins that are connected, the one who signed first.
func (h *Host) redeemElsewhere(ctx context.Context, v *Invitation, node NodeID) (*Membership, error) {
	var admins []peer.ID
	for _, p := range h.book.online() {
		if role, ok := h.book.roleOf(p); ok && role == RoleAdmin {
			if v.Admin != nil && v.Admin.Node == idOf(p) {
				admins = append([]peer.ID{p}, admins...)
			} else {
				admins = append(admins, p)
			}
		}
	}
	question := encodeRedeem(v, node)
	for _, p := range admins[:min(len(admins), redeemersMax)] {
		b, err := h.ask(ctx, p, protocolRedeem, question, helloBytesMax)
		if err != nil {
			h.log.Debug("admin did not redeem", "admin", p, "error", err)
			continue
		}
		m, err := decodeRedeemed(b)
		code := CodeOf(err)
		if err != nil && (!errors.As(err, new(*Refusal)) || code == CodeInvitationUnknown || code == CodeOther) {
			h.log.Debug("admin did not redeem", "admin", p, "error", err)
			continue
		}
		return m, err
	}
	return nil, ErrNoAuthority
}

func (h *Host) answerRedeem(_ context.Context, _ peer.ID, question []byte) ([]byte, error) {
	v, node, err := decodeRedeem(question)
	if err != nil {
		return nil, err
	}
	m, err := h.redeemHere(v, node)
	return encodeRedeemed(m, err), nil
}

// greet asks a member that this node has dialled whom else it knows.
func (h *Host) greet(p peer.ID, direction network.Direction) {
	signal(h.spread)
	if direction != network.DirOutbound {
		return
	}
	select {
	case h.greeted <- p:
	default:
		h.metrics.limit("exchanges")
	}
}

func (h *Host) exchangePeers() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case p := <-h.greeted:
			if err := h.exchange(p); err != nil {
				h.log.Debug("members were not told", "member", p, "error", err)
			}
		}
	}
}

func (h *Host) exchange(p peer.ID) error {
	answer, err := h.ask(h.ctx, p, protocolPeers, nil, exchangeBytesMax)
	if err != nil {
		return err
	}
	told, err := decodePeers(answer)
	found := false
	for _, info := range told {
		if _, out := h.expelled.Out(idOf(info.ID)); !out && info.ID != h.self {
			found = h.book.hear(info.ID, h.dialable(info.Addrs)) || found
		}
	}
	if found {
		signal(h.lonely)
	}
	return err
}

func (h *Host) answerPeers(_ context.Context, from peer.ID, _ []byte) ([]byte, error) {
	return encodePeers(h.book.records(exchangeMax, from)), nil
}
