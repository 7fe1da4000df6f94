package p2p

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

const (
	// meetingBeat is how often a member says at the meeting point that it is there;
	// directories forget it after a day or two.
	meetingBeat = 4 * time.Hour
	// meetingRetry is how soon it tries again when nobody could be told.
	meetingRetry = 5 * time.Second
	// foundMax bounds the members that one search brings.
	foundMax = 32
	// bucketSize is how many members a node keeps at each distance, and keeps connected:
	// fewer than in a network of strangers, of which most come and go.
	bucketSize = 8
	// searchTimeout bounds one search.
	searchTimeout = 20 * time.Second
)

// directory is the grid's own Kademlia network. In it a member is found by its id,
// and members in general at one meeting point.
type directory struct {
	dht     *dht.IpfsDHT
	meeting cid.Cid
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

func (h *Host) startDHT() error {
	if !h.cfg.DHT {
		return nil
	}
	table, err := dht.New(h.libp2p,
		dht.ProtocolPrefix(protocol.ID("/dugnad/"+h.grid.prefix())), dht.Mode(dht.ModeAutoServer), dht.DisableValues(), dht.BucketSize(bucketSize),
		dht.AddressFilter(h.dialable))
	if err != nil {
		return fmt.Errorf("start DHT: %w", err)
	}
	sum := sha256.Sum256(append([]byte("dugnad meeting point v1\n"), h.grid[:]...))
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		return fmt.Errorf("start DHT: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &directory{dht: table, meeting: cid.NewCidV1(cid.Raw, hash), cancel: cancel}
	d.wg.Go(func() { d.announce(ctx) })
	h.dht.Store(d)
	return nil
}

func (d *directory) close() error {
	d.cancel()
	d.wg.Wait()
	return d.dht.Close()
}

// announce says at the meeting point that this node is a member.
func (d *directory) announce(ctx context.Context) {
	for {
		wait := meetingRetry
		if d.dht.RoutingTable().Size() > 0 {
			if err := d.provide(ctx); err == nil {
				wait = meetingBeat
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(wait)):
		}
	}
}

func (d *directory) provide(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	return d.dht.Provide(ctx, d.meeting, true)
}

// search asks the directory for members.
func (h *Host) search() {
	d := h.dht.Load()
	if d == nil || d.dht.RoutingTable().Size() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, searchTimeout)
	defer cancel()
	for info := range d.dht.FindProvidersAsync(ctx, d.meeting, foundMax) {
		if info.ID != h.self && h.book.hear(info.ID, h.dialable(info.Addrs)) {
			signal(h.lonely)
		}
	}
}

// find asks the directory for one member's addresses.
func (h *Host) find(ctx context.Context, p peer.ID) []ma.Multiaddr {
	d := h.dht.Load()
	if d == nil || d.dht.RoutingTable().Size() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	info, err := d.dht.FindPeer(ctx, p)
	if err != nil {
		return nil
	}
	return h.dialable(info.Addrs)
}
