package executor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// bundleTasksMax bounds the results in one object, and bundleBytesMax is the
	// size at which it takes no further one: whoever wants one of them reads
	// past the others.
	bundleTasksMax = 4096
	bundleBytesMax = 16 << 20
	// resultlessMax is how many tasks in a row that need no result get one
	// nevertheless, when that spares an object.
	resultlessMax = 8
	// putsMax bounds the results that are stored at the same time: each waits for
	// the disk.
	putsMax = 8
)

// record makes runs of what has ended, until the executor stops: results go to
// the content store, runs to the queue. An outcome goes there at once when no
// report is under way; meanwhile outcomes gather.
func (e *Executor) record() {
	for {
		select {
		case <-e.gather.added:
		case <-e.ctx.Done():
			return
		}
		e.wait()
		list := e.gather.take()
		runs := e.runs(list)
		for i := range list {
			list[i].close()
		}
		e.gather.give(list)
		e.enqueue(runs)
	}
}

// wait lets outcomes gather while a report is under way.
func (e *Executor) wait() {
	if e.queue.idle() {
		return
	}
	timer := time.NewTimer(e.config.GatherInterval)
	defer timer.Stop()
	for {
		select {
		case <-e.queue.moved:
			if e.queue.idle() {
				return
			}
		case <-e.gather.half:
			return
		case <-timer.C:
			return
		case <-e.ctx.Done():
			return
		}
	}
}

// enqueue puts runs into the queue, and waits for room there. When the executor
// stops there is room for them in any case.
func (e *Executor) enqueue(runs []entry) {
	for full := false; len(runs) > 0; full = true {
		err := e.queue.push(runs, e.ctx.Err() != nil)
		e.queue.show(e.metrics)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrJournalFull) {
			e.metrics.limit("journal_write")
			e.log.Error("outcomes are in memory only", "err", err)
			return
		}
		if !full {
			e.metrics.limit("journal_bytes")
			e.log.Warn("no task is started", "err", err)
		}
		select {
		case <-e.queue.moved:
		case <-e.ctx.Done():
		}
	}
}

// runs makes runs of tasks that ended, as few as possible, and stores their
// results.
func (e *Executor) runs(list []ended) []entry {
	slices.SortFunc(list, func(a, b ended) int {
		return cmp.Or(cmp.Compare(a.l.epoch, b.l.epoch), cmp.Compare(a.index, b.index))
	})
	var pieces [][]ended
	for len(list) > 0 {
		n := alike(list)
		for rest := list[:n]; len(rest) > 0 && !e.isGone(list[0].l); {
			k := stretch(rest)
			pieces = append(pieces, rest[:k])
			rest = rest[k:]
		}
		list = list[n:]
	}
	runs := make([]entry, len(pieces))
	var puts sync.WaitGroup
	free := make(chan struct{}, putsMax)
	for i, piece := range pieces {
		if !piece[0].needsResult() {
			runs[i] = newEntry(piece, [32]byte{})
			continue
		}
		free <- struct{}{}
		puts.Go(func() {
			runs[i] = e.withResult(piece)
			<-free
		})
	}
	puts.Wait()
	return slices.DeleteFunc(runs, func(r entry) bool { return r.run.Count == 0 })
}

// alike returns how many tasks at the front of the list are of one lease, beside
// each other, and ended alike.
func alike(list []ended) int {
	for n := 1; n < len(list); n++ {
		a, b := &list[n-1], &list[n]
		if a.l != b.l || a.class != b.class || a.terminal != b.terminal || a.l.after(a.index) != b.index {
			return n
		}
	}
	return len(list)
}

// stretch returns how many tasks at the front of a list of those that ended alike
// go into one run. They have results if the first of them needs one.
func stretch(list []ended) int {
	if !list[0].needsResult() {
		for n := range list {
			if list[n].needsResult() {
				return n
			}
		}
		return len(list)
	}
	bytes, last := int64(0), 0
	for i := range list {
		end := &list[i]
		if i == bundleTasksMax || bytes >= bundleBytesMax || i-last > resultlessMax {
			break
		}
		if end.needsResult() {
			last = i
		}
		for _, o := range []*output{&end.out, &end.errs} {
			if o.spool != nil {
				bytes += o.spool.Size()
			}
		}
	}
	return last + 1
}

