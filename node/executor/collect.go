package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/shelf"
	"github.com/dugnad/dugnad/p2p/content"
)

// collectionsMax bounds the collections of which the object is remembered.
const collectionsMax = 1024

// collection names what the tasks of a job have put out, one after another. It
// stays as it is: the job has succeeded.
type collection struct {
	job    ledger.JobID
	stream jobspec.Stream
}

// collections remembers the objects of collections, so that a further lease finds
// them as long as they are on this node.
type collections struct {
	mu      sync.Mutex
	objects map[collection]content.Hash
}

func (c *collections) get(key collection) (h content.Hash, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok = c.objects[key]
	return h, ok
}

func (c *collections) put(key collection, h content.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects == nil || len(c.objects) >= collectionsMax {
		c.objects = map[collection]content.Hash{}
	}
	c.objects[key] = h
}

// resolve returns the object of a source. What a job has put out is made one,
// which all tasks of j share and which stays open with it.
func (j *job) resolve(ctx context.Context, s *jobspec.Source) (content.Hash, error) {
	if s.Job == (ledger.JobID{}) {
		return s.Object, nil
	}
	objects, key := j.e.config.Objects, collection{s.Job, s.Stream}
	h, ok := j.e.collections.get(key)
	if ok {
		o, err := objects.Open(h, false)
		if err == nil {
			j.opened = append(j.opened, o)
			return h, nil
		}
	}
	h, err := j.collectOften(ctx, key)
	if err != nil {
		return h, err
	}
	o, err := objects.Open(h, false)
	if err != nil {
		return h, fmt.Errorf("open what job %s has put out: %w", s.Job, err)
	}
	j.opened = append(j.opened, o)
	j.e.collections.put(key, h)
	return h, nil
}

// collectOften makes an object of a collection, and tries again when a part of it
// could not be had.
func (j *job) collectOften(ctx context.Context, key collection) (content.Hash, error) {
	count, err := j.readable(key)
	if err != nil {
		return content.Hash{}, err
	}
	for try := 1; ; try++ {
		h, err := j.collect(ctx, key, count)
		switch {
		case err == nil:
			return h, nil
		case ctx.Err() != nil:
			return h, context.Cause(ctx)
		case errors.Is(err, ErrJobInput):
			j.e.metrics.limit("job_input_bytes")
			return h, fmt.Errorf("%w: %w", ErrInput, err)
		case !errors.Is(err, ErrUnread) || try >= j.e.config.FetchAttempts:
			return h, err
		}
		j.e.metrics.commands.WithLabelValues("collect").Inc()
		j.e.pause(ctx, try)
	}
}

// readable returns how many tasks the job has, or ErrInput when j may not read
// what they have put out. The job of another tenant is as unknown as one that
// was forgotten.
func (j *job) readable(key collection) (count uint32, err error) {
	var from ledger.Job
	_, err = j.e.config.Ledger.View(func(tx ledger.Tx) (err error) {
		from, err = ledger.FindJob(tx, key.job)
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrNotFound), err == nil && (from.Tenant != j.spec.Tenant || from.Pruning):
		return 0, fmt.Errorf("%w: job %s is not known: finished jobs are pruned after a week", ErrInput, key.job)
	case err != nil:
		return 0, fmt.Errorf("look up job %s: %w", key.job, err)
	case from.State != ledger.JobSucceeded:
		return 0, fmt.Errorf("%w: job %s has not succeeded: it is %s", ErrInput, key.job, from.State)
	}
	return from.Count, nil
}

// errStored ends the reading of a collection that is not stored any more.
var errStored = errors.New("collection is not stored any more")

// collect makes an object of what the tasks of a job have put out. ErrUnread is
// that of the others, any other error but ErrJobInput this node's.
func (j *job) collect(ctx context.Context, key collection, count uint32) (content.Hash, error) {
	c := &j.e.config
	r, w := io.Pipe()
	var reading error
	var reader sync.WaitGroup
	reader.Go(func() {
		config := shelf.Config{Ledger: c.Ledger, Objects: c.Objects, Holders: c.Holders, Wait: shelf.DefaultWait, FetchTimeout: c.FetchTimeout}
		reading = shelf.Copy(ctx, config, &bounded{w: w, left: c.JobInputBytesMax, max: c.JobInputBytesMax}, key.job, shelf.Stream(key.stream), 0, count)
		_ = w.CloseWithError(reading) // it always returns nil
	})
	h, _, storing := c.Objects.Put(ctx, r, "")
	_ = r.CloseWithError(errStored) // it always returns nil
	reader.Wait()
	switch {
	case errors.Is(reading, ErrJobInput):
		return h, fmt.Errorf("job %s: %w", key.job, reading)
	case reading != nil && !errors.Is(reading, errStored):
		return h, fmt.Errorf("%w: job %s: %w", ErrUnread, key.job, reading)
	case errors.Is(storing, content.ErrFull), errors.Is(storing, content.ErrDiskFull), errors.Is(storing, content.ErrTooLarge):
		return h, fmt.Errorf("%w: %w", ErrInputBytes, storing)
	case storing != nil:
		return h, fmt.Errorf("store what job %s has put out: %w", key.job, storing)
	}
	return h, nil
}

// bounded is a writer that returns ErrJobInput for more than it may take.
type bounded struct {
	w         io.Writer
	left, max int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrJobInput, b.max)
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	return n, err
}
