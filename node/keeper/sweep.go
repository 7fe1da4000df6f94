package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
)

// ownersPage bounds the jobs that are looked at in one view of the ledger.
const ownersPage = 64

// readTimeout bounds one try of a linearizable read.
const readTimeout = 30 * time.Second

// watch gives up the results of jobs as the ledger forgets these, until the keeper
// is closed. After a gap everything is swept.
func (k *Keeper) watch(from uint64) {
	prefix := ledger.JobPrefix()
	for failures := 0; ; {
		err := k.config.Ledger.Watch(k.ctx, prefix, from, func(index uint64, changes []replica.Change) error {
			from, failures = index, 0
			for _, c := range changes {
				if c.Deleted && len(c.Key) == len(prefix)+len(ledger.JobID{}) {
					k.forget(ledger.JobID(c.Key[len(prefix):]))
				}
			}
			return nil
		})
		if k.ctx.Err() != nil {
			return
		}
		failures++
		if index, viewed := k.config.Ledger.View(func(ledger.Tx) error { return nil }); errors.Is(err, replica.ErrTooOld) && viewed == nil {
			from = index
		}
		notify(k.swept)
		if !k.pause(k.backoff(failures)) {
			return
		}
	}
}

// forget drops what is pinned for a job that the ledger knows no more.
func (k *Keeper) forget(job ledger.JobID) {
	owner := result.Owner(job)
	k.free(owner, k.config.Objects.Owned(owner))
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.settled, owner)
}

// free drops pins of an owner.
func (k *Keeper) free(owner string, list []content.Hash) {
	if len(list) == 0 {
		return
	}
	n, err := k.config.Objects.Disown(owner, list)
	k.metrics.freed.Add(float64(n))
	if err != nil {
		k.log.Warn("objects stay pinned until the next sweep", "owner", owner, "objects", len(list), "err", err)
	}
}

// sweepAlways compares all pins with the ledger, at the start, now and then and
// when changes were missed, until the keeper is closed.
func (k *Keeper) sweepAlways() {
	ticker := time.NewTicker(k.config.SweepInterval)
	defer ticker.Stop()
	for failures := 0; ; {
		select {
		case <-k.swept:
		case <-ticker.C:
		case <-k.ctx.Done():
			return
		}
		err := k.sweep()
		if err == nil {
			failures = 0
			continue
		}
		if k.ctx.Err() != nil {
			return
		}
		if failures++; failures == 1 {
			k.log.Info("pins are compared with the ledger later", "err", err)
		}
		if !k.pause(k.backoff(failures)) {
			return
		}
		notify(k.swept)
	}
}

// sweep drops the pins that are for nothing: those of jobs that the ledger knows no
// more, those of jobs that have ended and that no output of theirs names, and
// modules that nobody needs. What is listed first was for something that the
// ledger knew by then: so it must be a state that is not older which says that it
// does not.
func (k *Keeper) sweep() error {
	pinned := map[string][]content.Hash{}
	owners := k.config.Objects.Owners(result.OwnerPrefix)
	for _, owner := range owners {
		pinned[owner] = k.config.Objects.Owned(owner)
	}
	modules := k.config.Objects.Owned(ModuleOwner)
	ctx, cancel := context.WithTimeout(k.ctx, readTimeout)
	defer cancel()
	if _, err := k.config.Ledger.Read(ctx, func(ledger.Tx) error { return nil }); err != nil {
		return err
	}
	for len(owners) > 0 {
		some := owners[:min(len(owners), ownersPage)]
		owners = owners[len(some):]
		for _, owner := range some {
			if err := k.sweepJob(owner, pinned[owner]); err != nil {
				return fmt.Errorf("look up what is pinned for %s: %w", owner, err)
			}
		}
	}
	for _, h := range modules {
		if err := k.sweepModule(h); err != nil {
			return fmt.Errorf("look up module %s: %w", h, err)
		}
	}
	return nil
}

func (k *Keeper) sweepJob(owner string, list []content.Hash) error {
	id, ok := result.OwnerJob(owner)
	k.mu.Lock()
	_, settled := k.settled[owner]
	k.mu.Unlock()
	j, err := k.findJob(id)
	switch {
	case !ok || errors.Is(err, ledger.ErrNotFound):
		k.free(owner, list)
		return nil
	case err != nil || !j.State.Final() || j.Pruning || settled:
		return err
	}
	named := map[content.Hash]bool{}
	if err := k.eachOutput(id, func(o *ledger.Output) { named[o.Digest] = true }); err != nil {
		return err
	}
	var orphans []content.Hash
	for _, h := range list {
		if !named[h] {
			orphans = append(orphans, h)
		}
	}
	k.mu.Lock()
	k.settled[owner] = struct{}{}
	k.mu.Unlock()
	k.free(owner, orphans)
	return nil
}

// sweepModule gives a module up that the ledger has forgotten, or that no job names
// and that was not used here for long. The last holder has the ledger forget it.
func (k *Keeper) sweepModule(h content.Hash) error {
	info, err := k.config.Objects.Stat(h)
	if errors.Is(err, content.ErrNotHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	idle := time.Since(info.Accessed)
	var m ledger.Module
	_, err = k.config.Ledger.View(func(tx ledger.Tx) (err error) {
		m, err = ledger.FindModule(tx, ledger.ModuleID(h))
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		if idle > k.config.ModuleGrace {
			k.free(ModuleOwner, []content.Hash{h})
		}
		return nil
	case err != nil || m.References > 0 || idle <= k.config.ModuleIdle:
		return err
	}
	var c ledger.Command = &ledger.DropHolder{Module: m.ID, Node: k.config.Self}
	if len(m.Holders) == 0 || len(m.Holders) == 1 && m.Holders[0] == k.config.Self {
		c = &ledger.DropModule{Module: m.ID}
	}
	ctx, cancel := context.WithTimeout(k.ctx, readTimeout)
	defer cancel()
	r, _, err := k.config.Ledger.Do(ctx, c)
	if err == nil && r.Code == ledger.CodeOK {
		k.free(ModuleOwner, []content.Hash{h})
	}
	return err
}
