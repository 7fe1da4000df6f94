package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
)

// job is what the leases of a job on this node share: its objects. They stay
// open, and with that on disk, as long as there is such a lease.
type job struct {
	e       *Executor
	id      ledger.JobID
	spec    ledger.JobSpec
	program *jobspec.Program
	// slots is what a task takes of the node's.
	slots uint32
	// users counts the leases, guarded by Executor.mu; stop is called when the
	// last has left.
	users int
	stop  context.CancelFunc
	pace  pace
	// running are the series of tasks that run.
	running atomic.Int32
	// ended are the attempts that have ended, fuel what they have burnt, guarded by
	// Executor.mu.
	ended, fuel uint64
	// ready is closed when the objects are here, or err says why they are not.
	ready chan struct{}
	err   error

	module *content.Object
	// opened are all objects that are open, placed all inputs that are in the
	// input folder.
	opened []*content.Object
	placed []*placement
	stdin  *source
	// inputs are the same for all tasks, shares are not.
	inputs []task.Input
	shares []share
	// held are the secrets that its tasks have been given, guarded by Executor.mu.
	held map[ledger.SecretName]heldSecret
}

// share is an input of which each task gets its lines.
type share struct {
	name   string
	source *source
}

// joinJob returns the job of a new lease and, if it is to run, fetches what it
// needs. The caller holds e.mu.
func (e *Executor) joinJob(id ledger.JobID, spec ledger.JobSpec, program *jobspec.Program, run bool) *job {
	if j := e.jobs[id]; j != nil {
		j.users++
		return j
	}
	j := &job{e: e, id: id, spec: spec, program: program, slots: max(spec.Task.Slots, 1), users: 1, ready: make(chan struct{})}
	ctx, stop := context.WithCancel(e.ctx)
	j.stop = stop
	if run {
		e.jobs[id] = j
		e.work.Go(func() { j.main(ctx) })
	}
	return j
}

// leaveJob takes a lease's use of a job back. The caller holds e.mu.
func (e *Executor) leaveJob(j *job) {
	if j.users--; j.users > 0 {
		return
	}
	j.stop()
	if e.jobs[j.id] == j {
		delete(e.jobs, j.id)
	}
}

// main holds the job's objects until its last lease has left.
func (j *job) main(ctx context.Context) {
	began := time.Now()
	j.err = j.fetchAll(ctx)
	j.traceFetch(began)
	close(j.ready)
	<-ctx.Done()
	for _, o := range j.opened {
		_ = o.Close() // it was read only
	}
	for _, p := range j.placed {
		j.e.inputs.remove(p)
	}
}

func (j *job) fetchAll(ctx context.Context) error {
	var err error
	if j.module, err = j.fetch(ctx, content.Hash(j.spec.Module), 0); err != nil {
		return fmt.Errorf("fetch module: %w", err)
	}
	if s := j.program.Stdin; s != nil {
		h, err := j.resolve(ctx, s)
		if err == nil {
			j.stdin, err = j.source(ctx, h, s.Lines)
		}
		if err != nil {
			return fmt.Errorf("fetch stdin: %w", err)
		}
	}
	for _, in := range j.program.Inputs {
		if err := j.addInput(ctx, in); err != nil {
			return fmt.Errorf("fetch input %s: %w", in.Name, err)
		}
	}
	return nil
}

// addInput fetches an input and places it where guests can be given it.
func (j *job) addInput(ctx context.Context, in jobspec.Input) error {
	h, err := j.resolve(ctx, &in.Source)
	if err != nil {
		return err
	}
	if in.Lines {
		s, err := j.source(ctx, h, true)
		if err == nil {
			j.shares = append(j.shares, share{in.Name, s})
		}
		return err
	}
	dir, err := j.e.config.Sandbox.InputDir(string(j.spec.Tenant))
	if err != nil {
		return fmt.Errorf("find input folder: %w", err)
	}
	p, err := j.e.inputs.place(ctx, inputKey{dir: dir, hash: h, folder: in.Folder}, func() (*content.Object, error) {
		return j.fetchOnce(ctx, h, j.e.config.InputBytesMax)
	})
	if err != nil {
		return err
	}
	j.placed = append(j.placed, p)
	j.inputs = append(j.inputs, task.Input{Name: in.Name, Path: p.path})
	return nil
}

// source opens an object that tasks read from, whole or by lines.
func (j *job) source(ctx context.Context, h content.Hash, lines bool) (*source, error) {
	o, err := j.fetch(ctx, h, j.e.config.InputBytesMax)
	if err != nil {
		return nil, err
	}
	if err := o.Verify(); err != nil {
		return nil, err
	}
	if !lines {
		return &source{r: o, size: o.Size()}, nil
	}
	return indexLines(ctx, o, o.Size())
}

// fetch opens an object for as long as the job is here.
func (j *job) fetch(ctx context.Context, h content.Hash, most int64) (*content.Object, error) {
	o, err := j.fetchOnce(ctx, h, most)
	if err == nil {
		j.opened = append(j.opened, o)
	}
	return o, err
}

// fetchOnce opens an object, which is fetched when it is not here.
func (j *job) fetchOnce(ctx context.Context, h content.Hash, most int64) (*content.Object, error) {
	c := &j.e.config
	for try := 1; ; try++ {
		var holders []p2p.NodeID
		if c.Holders != nil {
			holders = c.Holders(h)
		}
		within, cancel := context.WithTimeout(ctx, c.FetchTimeout)
		o, err := c.Objects.Fetch(within, h, content.FetchOptions{Holders: holders, BytesMax: most})
		cancel()
		switch {
		case err == nil:
			return o, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, content.ErrTooLarge) && most > 0:
			return nil, fmt.Errorf("%w: %w", ErrInputBytes, err)
		case try >= c.FetchAttempts:
			return nil, err
		}
		j.e.metrics.commands.WithLabelValues("fetch").Inc()
		j.e.pause(ctx, try)
	}
}

// openModule gives the module's bytes, verified.
func (j *job) openModule() (io.ReadCloser, error) {
	if err := j.module.Verify(); err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(j.module, 0, j.module.Size())), nil
}

// given is what one task is given.
type given struct {
	stdin  io.Reader
	inputs []task.Input
	// files are its own, and go with it.
	files []string
	from  *inputs
}

// give returns what task index is given.
func (j *job) give(index uint32) (*given, error) {
	g := &given{inputs: j.inputs}
	if j.stdin != nil {
		r, err := j.stdin.share(j.spec.Count, index)
		if err != nil {
			return nil, fmt.Errorf("read stdin: %w", err)
		}
		g.stdin = r
	}
	if len(j.shares) == 0 {
		return g, nil
	}
	g.inputs, g.from = append([]task.Input(nil), j.inputs...), j.e.inputs
	dir, err := j.e.config.Sandbox.InputDir(string(j.spec.Tenant))
	for _, s := range j.shares {
		if err != nil {
			break
		}
		var name string
		if name, err = j.e.inputs.write(dir, s.source, j.spec.Count, index); err == nil {
			g.files = append(g.files, name)
			g.inputs = append(g.inputs, task.Input{Name: s.name, Path: name})
		}
	}
	if err != nil {
		g.close()
		return nil, fmt.Errorf("write input: %w", err)
	}
	return g, nil
}

// close removes the files.
func (g *given) close() {
	for _, name := range g.files {
		g.from.unwrite(name)
	}
}
