package p2p

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// encode writes the members that were met, those of them with addresses.
func (b *book) encode() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []byte{encodingVersion}
	for _, id := range slices.Sorted(maps.Keys(b.entries)) {
		e := b.entries[id]
		addresses := e.where()
		addresses = addresses[:min(len(addresses), AddressesMax)]
		if e.role == 0 || len(addresses) == 0 {
			continue
		}
		out = appendNode(out, idOf(id))
		out = append(out, byte(e.role))
		out = appendTime(out, e.seen)
		out = appendBytes(out, e.name)
		out = appendBytes(out, e.record)
		out = binary.AppendUvarint(out, uint64(len(addresses)))
		for _, a := range addresses {
			out = appendBytes(out, a.Bytes())
		}
	}
	return append(out, checksum(out)...)
}

// decode adds what encode wrote.
func (b *book) decode(in []byte, now time.Time) error {
	if len(in) < checksumBytes || string(checksum(in[:len(in)-checksumBytes])) != string(in[len(in)-checksumBytes:]) {
		return fmt.Errorf("decode book: %w: checksum", ErrMalformed)
	}
	r := reader{b: in[:len(in)-checksumBytes]}
	r.version()
	b.mu.Lock()
	defer b.mu.Unlock()
	for r.err == nil && len(r.b) > 0 {
		id, err := r.node().peer()
		e := &entry{role: r.role(), seen: r.time()}
		e.name = plain(string(r.bytes(NameBytesMax)), NameBytesMax)
		e.record = slices.Clone(r.bytes(recordBytesMax))
		for n := r.uvarint(AddressesMax); n > 0 && r.err == nil; n-- {
			if a, err := ma.NewMultiaddrBytes(slices.Clone(r.bytes(AddressBytesMax))); err == nil && len(a) > 0 {
				e.addresses = append(e.addresses, a)
			} else {
				r.fail("address")
			}
		}
		if r.err != nil || err != nil || now.Sub(e.seen) > bookKept || len(b.entries) >= b.max {
			continue
		}
		b.entries[id] = e
	}
	if err := r.done(); err != nil {
		return fmt.Errorf("decode book: %w", err)
	}
	return nil
}

// load reads the file. One that is damaged costs the memory of members, which are
// found again in other ways.
func (b *book) load(path string, now time.Time, log *slog.Logger) error {
	in, err := readFile(path, b.max*bookEntryBytesMax)
	if err != nil || in == nil {
		return err
	}
	if err := b.decode(in, now); err != nil {
		log.Warn("list of members is damaged", "file", path, "error", err)
	}
	return nil
}

// recordAddresses opens a signed peer record, which may be empty.
func recordAddresses(signed []byte, id peer.ID) ([]ma.Multiaddr, error) {
	if len(signed) == 0 {
		return nil, nil
	}
	if len(signed) > recordBytesMax {
		return nil, fmt.Errorf("open peer record: %w: %d bytes", ErrMalformed, len(signed))
	}
	var r peer.PeerRecord
	envelope, err := record.ConsumeTypedEnvelope(signed, &r)
	if err != nil {
		return nil, fmt.Errorf("open peer record: %w: %w", ErrMalformed, err)
	}
	if !id.MatchesPublicKey(envelope.PublicKey) || r.PeerID != id {
		return nil, fmt.Errorf("open peer record: %w: it is another node's", ErrSignature)
	}
	var out []ma.Multiaddr
	for _, a := range r.Addrs {
		if len(out) < AddressesMax && len(a.Bytes()) <= AddressBytesMax {
			out = append(out, a)
		}
	}
	return out, nil
}
