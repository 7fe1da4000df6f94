package content

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// transfer is one object being fetched, for all who want it.
type transfer struct {
	x    *exchange
	s    *Store
	hash Hash
	// ctx ends when the last caller has left.
	ctx    context.Context
	cancel context.CancelFunc
	// callers is guarded by the exchange's lock.
	callers int
	// done is closed when err is set; sized when the length is proved.
	done, sized chan struct{}
	err         error
	sessions    sync.WaitGroup

	mu sync.Mutex
	// changed is closed and replaced whenever somebody may have to look again.
	changed chan struct{}
	limit   int64
	fault   error
	// leftOut counts the candidates that are banned.
	leftOut int
	// tooLarge is a holder's claim that was beyond limit.
	tooLarge int64
	progress time.Time

	// chain is the claim that is followed; generation counts its changes. With
	// proved the last chunk has fitted: the length and the last state are true.
	chain      *chain
	generation int
	proved     bool
	part       *part
	// making says that part is on its way.
	making bool
	// have are the chunks that are in the file and fit, busy those that are
	// being written.
	have, busy bitmap
	left       int
	flights    map[int][]flight
	// disputed is a chunk that decides between two chains, or -1.
	disputed int

	holders map[p2p.NodeID]*holder
	// hinted are candidates, late those that have failed before.
	hinted, late []p2p.NodeID
	wave         int
}

// flight is a chunk that was asked of a holder.
type flight struct {
	from  *holder
	since time.Time
	// held says that it was not asked yet: this node's bandwidth does not allow it.
	held bool
}

func newTransfer(x *exchange, h Hash) *transfer {
	ctx, cancel := context.WithCancel(x.ctx)
	return &transfer{
		x: x, s: x.s, hash: h, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), sized: make(chan struct{}), changed: make(chan struct{}),
		flights: map[int][]flight{}, holders: map[p2p.NodeID]*holder{}, disputed: -1, progress: time.Now(),
	}
}

// extend takes another caller's wishes in.
func (t *transfer) extend(options FetchOptions) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(t.limit, options.BytesMax)
	for _, id := range options.Holders {
		t.addCandidate(id)
	}
	t.wake()
}

// wake has everybody look again; under the lock.
func (t *transfer) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// fail ends the fetch for a reason of this node's own.
func (t *transfer) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == nil {
		t.fault = err
	}
	t.wake()
}

// over reports whether nothing is left to do.
func (t *transfer) over() bool {
	return t.fault != nil || t.proved && t.left == 0 || t.ctx.Err() != nil
}

func (t *transfer) size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.chain.size
}

// main runs the fetch and keeps its object until all callers have it.
func (t *transfer) main() {
	entry, err := t.fetch()
	outcome := "done"
	switch {
	case errors.Is(err, context.Canceled):
		outcome = "cancelled"
	case errors.Is(err, ErrNoHolder):
		outcome = "no_holder"
	case err != nil:
		outcome = "failed"
	}
	t.s.meter.fetches.WithLabelValues(outcome).Inc()
	t.x.mu.Lock()
	delete(t.x.transfers, t.hash)
	t.err = err
	close(t.done)
	t.x.mu.Unlock()
	if err == nil {
		<-t.ctx.Done()
		t.s.release(entry)
	}
	t.cancel()
}

func (t *transfer) fetch() (*entry, error) {
	select {
	case t.x.slots <- struct{}{}:
		defer func() { <-t.x.slots }()
	case <-t.ctx.Done():
		return nil, t.ended()
	}
	if err := t.resume(); err != nil {
		return nil, err
	}
	err := t.run()
	t.mu.Lock()
	t.dropAll()
	t.mu.Unlock()
	t.sessions.Wait()
	if t.part == nil {
		return nil, err
	}
	defer t.part.close()
	if err != nil {
		t.part.keep()
		return nil, err
	}
	t.blameLiars()
	return t.part.finish(t.chain)
}

// ended says why ctx is.
func (t *transfer) ended() error {
	if t.x.ctx.Err() != nil {
		return ErrClosed
	}
	return context.Canceled
}

// run starts sessions with holders until all is here or nobody is left.
func (t *transfer) run() error {
	for {
		t.mu.Lock()
		if t.ctx.Err() != nil {
			t.mu.Unlock()
			return t.ended()
		}
		if t.over() {
			err := t.fault
			t.mu.Unlock()
			return err
		}
		live := t.startSessions()
		idle := time.Since(t.progress)
		stuck := idle >= t.x.config.Patience*time.Duration(t.wave+1)
		changed := t.changed
		t.mu.Unlock()
		if (live == 0 || stuck) && t.wave < lastWave {
			t.search()
			continue
		}
		if live == 0 {
			return t.nobody()
		}
		wait := time.NewTimer(max(time.Millisecond, t.x.config.Patience*time.Duration(t.wave+1)-idle))
		if t.wave == lastWave {
			wait.Stop()
		}
		select {
		case <-changed:
		case <-wait.C:
		case <-t.ctx.Done():
		}
		wait.Stop()
	}
}

// The waves in which candidates are looked for, after those that callers named.
const (
	waveFinder = 1 + iota
	waveConnected
	lastWave = waveConnected
)

// search adds the candidates of the next wave.
func (t *transfer) search() {
	t.wave++
	var found []p2p.NodeID
	switch {
	case t.wave == waveConnected:
		found = t.x.network.Connected()
	case t.x.config.Finder != nil:
		ctx, cancel := context.WithTimeout(t.ctx, t.x.config.ChunkTimeout)
		found = t.x.config.Finder(ctx, t.hash)
		cancel()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range found {
		t.addCandidate(id)
	}
}

// nobody says why nobody gives the object.
func (t *transfer) nobody() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tooLarge > 0 && !t.proved {
		return fmt.Errorf("%w: a holder claims %d bytes, at most %d", ErrTooLarge, t.tooLarge, t.limit)
	}
	absent := 0
	for _, h := range t.holders {
		if h.absent {
			absent++
		}
	}
	return fmt.Errorf("%w: %d asked, %d without it, %d not asked for their wrong answers of late",
		ErrNoHolder, len(t.holders), absent, t.leftOut)
}
