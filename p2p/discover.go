package p2p

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// dialTimeout bounds a dial to find a neighbour.
	dialTimeout = 15 * time.Second
	// dialsMax bounds such dials at the same time.
	dialsMax = 8
	// dialPause is between two rounds of them.
	dialPause = 50 * time.Millisecond
	// retryFirst and retryMax are the waits after dials that came to nothing.
	retryFirst = 500 * time.Millisecond
	retryMax   = 15 * time.Second
	// keepBeat is how often a node with neighbours looks.
	keepBeat = time.Minute
	// searchBeat is how often a node without enough neighbours asks the DHT.
	searchBeat = 20 * time.Second
	// saveBeat is how often the list of members is written.
	saveBeat = time.Minute
)

// keepNeighbours dials known nodes until NeighboursMin members are connected, and
// whenever one of them is lost.
func (h *Host) keepNeighbours() {
	var searched time.Time
	for {
		wait := keepBeat
		now := time.Now()
		if missing := h.cfg.NeighboursMin - len(h.book.online()); missing > 0 {
			ids, next := h.book.candidates(min(missing, dialsMax), now)
			h.dialAll(ids)
			switch {
			case len(ids) > 0:
				wait = dialPause
			case !next.IsZero():
				wait = max(next.Sub(now), 10*time.Millisecond)
			}
			if len(ids) == 0 && now.Sub(searched) > searchBeat {
				searched = now
				h.search()
			}
			wait = min(wait, jitter(searchBeat))
		}
		timer := time.NewTimer(wait)
		select {
		case <-h.ctx.Done():
			timer.Stop()
			return
		case <-h.lonely:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (h *Host) dialAll(ids []peer.ID) {
	var wg sync.WaitGroup
	for _, p := range ids {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(h.ctx, dialTimeout)
			defer cancel()
			err := h.connect(ctx, p)
			if err == nil {
				h.metrics.dials.WithLabelValues("connected").Inc()
				return
			}
			h.metrics.dials.WithLabelValues(CodeOf(err).String()).Inc()
			h.log.Debug("member does not answer", "member", p, "error", err)
			h.book.failed(p, time.Now())
		})
	}
	wg.Wait()
}

// jitter returns d, give or take a quarter, so that nodes do not act in step.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}

// dialable returns the addresses that this node would dial.
func (h *Host) dialable(addresses []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range addresses {
		if (h.cfg.AllowLoopback || !manet.IsIPLoopback(a)) && len(a.Bytes()) <= AddressBytesMax {
			out = append(out, a)
		}
	}
	return out
}

// openRecord opens the signed peer record of whoever it is about.
func openRecord(signed []byte) (peer.ID, []ma.Multiaddr, error) {
	var r peer.PeerRecord
	if _, err := record.ConsumeTypedEnvelope(signed, &r); err != nil {
		return "", nil, err
	}
	addresses, err := recordAddresses(signed, r.PeerID)
	return r.PeerID, addresses, err
}

// saveBook writes the list of members now and then.
func (h *Host) saveBook() {
	ticker := time.NewTicker(saveBeat)
	defer ticker.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-ticker.C:
			if err := h.storeBook(); err != nil {
				h.log.Warn("list of members was not written", "error", err)
			}
		}
	}
}

func (h *Host) storeBook() error {
	h.metrics.known.Set(float64(len(h.book.members())))
	return replaceFile(filepath.Join(h.cfg.Dir, bookFile), h.book.encode())
}
