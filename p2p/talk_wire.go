package p2p

import (
	"github.com/libp2p/go-libp2p/core/peer"
)

// encodeRedeem is the question for a membership of the node, which has shown the
// invitation.
func encodeRedeem(v *Invitation, node NodeID) []byte {
	return appendNode(appendBytes(nil, v.Encode()), node)
}

func decodeRedeem(question []byte) (*Invitation, NodeID, error) {
	r := reader{b: question}
	v, err := DecodeInvitation(r.bytes(invitationBytesMax))
	if err != nil {
		return nil, "", err
	}
	node := r.node()
	return v, node, r.done()
}

// encodeRedeemed is the answer: code 0 and the membership, or why there is none.
func encodeRedeemed(m *Membership, err error) []byte {
	if err != nil {
		return append([]byte{byte(CodeOf(err))}, plain(err.Error(), refusalTextMax)...)
	}
	return append([]byte{byte(CodeOK)}, m.Encode()...)
}

// decodeRedeemed returns a *Refusal for an answer that is one.
func decodeRedeemed(answer []byte) (*Membership, error) {
	r := reader{b: answer}
	code := Code(r.u8())
	if r.err != nil {
		return nil, r.err
	}
	if code != CodeOK {
		return nil, &Refusal{Code: code, Text: plain(string(r.b), refusalTextMax)}
	}
	return DecodeMembership(r.b)
}

// encodePeers is the answer to who asks whom this node knows: signed peer records.
func encodePeers(records [][]byte) []byte {
	var b []byte
	for _, record := range records {
		b = appendBytes(b, record)
	}
	return b
}

// decodePeers returns whom a member knows, at most exchangeMax. With an error it
// returns those before what is wrong.
func decodePeers(answer []byte) (told []peer.AddrInfo, err error) {
	r := reader{b: answer}
	for len(told) < exchangeMax && len(r.b) > 0 {
		record := r.bytes(recordBytesMax)
		if r.err != nil {
			break
		}
		id, addresses, err := openRecord(record)
		if err != nil {
			return told, err
		}
		told = append(told, peer.AddrInfo{ID: id, Addrs: addresses})
	}
	return told, r.done()
}
