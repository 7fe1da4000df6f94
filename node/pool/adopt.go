package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// adopt returns the workers of a process that was killed.
func (p *Pool) adopt(ctx context.Context) ([]*worker.Adopted, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return worker.Adopt(ctx, worker.Config{
		OrphanDir: filepath.Join(p.config.Dir, workerFolder), Log: p.config.Log, Registerer: p.config.Registerer,
	})
}

// openInputs makes a new folder for what guests may read, and removes what no
// adopted worker may.
func (p *Pool) openInputs() error {
	all := filepath.Join(p.config.Dir, inputFolder)
	if err := os.MkdirAll(all, 0o700); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, a := range p.adopted {
		for _, dir := range a.ReadOnly() {
			used[dir], used[filepath.Dir(dir)] = true, true
		}
	}
	generations, err := filepath.Glob(filepath.Join(all, "*"))
	if err != nil {
		return err
	}
	for _, g := range generations {
		err = errors.Join(err, removeUnused(g, used))
	}
	if err != nil {
		return fmt.Errorf("remove inputs: %w", err)
	}
	p.inputs, err = os.MkdirTemp(all, "")
	return err
}

// removeUnused removes the inputs of an earlier process, but for the tenants' whose
// worker is used.
func removeUnused(generation string, used map[string]bool) (err error) {
	if !used[generation] {
		return os.RemoveAll(generation)
	}
	tenants, err := filepath.Glob(filepath.Join(generation, "*"))
	for _, dir := range tenants {
		if !used[dir] {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// firstAdopted returns the first of some tasks that an adopted worker runs, or nil.
func (p *Pool) firstAdopted(tenant string, tasks []worker.Task) (int, *worker.Adopted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range slices.Clone(p.adopted) {
		p.releaseLocked(a)
	}
	if len(p.adopted) == 0 {
		return 0, nil
	}
	for i := range tasks {
		for _, a := range p.adopted {
			if a.Label() == tenant && slices.Contains(a.Keys(), tasks[i].Key) {
				return i, a
			}
		}
	}
	return 0, nil
}

// runAdopted waits for a task of an adopted worker; false is that it is not there.
func (p *Pool) runAdopted(ctx context.Context, a *worker.Adopted, t worker.Task) (task.Outcome, bool) {
	o, ok := a.Run(ctx, t)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(a)
	return o, ok
}

// releaseLocked ends an adopted worker that has nothing more to do, or is lost: then
// its tasks begin again.
func (p *Pool) releaseLocked(a *worker.Adopted) {
	lost := false
	select {
	case <-a.Gone():
		lost = true
	default:
	}
	if i := slices.Index(p.adopted, a); i >= 0 && (lost || a.Done()) {
		p.adopted = slices.Delete(p.adopted, i, i+1)
		p.ending.Go(func() { p.closeOne(a) })
	}
}

// closeOne ends an adopted worker, and removes what only its guests read.
func (p *Pool) closeOne(a *worker.Adopted) {
	err := a.Close()
	for _, dir := range a.ReadOnly() {
		err = errors.Join(err, os.RemoveAll(dir))
		_ = os.Remove(filepath.Dir(dir)) // others may have theirs there
	}
	if err != nil {
		p.log.Warn("adopted worker did not end well", "tenant", a.Label(), "err", err)
	}
}

// closeAdopted ends all adopted workers.
func (p *Pool) closeAdopted() {
	p.mu.Lock()
	all := p.adopted
	p.adopted = nil
	p.mu.Unlock()
	for _, a := range all {
		p.closeOne(a)
	}
}

// Kept returns the keys of the tasks that an earlier process has begun and that
// nobody has asked for with RunSeries.
func (p *Pool) Kept() (keys []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.adopted {
		keys = append(keys, a.Keys()...)
	}
	return keys
}

// Discard ends one of them.
func (p *Pool) Discard(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range slices.Clone(p.adopted) {
		a.Discard(key)
		p.releaseLocked(a)
	}
}
