package content

import (
	"hash/fnv"
	"time"
)

// job is what a session does next.
type job struct {
	kind         byte
	first, count int
	insist       bool
	chain        *chain
	generation   int
}

// never is a time to wait that other events cut short.
const never = time.Hour

// take waits until there is something to do with h, or returns false.
func (t *transfer) take(h *holder) (job, bool) {
	for {
		t.mu.Lock()
		if h.gone || t.over() {
			t.mu.Unlock()
			return job{}, false
		}
		j, wait := t.choose(h, time.Now())
		changed := t.changed
		t.mu.Unlock()
		if j.kind != 0 {
			return j, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-h.ctx.Done():
		}
		timer.Stop()
	}
}

// choose picks what to ask h now, or says when to look again.
func (t *transfer) choose(h *holder, now time.Time) (job, time.Duration) {
	if wait := h.restAt.Sub(now); wait > 0 {
		return job{}, wait
	}
	if h.chain == nil {
		return t.askList(h)
	}
	wait := never
	if h.chain == t.chain {
		insist, later := t.mayInsist(h, now)
		j, next := t.chooseChunks(h, now, insist)
		if j.kind != 0 {
			return j, 0
		}
		wait = min(next, later)
	}
	if idle := now.Sub(t.progress); idle > t.hopeless() && len(t.flights) == 0 {
		t.drop(h)
		return job{}, 0
	}
	wait = min(wait, t.hopeless())
	if h.have == nil {
		return job{}, wait
	}
	if poll := h.pollAt.Sub(now); poll > 0 {
		return job{}, min(wait, poll)
	}
	return t.askList(h)
}

// hopeless is how long a fetch may be without progress before holders that give
// nothing are let go.
func (t *transfer) hopeless() time.Duration {
	return 4 * max(t.x.config.Patience, t.x.config.ChunkTimeout)
}

func (t *transfer) askList(h *holder) (job, time.Duration) {
	if h.asking {
		return job{}, never
	}
	h.asking = true
	return job{kind: requestList, chain: t.chain}, 0
}

// mayInsist says whether h must give chunks for which it referred to others:
// when there are no others, or when they have not helped for long.
func (t *transfer) mayInsist(h *holder, now time.Time) (bool, time.Duration) {
	if len(h.refused) == 0 {
		return false, never
	}
	others := len(t.hinted) + len(t.late)
	for _, o := range t.holders {
		if o != h && o.live() && (o.chain == nil || o.chain == t.chain) {
			others++
		}
	}
	since := h.refusedAt
	if t.progress.After(since) {
		since = t.progress
	}
	wait := since.Add(t.x.config.Patience).Sub(now)
	return others == 0 || wait <= 0, max(wait, time.Millisecond)
}

// chooseChunks picks a range that nobody was asked for, or else one chunk that
// somebody was asked for long ago.
func (t *transfer) chooseChunks(h *holder, now time.Time, insist bool) (job, time.Duration) {
	n := t.chain.chunks()
	wanted := func(k int) bool {
		return !t.have.has(k) && !t.busy.has(k) && (h.have == nil || h.have.has(k)) && (insist || !h.refused[k]) &&
			(t.proved || k == n-1)
	}
	free := func(k int) bool { return wanted(k) && len(t.flights[k]) == 0 }
	if t.disputed >= 0 && free(t.disputed) {
		return t.fly(h, now, t.disputed, 1, insist), 0
	}
	start := t.start(n)
	for i := range n {
		k := (start + i) % n
		if !free(k) {
			continue
		}
		count, most := 1, h.pace
		if t.x.config.Down.Bound() {
			most = 1
		}
		for count < most && k+count < n && free(k+count) {
			count++
		}
		return t.fly(h, now, k, count, insist), 0
	}
	oldest, wait := -1, never
	var since time.Time
	for k, f := range t.flights {
		if len(f) != 1 || f[0].from == h || f[0].held || !wanted(k) {
			continue
		}
		if oldest < 0 || f[0].since.Before(since) {
			oldest, since = k, f[0].since
		}
	}
	if oldest >= 0 {
		wait = since.Add(t.x.config.StealAfter).Sub(now)
		if wait <= 0 {
			return t.fly(h, now, oldest, 1, insist), 0
		}
	}
	return job{}, wait
}

// start is the chunk that a node begins with: another one on each node, so that
// those who fetch at the same time soon have something for one another.
func (t *transfer) start(n int) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(t.x.network.Self()))
	_, _ = f.Write(t.hash[:])
	return int(f.Sum32() % uint32(n))
}

// fly books chunks for h.
func (t *transfer) fly(h *holder, now time.Time, first, count int, insist bool) job {
	for k := first; k < first+count; k++ {
		t.flights[k] = append(t.flights[k], flight{from: h, since: now})
	}
	return job{kind: requestRange, first: first, count: count, insist: insist, chain: t.chain, generation: t.generation}
}

// hold says of a job's chunks that they are not asked yet, or that they are from now on.
func (t *transfer) hold(h *holder, j job, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := j.first; k < j.first+j.count; k++ {
		for i := range t.flights[k] {
			if f := &t.flights[k][i]; f.from == h {
				f.held, f.since = held, time.Now()
			}
		}
	}
	t.wake()
}

// land ends the booking of a job's chunks from k on.
func (t *transfer) land(h *holder, j job, k int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; k < j.first+j.count; k++ {
		t.landOne(h, k)
	}
	t.wake()
}

func (t *transfer) landOne(h *holder, k int) {
	flights := t.flights[k]
	for i, f := range flights {
		if f.from == h {
			flights = append(flights[:i:i], flights[i+1:]...)
			break
		}
	}
	if len(flights) == 0 {
		delete(t.flights, k)
		return
	}
	t.flights[k] = flights
}
