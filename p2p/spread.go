package p2p

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// spreadersMax bounds the members that are told of expulsions at the same time.
const spreadersMax = 8

// Expel puts the node out of the grid, for ever: its connections end here at once,
// and as the word spreads everywhere. The error is ErrNotAdmin when this node has
// no authority.
func (h *Host) Expel(node NodeID) error {
	a := h.authority.Load()
	if a == nil {
		return fmt.Errorf("expel %s: %w", node, ErrNotAdmin)
	}
	x, err := a.Expel(node)
	if err != nil {
		return err
	}
	return h.addExpulsions([]Expulsion{x})
}

// Expelled returns the nodes that are out, sorted.
func (h *Host) Expelled() []NodeID { return h.expelled.Nodes() }

// addExpulsions takes over what is new, keeps it on disk, and acts on it.
func (h *Host) addExpulsions(list []Expulsion) error {
	h.expelMu.Lock()
	defer h.expelMu.Unlock()
	changed, err := h.expelled.Add(list, time.Now())
	if err != nil {
		h.log.Warn("an expulsion was left out", "error", err)
	}
	if !changed {
		return err
	}
	if failed := replaceFile(filepath.Join(h.cfg.Dir, expulsionsFile), h.expelled.Encode()); failed != nil {
		err = failed
	}
	out := h.expelled.Nodes()
	h.metrics.expelled.Set(float64(len(out)))
	for _, id := range out {
		if id == h.Self() {
			h.noteOut()
			continue
		}
		p, wrong := id.peer()
		if wrong != nil {
			continue
		}
		if len(h.swarm.ConnsToPeer(p)) > 0 {
			h.log.Warn("connection of an expelled node is closed", "node", id)
			_ = h.swarm.ClosePeer(p) // it is gone either way
		}
		h.book.forget(p)
	}
	signal(h.spread)
	return err
}

// spreadExpulsions tells the connected members whose list differs, whenever this
// node's has changed or one came that has another. Each tells on what it learns.
func (h *Host) spreadExpulsions() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.spread:
		}
		_, own := h.expelled.state()
		var wg sync.WaitGroup
		places := make(chan struct{}, spreadersMax)
		for _, p := range h.book.online() {
			if h.book.digestOf(p) == own {
				continue
			}
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				if err := h.compare(p); err != nil {
					h.log.Debug("expulsions were not compared", "member", p, "error", err)
				}
			})
		}
		wg.Wait()
	}
}

// compare exchanges lists with a member. What either of them did not accept is
// not tried again until a list changes or they meet anew.
func (h *Host) compare(p peer.ID) error {
	list, own := h.expelled.state()
	answer, err := h.ask(h.ctx, p, protocolExpulsions, list, expulsionsBytesMax)
	if err != nil {
		return err
	}
	theirs, err := DecodeExpulsions(answer, h.grid)
	if err != nil {
		return err
	}
	h.book.note(p, own)
	err = h.addExpulsions(theirs)
	_, own = h.expelled.state()
	h.book.note(p, own)
	return err
}

func (h *Host) answerExpulsions(_ context.Context, from peer.ID, question []byte) ([]byte, error) {
	theirs, err := DecodeExpulsions(question, h.grid)
	if err != nil {
		return nil, err
	}
	if err := h.addExpulsions(theirs); err != nil {
		h.log.Debug("expulsions were not all taken", "member", from, "error", err)
	}
	list, own := h.expelled.state()
	h.book.note(from, own)
	return list, nil
}
