package content

import (
	"context"
	"slices"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

const (
	// candidatesMax bounds the members that one fetch ever asks.
	candidatesMax = 256
	// asksMax bounds how often one that had nothing is asked again because
	// others refer to it.
	asksMax = 8
	// liveFactor bounds the holders with a session: that many times
	// Config.HoldersMax, of which those that gave referrals do not count.
	liveFactor = 4

	pollFirst = 25 * time.Millisecond
	pollLast  = 500 * time.Millisecond
)

// holder is a member that is or was asked. Its transfer's lock guards it.
type holder struct {
	id     p2p.NodeID
	ctx    context.Context
	cancel context.CancelFunc
	gone   bool
	// absent says that it did not have the object, asks how often that was.
	absent   bool
	asks     int
	sessions int

	// chain is what it claims, nil before it said anything; have the chunks
	// that it has, nil for all.
	chain *chain
	have  bitmap
	// asking says that one of its sessions asks for its list.
	asking bool
	// doubted says that a chunk from a holder that itself only has a part did
	// not fit, and its list was asked for again.
	doubted bool
	// pollAt is when a holder that has only a part is asked for news.
	pollAt time.Time
	poll   time.Duration
	// restAt is when it may be asked again after it was busy.
	restAt time.Time
	// refused are the chunks for which it referred to others, since refusedAt.
	refused   map[int]bool
	refusedAt time.Time
	// pace is the number of chunks asked for at once.
	pace int
}

func (h *holder) live() bool { return !h.gone }

// addCandidate queues a member to be asked, if it is worth it.
func (t *transfer) addCandidate(id p2p.NodeID) {
	if id == t.x.network.Self() || len(id) > nodeBytesMax {
		return
	}
	banned, last := t.x.penalties.judge(id)
	h := t.holders[id]
	switch {
	case banned:
		t.leftOut++
		return
	case h == nil && len(t.holders) >= candidatesMax:
		return
	case h == nil:
		h = &holder{id: id, gone: true}
		t.holders[id] = h
	case !h.gone || !h.absent || h.asks >= asksMax:
		return
	}
	h.absent = false
	if slices.Contains(t.hinted, id) || slices.Contains(t.late, id) {
		return
	}
	if last {
		t.late = append(t.late, id)
		return
	}
	t.hinted = append(t.hinted, id)
}

// startSessions starts what there are candidates and room for, and returns the
// number of holders with a session.
func (t *transfer) startSessions() (live int) {
	paying := 0
	for _, h := range t.holders {
		if h.live() {
			live++
			if len(h.refused) == 0 {
				paying++
			}
		}
	}
	for _, queue := range []*[]p2p.NodeID{&t.hinted, &t.late} {
		for len(*queue) > 0 && paying < t.x.config.HoldersMax && live < liveFactor*t.x.config.HoldersMax {
			id := (*queue)[0]
			*queue = (*queue)[1:]
			// A new one: sessions of the one before may not have ended yet.
			h := &holder{id: id, asks: t.holders[id].asks + 1, pace: 1, poll: pollFirst, refused: map[int]bool{}}
			t.holders[id] = h
			h.ctx, h.cancel = context.WithCancel(t.ctx)
			live++
			paying++
			t.startSession(h)
		}
	}
	for _, h := range t.holders {
		useful := h.live() && h.chain == t.chain && h.chain != nil && t.proved && t.left > h.sessions && len(h.refused) == 0
		if useful && h.sessions > 0 && h.sessions < t.x.config.StreamsPerHolder {
			t.startSession(h)
		}
	}
	return live
}

func (t *transfer) startSession(h *holder) {
	h.sessions++
	first := h.sessions == 1
	t.sessions.Go(func() { t.session(h, first) })
}

// drop ends all sessions with a holder.
func (t *transfer) drop(h *holder) {
	if h.gone {
		return
	}
	h.gone = true
	h.cancel()
	t.elect()
	t.wake()
}

func (t *transfer) dropAll() {
	for _, h := range t.holders {
		if h.live() {
			h.gone = true
			h.cancel()
		}
	}
}

// blame drops a holder for what it did.
func (t *transfer) blame(h *holder, reason Reason) {
	t.mu.Lock()
	known := h.gone
	t.drop(h)
	t.mu.Unlock()
	if !known {
		t.x.report(h.id, t.hash, reason)
	}
}

// doubt reports whether a chunk of h that does not fit may be an honest error: a
// holder that is fetching itself may follow another chain since it said which.
// Then its list is asked for again; the second time it is to blame.
func (t *transfer) doubt(h *holder) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.have == nil || h.doubted {
		return false
	}
	h.doubted = true
	h.chain = nil
	t.elect()
	t.wake()
	return true
}

// blameLiars names those who claimed to hold the whole object with a chain that
// is not its: after the end, when that is certain.
func (t *transfer) blameLiars() {
	t.mu.Lock()
	var liars []p2p.NodeID
	right := t.chain.digest()
	for id, h := range t.holders {
		banned, _ := t.x.penalties.judge(id)
		if h.chain != nil && h.have == nil && h.chain.digest() != right && !banned {
			liars = append(liars, id)
		}
	}
	t.mu.Unlock()
	slices.Sort(liars)
	for _, id := range liars {
		t.x.report(id, t.hash, ReasonChain)
	}
}

// listed takes in what a holder says that it has.
func (t *transfer) listed(h *holder, l listing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wake()
	h.asking = false
	if l.size > t.limit {
		t.tooLarge = max(t.tooLarge, l.size)
		h.have, h.chain = l.have, nil
		t.drop(h)
		return
	}
	before := -1
	if h.have != nil {
		before = h.have.count()
	}
	h.chain, h.have = t.known(l.chain), l.have
	h.restAt = time.Time{}
	if h.have != nil && h.have.count() == before {
		h.poll = min(2*h.poll, pollLast)
	} else {
		h.poll = pollFirst
	}
	h.pollAt = time.Now().Add(h.poll)
	if t.chain == nil {
		t.follow(h.chain)
	} else if h.chain != t.chain && h.chain.size == t.chain.size {
		if k := t.chain.judge(h.chain); !t.have.has(k) {
			t.disputed = k
		}
	}
	t.elect()
}

// known returns the copy of c that others have claimed already, so that equal
// chains are the same pointer.
func (t *transfer) known(c *chain) *chain {
	digest := c.digest()
	if t.chain != nil && t.chain.digest() == digest {
		return t.chain
	}
	for _, h := range t.holders {
		if h.chain != nil && h.chain != t.chain && h.chain.digest() == digest {
			return h.chain
		}
	}
	return c
}

// elect follows another chain when nobody who claims the one that is followed
// is left: the one that most complete holders claim.
func (t *transfer) elect() {
	type votes struct{ complete, all int }
	count := map[*chain]votes{}
	var best *chain
	for _, id := range t.ids() {
		h := t.holders[id]
		if !h.live() || h.chain == nil || t.proved && h.chain.size != t.part.size {
			continue
		}
		v := count[h.chain]
		v.all++
		if h.have == nil {
			v.complete++
		}
		count[h.chain] = v
		if b := count[best]; best == nil || v.complete > b.complete || v.complete == b.complete && v.all > b.all {
			best = h.chain
		}
	}
	if best != nil && count[t.chain].all == 0 && !t.over() {
		t.follow(best)
	}
}

func (t *transfer) ids() []p2p.NodeID {
	ids := make([]p2p.NodeID, 0, len(t.holders))
	for id := range t.holders {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
