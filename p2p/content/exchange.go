package content

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// exchange is what a store does on the network.
type exchange struct {
	s       *Store
	config  Config
	network p2p.Network
	ctx     context.Context
	cancel  context.CancelFunc
	// slots holds a token for each fetch that runs.
	slots     chan struct{}
	penalties penalties
	spread    spread
	// running counts the goroutines of fetches.
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	transfers map[Hash]*transfer
	streams   map[p2p.Stream]struct{}
	peers     map[p2p.NodeID]peerUse
	uploads   int
}

// peerUse is what one member takes here.
type peerUse struct{ streams, uploads int }

func newExchange(s *Store) *exchange {
	ctx, cancel := context.WithCancel(context.Background())
	return &exchange{
		s: s, config: s.config, network: s.config.Network, ctx: ctx, cancel: cancel,
		slots:     make(chan struct{}, s.config.FetchesMax),
		penalties: penalties{of: map[p2p.NodeID]penalty{}},
		spread:    spread{copiesMax: s.config.CopiesMax, window: s.config.SpreadWindow, objects: map[Hash]*spreading{}},
		transfers: map[Hash]*transfer{},
		streams:   map[p2p.Stream]struct{}{},
		peers:     map[p2p.NodeID]peerUse{},
	}
}

func (x *exchange) start() { x.network.Handle(Protocol, x.serve) }

// close ends every fetch and every stream, and waits for them.
func (x *exchange) close() {
	x.mu.Lock()
	x.closed = true
	open := slices.Collect(maps.Keys(x.streams))
	x.mu.Unlock()
	for _, stream := range open {
		_ = stream.Reset()
	}
	x.cancel()
	x.network.Handle(Protocol, nil)
	x.running.Wait()
}

// admit takes a stream of a member in, or says that there are too many.
func (x *exchange) admit(stream p2p.Stream) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	use := x.peers[stream.Remote()]
	if x.closed || len(x.streams) >= x.config.StreamsMax || use.streams >= x.config.StreamsPerPeer {
		return false
	}
	use.streams++
	x.peers[stream.Remote()] = use
	x.streams[stream] = struct{}{}
	return true
}

func (x *exchange) dismiss(stream p2p.Stream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.streams, stream)
	use := x.peers[stream.Remote()]
	use.streams--
	x.use(stream.Remote(), use)
}

func (x *exchange) use(id p2p.NodeID, use peerUse) {
	if use == (peerUse{}) {
		delete(x.peers, id)
		return
	}
	x.peers[id] = use
}

// beginUpload takes the buffer of one chunk for a member, if there is one.
func (x *exchange) beginUpload(id p2p.NodeID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	use := x.peers[id]
	if x.uploads >= x.config.UploadsMax || use.uploads >= x.config.UploadsPerPeer {
		return false
	}
	use.uploads++
	x.peers[id] = use
	x.uploads++
	return true
}

func (x *exchange) endUpload(id p2p.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	use := x.peers[id]
	use.uploads--
	x.use(id, use)
	x.uploads--
}

// report notes what a holder did wrong, and tells whoever wants to know.
func (x *exchange) report(id p2p.NodeID, h Hash, reason Reason) {
	x.penalties.add(id, reason, x.config.BanFor)
	x.s.meter.reports.WithLabelValues(reason.String()).Inc()
	x.s.log.Warn("holder failed", "holder", id, "hash", h, "reason", reason)
	if x.config.Report != nil {
		x.config.Report(id, h, reason)
	}
}

// penaltiesMax bounds the holders that are remembered.
const penaltiesMax = 4096

// demotion is how long a holder that was slow or lost is asked last.
const demotion = time.Minute

type penalty struct {
	until  time.Time
	banned bool
}

// penalties remembers who failed.
type penalties struct {
	mu sync.Mutex
	of map[p2p.NodeID]penalty
}

func (p *penalties) add(id p2p.NodeID, reason Reason, ban time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.of) >= penaltiesMax {
		for old, q := range p.of {
			if now.After(q.until) {
				delete(p.of, old)
			}
		}
	}
	if old, ok := p.of[id]; len(p.of) >= penaltiesMax && !ok || old.banned && now.Before(old.until) && !reason.bans() {
		return
	}
	if reason.bans() {
		p.of[id] = penalty{until: now.Add(ban), banned: true}
		return
	}
	p.of[id] = penalty{until: now.Add(demotion)}
}

// judge reports whether a holder is left out, or asked last.
func (p *penalties) judge(id p2p.NodeID) (banned, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, ok := p.of[id]
	if !ok || time.Now().After(q.until) {
		return false, false
	}
	return q.banned, true
}