// newEntry makes a run of tasks of a lease that are beside each other and ended
// alike.
func newEntry(list []ended, digest [32]byte) entry {
	first, last := &list[0], &list[len(list)-1]
	e := entry{
		job: first.l.job.id, epoch: first.l.epoch, next: last.l.after(last.index),
		run: ledger.Run{
			First: first.index, Count: uint32(len(list)), State: first.class.State(), Exit: uint8(first.class),
			Terminal: first.terminal, Digest: digest,
		},
	}
	for i := range list {
		e.run.Usage = sum(e.run.Usage, list[i].usage())
	}
	return e
}

// withResult stores the results of tasks in one object and makes a run of them.
// When that does not work it is a run without one, and those that had succeeded
// count as failed. When the executor stops before, the run is empty.
func (e *Executor) withResult(list []ended) entry {
	l := list[0].l
	results := make([]result.Result, len(list))
	for i := range list {
		results[i] = result.Result{
			Index: list[i].index, Attempt: l.attempt, Node: string(e.config.Node), Outcome: list[i].outcome,
			Stdout: list[i].out.stream(), Stderr: list[i].errs.stream(),
		}
	}
	began := time.Now()
	digest, size, err := e.put(l.job.id, results)
	l.traceStore(began, len(list), err)
	if err == nil {
		run := newEntry(list, digest)
		run.run.StoredBytes = uint64(size)
		return run
	}
	if e.ctx.Err() != nil {
		return entry{}
	}
	e.log.Error("results are lost", "job", l.job.id, "first", list[0].index, "tasks", len(list), "err", err)
	e.metrics.limit("results")
	if list[0].class.State() == ledger.TaskSucceeded {
		for i := range list {
			list[i].unkept(err)
		}
	}
	return newEntry(list, [32]byte{})
}

func (e *Executor) isGone(l *lease) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return l.gone
}

// put stores results of a job in one object, pinned, and tries that several times.
func (e *Executor) put(id ledger.JobID, results []result.Result) (digest [32]byte, size int64, err error) {
	for try := 1; ; try++ {
		bundle := result.Bundle(results)
		h, size, err := e.store(id, bundle)
		err = errors.Join(err, bundle.Close())
		if err == nil {
			e.metrics.bundles.Inc()
			return h, size, nil
		}
		if try >= e.config.PutAttempts || e.ctx.Err() != nil {
			return [32]byte{}, 0, fmt.Errorf("store results: %w", err)
		}
		e.pause(e.ctx, try)
	}
}

// store stores an object with results here and on another node: a small one on both
// at the same time. It returns its size, too.
func (e *Executor) store(id ledger.JobID, bundle io.Reader) (content.Hash, int64, error) {
	owner, copies := result.Owner(id), e.config.Copies
	if copies == nil {
		return e.config.Objects.Put(e.ctx, bundle, owner)
	}
	head, err := io.ReadAll(io.LimitReader(bundle, int64(e.config.SmallBytesMax)+1))
	if err != nil {
		return content.Hash{}, 0, err
	}
	if len(head) > e.config.SmallBytesMax {
		h, size, err := e.config.Objects.Put(e.ctx, io.MultiReader(bytes.NewReader(head), bundle), owner)
		if err == nil {
			copies.Result(e.ctx, id, h, size, nil)
		}
		return h, size, err
	}
	var copying sync.WaitGroup
	copying.Go(func() { copies.Result(e.ctx, id, content.Sum(head), int64(len(head)), head) })
	h, size, err := e.config.Objects.Put(e.ctx, bytes.NewReader(head), owner)
	copying.Wait()
	return h, size, err
}

// pause waits after the given number of failures, a random part of a time that
// doubles with each.
func (e *Executor) pause(ctx context.Context, failures int) {
	timer := time.NewTimer(e.backoff(failures))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
