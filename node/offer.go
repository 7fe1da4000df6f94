package node

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// watchInterval is how often a node looks whether its place in the ledger's
	// tree, by which offers travel, has changed unannounced, and who was expelled.
	watchInterval = 2 * time.Second
	// offerInterval is how often a node looks whether what it holds, and the room
	// for more, has changed.
	offerInterval = 2 * time.Second
	// calibrateInterval and calibrateRetry are how often the fuel rate is asked
	// for: most of the time it was measured before.
	calibrateInterval = 24 * time.Hour
	calibrateRetry    = 10 * time.Minute
	// diskStepBytes is what the disk in an offer is a multiple of, so that small
	// changes are not spread.
	diskStepBytes = 64 << 20
	// heldMax bounds the objects in the filter, those that were used last: above it
	// errs more often.
	heldMax = placement.FilterBytesMax * 8 / 10
)

func (n *Node) openPublisher(ctx context.Context) error {
	c := capacity.Default()
	c.Network, c.Grid, c.Sign, c.Verify = n.host, n.host.Grid(), n.host.Sign, n.verifyOffer
	c.Parent, c.Log, c.Registerer = n.parent, n.log, n.registry
	n.config.alter(&c)
	p, err := capacity.Open(ctx, c)
	if err != nil {
		return err
	}
	n.publisher = p
	if n.host.Membership().Role < p2p.RoleWorker {
		return nil
	}
	return p.SetOffer(n.given(n.config.Offer))
}

// parent is where offers go: up the ledger's tree, whose root is the leader.
func (n *Node) parent() (p2p.NodeID, bool) {
	s := n.book.Status()
	next := s.Parent
	if s.Voter || next == "" {
		next = s.Leader
	}
	return p2p.NodeID(next), next != "" && next != string(n.host.Self())
}

// verifyOffer checks a member's signature. One that is out has nothing to offer.
func (n *Node) verifyOffer(id p2p.NodeID, message, signature []byte) error {
	if n.host.IsOut(id) {
		return fmt.Errorf("%w: %s", p2p.ErrExpelled, id)
	}
	return p2p.VerifyBy(id, message, signature)
}

// watchOffers tells the publisher when its parent is another one, and takes the
// offers of nodes that were expelled off the board.
func (n *Node) watchOffers(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	// The publisher has asked before this: what it was told may have changed since.
	last := p2p.NodeID("")
	expelled := 0
	for {
		changed := n.book.Changed()
		if now, _ := n.parent(); now != last {
			last = now
			n.publisher.ParentChanged()
		}
		if out := n.host.Expelled(); len(out) != expelled {
			expelled = len(out) // the list only grows
			for _, id := range out {
				n.publisher.Board().Forget(id)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.watching:
		case <-changed:
		case <-ticker.C:
		}
	}
}

// keepOffer makes the node's offer true until ctx ends: with the fuel rate as soon
// as it is known, the disk that is left, and what is held.
func (n *Node) keepOffer(ctx context.Context) {
	rates := make(chan uint64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.calibrate(ctx, rates)
	}()
	defer func() { <-ended }()
	ticker := time.NewTicker(offerInterval)
	defer ticker.Stop()
	k := offerKeeper{node: n, offer: n.config.Offer, said: true}
	for {
		k.refresh()
		select {
		case <-ctx.Done():
			return
		case rate := <-rates:
			k.offer.FuelRate = rate * min(uint64(k.offer.Slots), uint64(runtime.NumCPU()))
			n.coreRate.Store(rate)
			n.steward.SetRate(rate)
			k.said = false
		case <-n.reoffer:
			k.said = false
		case <-n.keeping:
		case <-ticker.C:
		}
	}
}

// calibrate tells the fuel per second of one core, now and again whenever it may
// be another one.
func (n *Node) calibrate(ctx context.Context, rates chan<- uint64) {
	if n.config.Calibrate == nil {
		return
	}
	for {
		wait := calibrateInterval
		rate, err := n.config.Calibrate(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Warn("it is not known how fast this machine is", "err", err)
			wait = calibrateRetry
		default:
			n.log.Info("calibrated", "fuel_per_core_second", rate)
			select {
			case rates <- rate:
			case <-ctx.Done():
				return
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// offerKeeper remembers what was said last.
type offerKeeper struct {
	node  *Node
	offer capacity.Offer
	// said says that offer is what the publisher has.
	said bool
	// held says that the filter of changes is what the publisher has.
	held    bool
	changes uint64
}

// refresh says what is not as it was said last.
func (k *offerKeeper) refresh() {
	n := k.node
	room, err := n.store.Room()
	if err != nil {
		n.log.Warn("it is not known how much disk is free", "err", err)
		room = 0
	}
	if disk := uint64(room) / diskStepBytes * diskStepBytes; disk != k.offer.DiskBytes {
		k.offer.DiskBytes, k.said = disk, false
	}
	if !k.said {
		given := n.given(k.offer)
		if err := n.publisher.SetOffer(given); err != nil {
			n.log.Error("the offer was not published", "err", err)
			return
		}
		k.said = true
		if n.rate.Swap(given.FuelRate) != given.FuelRate {
			select {
			case n.rated <- struct{}{}:
			default:
			}
		}
	}
	if changes := n.store.Changes(); !k.held || changes != k.changes {
		if err := n.publisher.SetHeld(heldFilter(n.store.List())); err != nil {
			n.log.Error("what is held was not published", "err", err)
			return
		}
		k.held, k.changes = true, changes
	}
}

// heldFilter returns what placement reads.
func heldFilter(objects []content.Info) []byte {
	if len(objects) > heldMax {
		slices.SortFunc(objects, func(a, b content.Info) int {
			return cmp.Or(b.Accessed.Compare(a.Accessed), slices.Compare(a.Hash[:], b.Hash[:]))
		})
		objects = objects[:heldMax]
	}
	f := placement.NewFilter(len(objects))
	for _, o := range objects {
		f.Add(ledger.ModuleID(o.Hash))
	}
	return f.Encode()
}
