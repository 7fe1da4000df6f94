package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// signedRecord returns what the n-th key of the tests says of its addresses.
func signedRecord(t testing.TB, n byte, addresses ...string) []byte {
	t.Helper()
	private := must[crypto.PrivKey](t)(testKey(t, n).libp2p())
	r := peer.PeerRecord{PeerID: must[peer.ID](t)(peer.IDFromPrivateKey(private)), Seq: 1}
	for _, a := range addresses {
		r.Addrs = append(r.Addrs, ma.StringCast(a))
	}
	return must[[]byte](t)(must[*record.Envelope](t)(record.Seal(&r, private)).Marshal())
}

// FuzzRedeem: what is read of a question is what was written.
func FuzzRedeem(f *testing.F) {
	s := newScene(f)
	for _, by := range []signer{s.byGrid, s.byAdmin} {
		f.Add(encodeRedeem(testInvitation(f, s, by), s.workerKey.NodeID()))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, question []byte) {
		v, node, err := decodeRedeem(question)
		if err != nil {
			return
		}
		again, same, err := decodeRedeem(encodeRedeem(v, node))
		if err != nil || same != node || !bytes.Equal(again.Encode(), v.Encode()) {
			t.Fatalf("%s became %s: %v", node, same, err)
		}
	})
}

// FuzzRedeemed: an answer is a membership, a refusal that can be shown, or malformed.
func FuzzRedeemed(f *testing.F) {
	s := newScene(f)
	f.Add(encodeRedeemed(s.worker, nil))
	f.Add(encodeRedeemed(s.admin, nil))
	f.Add(encodeRedeemed(nil, fmt.Errorf("%w: 1 of 1", ErrInvitationUsedUp)))
	f.Add(encodeRedeemed(nil, errors.New("\x1b[2J")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		m, err := decodeRedeemed(answer)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			if len(refusal.Text) > refusalTextMax || plain(refusal.Text, refusalTextMax) != refusal.Text {
				t.Fatalf("text %q", refusal.Text)
			}
		case err == nil && !bytes.Equal(encodeRedeemed(m, nil), answer):
			t.Fatalf("%+v is not what was written", m)
		}
	})
}

// FuzzPeers: what a member tells is bounded, whatever it writes.
func FuzzPeers(f *testing.F) {
	one, two := signedRecord(f, 1, "/ip4/192.0.2.1/tcp/1"), signedRecord(f, 2, "/ip4/192.0.2.2/udp/1/quic-v1", "/ip6/2001:db8::1/tcp/1")
	f.Add(encodePeers([][]byte{one, two}))
	f.Add(encodePeers([][]byte{one, two[1:]}))
	f.Add(encodePeers(nil))
	f.Fuzz(func(t *testing.T, answer []byte) {
		told, _ := decodePeers(answer)
		if len(told) > exchangeMax {
			t.Fatalf("%d members", len(told))
		}
		for _, info := range told {
			if len(info.Addrs) > AddressesMax {
				t.Fatalf("%d addresses of %s", len(info.Addrs), info.ID)
			}
		}
	})
}

// Records before one that is damaged count, and one too many makes the answer wrong.
func TestPeersThatAreTold(t *testing.T) {
	one, two := signedRecord(t, 1, "/ip4/192.0.2.1/tcp/1"), signedRecord(t, 2, "/ip4/192.0.2.2/tcp/1")
	many := make([][]byte, exchangeMax+1)
	for i := range many {
		many[i] = one
	}
	for _, c := range []struct {
		records [][]byte
		told    int
		good    bool
	}{{nil, 0, true}, {[][]byte{one, two}, 2, true}, {[][]byte{one, two[1:], two}, 1, false}, {many, exchangeMax, false}} {
		told, err := decodePeers(encodePeers(c.records))
		if len(told) != c.told || (err == nil) != c.good {
			t.Errorf("of %d records %d were told: %v", len(c.records), len(told), err)
		}
	}
}
