package executor

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/node/tail"
)

// feed wakes those who wait for a change; the zero feed has nobody.
type feed struct {
	mu      sync.Mutex
	changed chan struct{}
}

// wait returns what is closed with the next change.
func (f *feed) wait() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next()
}

func (f *feed) next() <-chan struct{} {
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// wake says that something has changed.
func (f *feed) wake() { f.change(func() {}) }

// change changes what the feed guards, and says so.
func (f *feed) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// phase is how far a task of a series is. Zero is that it runs, or comes after those
// that do.
type phase uint8

const (
	// phaseOver: it writes no more.
	phaseOver phase = iota + 1
	// phaseAgain: it is taken out of the series, to begin in another one.
	phaseAgain
)

// turn has a task of the series go on to a phase.
func (s *series) turn(i int, to phase) { s.feed.change(func() { s.phases[i] = to }) }

// Follow implements tail.Source. It reads what is kept of the output anyway: a slow
// follower has it read later, and does not keep it.
func (e *Executor) Follow(ctx context.Context, q tail.Query, send func(p tail.Piece) error) error {
	if n := e.followers.Add(1); int(n) > e.config.FollowersMax {
		e.followers.Add(-1)
		e.metrics.limit("followers")
		return tail.ErrFollowers
	}
	e.metrics.followers.Inc()
	defer func() {
		e.followers.Add(-1)
		e.metrics.followers.Dec()
	}()
	for {
		s, i, changed, err := e.seriesOf(&q)
		if err != nil {
			return err
		}
		if s != nil {
			f := follower{s: s, i: i, want: q.Want, at: q.From, send: send}
			again, err := f.run(ctx, &q)
			if err != nil || !again {
				return err
			}
			q.From, q.Run = f.at, s.run
		}
		if err := e.pauseFor(ctx, changed); err != nil {
			return err
		}
	}
}

// pauseFor waits for a change.
func (e *Executor) pauseFor(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-e.ctx.Done():
		return tail.ErrClosing
	}
}

// seriesOf returns the series that a task is in, and its place there; none when the sandbox
// has not got it. changed is closed when that may be different.
func (e *Executor) seriesOf(q *tail.Query) (s *series, i int, changed <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.leases[q.Epoch]
	if l == nil || l.job.id != q.Job || !l.tasks.Has(q.Index) {
		return nil, 0, nil, tail.ErrNotHere
	}
	for s := range l.series {
		for i := range s.tasks {
			if s.ends[i].index == q.Index && s.phase(i) != phaseAgain {
				return s, i, l.feed.wait(), nil
			}
		}
	}
	return nil, 0, l.feed.wait(), nil
}

func (s *series) phase(i int) phase {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.phases[i]
}

// follower reads what a task of a series puts out.
type follower struct {
	s    *series
	i    int
	want [tail.Streams]bool
	// at is how far each stream was read, sizes how far it was written.
	at, sizes [tail.Streams]uint64
	send      func(p tail.Piece) error
	buffer    []byte
}

// run sends what the task puts out until it is over, or again says that it is to begin
// anew.
func (f *follower) run(ctx context.Context, q *tail.Query) (again bool, err error) {
	if f.s.run != 0 && q.Run != 0 && q.Run != f.s.run {
		f.at = [tail.Streams]uint64{}
	}
	if err := f.send(tail.Piece{Kind: tail.Begun, Run: f.s.run}); err != nil {
		return false, err
	}
	f.buffer = make([]byte, tail.PieceBytesMax)
	f.skip(q.Back)
	for {
		is, spools, changed := f.look()
		moved := false
		for stream, spool := range spools {
			n, err := f.read(tail.Stream(stream), spool)
			if err != nil {
				return false, err
			}
			moved = moved || n > 0
		}
		switch {
		case moved:
		case is == phaseAgain:
			return true, nil
		case is == phaseOver:
			return false, f.send(tail.Piece{Kind: tail.Ended, Sizes: f.sizes})
		default:
			if err := f.s.l.e.pauseFor(ctx, changed); err != nil {
				return false, err
			}
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
}

// look returns how far the task is, what it puts out into, and what is closed when that
// has changed.
func (f *follower) look() (is phase, spools [tail.Streams]*result.Spool, changed <-chan struct{}) {
	f.s.feed.mu.Lock()
	defer f.s.feed.mu.Unlock()
	end := &f.s.ends[f.i]
	return f.s.phases[f.i], [tail.Streams]*result.Spool{tail.Stdout: end.out.spool, tail.Stderr: end.errs.spool}, f.s.feed.next()
}

// skip goes on to where the streams are not more than back bytes behind their end.
func (f *follower) skip(back uint64) {
	_, spools, _ := f.look()
	for stream, spool := range spools {
		if spool == nil || !f.want[stream] {
			continue
		}
		size := uint64(spool.Size())
		if size-min(size, f.at[stream]) > tail.BackBytesMax && (back == 0 || back > tail.BackBytesMax) {
			f.s.l.e.metrics.limit("follow_back_bytes")
		}
		most := back
		if most == 0 || most > tail.BackBytesMax {
			most = tail.BackBytesMax
		}
		f.at[stream] = max(f.at[stream], size-min(size, most))
	}
}

// read sends the next piece of a stream, if there is one, and returns its length. What
// was dropped before it was read is in the result.
func (f *follower) read(stream tail.Stream, spool *result.Spool) (int, error) {
	if spool == nil || !f.want[stream] || f.at[stream] > math.MaxInt64 {
		return 0, nil
	}
	f.sizes[stream] = max(f.sizes[stream], uint64(spool.Size()))
	n, err := spool.Peek(f.buffer, int64(f.at[stream]))
	switch {
	case errors.Is(err, result.ErrSpoolClosed):
		return 0, nil
	case err != nil || n == 0:
		return 0, err
	}
	err = f.send(tail.Piece{Kind: tail.Output, Stream: stream, At: f.at[stream], Data: f.buffer[:n]})
	f.at[stream] += uint64(n)
	return n, err
}
