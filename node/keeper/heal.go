package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// outputsPage bounds the outputs of a job that are read at once.
const outputsPage = 1024

// errLength is returned when a node answers another number of questions.
var errLength = errors.New("answer has the wrong length")

// doubtAll has everything that is pinned for jobs and modules checked for a copy.
func (k *Keeper) doubtAll() {
	for _, owner := range append(k.config.Objects.Owners(result.OwnerPrefix), ModuleOwner) {
		k.doubt(k.config.Objects.Owned(owner)...)
	}
}

// look notices when a node is lost, until the keeper is closed: then each object
// may have lost its copy. It also has it tried again what nobody could take.
func (k *Keeper) look() {
	var known map[ledger.NodeID]bool
	for {
		now, err := k.lost()
		if err != nil {
			k.log.Warn("nodes of the grid cannot be looked up", "err", err)
		} else {
			for id, lost := range known {
				if still, listed := now[id]; !lost && (!listed || still) {
					k.log.Info("node is lost: copies are made of what it held", "lost", id)
					k.doubtAll()
					break
				}
			}
			known = now
		}
		if !k.pause(k.config.LookInterval) {
			return
		}
	}
}

// lost says of each other node that the ledger lists whether it is lost.
func (k *Keeper) lost() (map[ledger.NodeID]bool, error) {
	out := map[ledger.NodeID]bool{}
	since := ledger.Time(time.Now().Add(-k.config.LostAfter).UnixNano())
	err := k.eachNode(func(n *ledger.Node) {
		if n.ID == k.config.Self {
			return
		}
		out[n.ID] = n.State == ledger.NodeGone || n.State == ledger.NodeUnreachable && n.Changed < since || !k.config.Usable(n.ID, 0)
	})
	return out, err
}

// heal makes the copies that are missing, until the keeper is closed: slowly, since
// nobody waits for them.
func (k *Keeper) heal() {
	for failures := 0; ; {
		select {
		case <-k.changed:
		case <-k.ctx.Done():
			return
		}
		if len(k.others()) == 0 {
			// Nobody can be asked: a node alone looks now and then.
			if !k.pause(k.config.LookInterval) {
				return
			}
			notify(k.changed)
			continue
		}
		if k.round() {
			failures = 0
			continue
		}
		failures++
		if !k.pause(k.backoff(failures)) {
			return
		}
		notify(k.changed)
	}
}

// round goes once over what lacks a copy, and reports whether nothing is left.
func (k *Keeper) round() bool {
	k.mu.Lock()
	list := make([]content.Hash, 0, len(k.alone))
	for h := range k.alone {
		list = append(list, h)
	}
	k.mu.Unlock()
	done := true
	for len(list) > 0 {
		page := list[:min(len(list), pageMax)]
		list = list[len(page):]
		left, err := k.page(page)
		if k.ctx.Err() != nil {
			return false
		}
		if err != nil {
			k.log.Warn("copies could not be made", "objects", len(left), "err", err)
		}
		k.sure(page, left)
		done = done && len(left) == 0
		if len(list) > 0 && !k.pause(k.config.PageInterval) {
			return false
		}
	}
	return done
}

// sure notes that all of a page but those left have a copy, or need none.
func (k *Keeper) sure(page, left []content.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range page {
		if !slices.Contains(left, h) {
			delete(k.alone, h)
		}
	}
	k.metrics.missing.Set(float64(len(k.alone)))
}

// patient is an object that may lack a copy.
type patient struct {
	question
	// ask are the nodes that may have it, in order.
	ask []ledger.NodeID
}

// page sees to it that the objects of a page have a copy, and returns those of
// which that is not certain, with the last error.
func (k *Keeper) page(page []content.Hash) (left []content.Hash, err error) {
	list, err := k.patients(page)
	if err != nil {
		return page, err
	}
	failed := map[content.Hash]bool{}
	for level := 0; ; level++ {
		asked := map[ledger.NodeID][]patient{}
		for _, p := range list {
			if level < len(p.ask) {
				asked[p.ask[level]] = append(asked[p.ask[level]], p)
			}
		}
		if len(asked) == 0 {
			break
		}
		for node, some := range asked {
			held, failure := k.question(k.ctx, node, some)
			if failure != nil {
				err = failure
			}
			list = slices.DeleteFunc(list, func(p patient) bool { return held[p.hash] })
			for _, p := range some {
				failed[p.hash] = failed[p.hash] || failure != nil
			}
		}
	}
	for _, p := range list {
		if !failed[p.hash] {
			failure := k.cure(&p)
			if failure == nil {
				continue
			}
			err = failure
		}
		left = append(left, p.hash)
	}
	return left, err
}

// patients finds out what the objects of a page are for, and who may have them.
func (k *Keeper) patients(page []content.Hash) ([]patient, error) {
	var list []patient
	jobs := map[ledger.JobID]map[content.Hash]ledger.NodeID{}
	for _, h := range page {
		for _, owner := range k.config.Objects.OwnersOf(h) {
			if job, ok := result.OwnerJob(owner); ok {
				list = append(list, patient{question: question{kindResult, job, h}})
				if jobs[job] == nil {
					jobs[job] = map[content.Hash]ledger.NodeID{}
				}
				jobs[job][h] = ""
			} else if owner == ModuleOwner {
				list = append(list, patient{question: question{kind: kindModule, hash: h}})
			}
		}
	}
	over := map[ledger.JobID]bool{}
	for job, of := range jobs {
		j, err := k.findJob(job)
		if errors.Is(err, ledger.ErrNotFound) {
			err = nil
		}
		over[job] = j.State.Final()
		err = errors.Join(err, k.eachOutput(job, func(o *ledger.Output) {
			if _, ok := of[o.Digest]; ok {
				of[o.Digest] = o.Node
			}
		}))
		if err != nil {
			return nil, err
		}
	}
	// What no output of a job names that has ended needs no copy: a sweep drops it.
	list = slices.DeleteFunc(list, func(p patient) bool { return over[p.job] && jobs[p.job][p.hash] == "" })
	others := k.others()
	for i := range list {
		p := &list[i]
		reporter := jobs[p.job][p.hash]
		if slices.ContainsFunc(others, func(s seat) bool { return s.node == reporter }) {
			p.ask = append(p.ask, reporter)
		}
		for _, id := range k.Holders(p.hash) {
			if node := ledger.NodeID(id); node != reporter {
				p.ask = append(p.ask, node)
			}
		}
	}
	return list, nil
}

func (k *Keeper) findJob(id ledger.JobID) (j ledger.Job, err error) {
	_, err = k.config.Ledger.View(func(tx ledger.Tx) (err error) {
		j, err = ledger.FindJob(tx, id)
		return err
	})
	return j, err
}

// eachOutput visits the outputs of a job.
func (k *Keeper) eachOutput(job ledger.JobID, visit func(o *ledger.Output)) error {
	_, err := k.config.Ledger.View(func(tx ledger.Tx) error {
		for from := uint32(0); ; {
			list, err := ledger.Outputs(tx, job, from, outputsPage)
			for i := range list {
				visit(&list[i])
			}
			if err != nil || len(list) < outputsPage {
				return err
			}
			// Outputs of several leases may begin with the same task: those of the
			// last one are visited again.
			next := list[len(list)-1].Tasks.First
			if next == from {
				next++
			}
			from = next
		}
	})
	return err
}

// question asks a node which of some objects it keeps.
func (k *Keeper) question(ctx context.Context, node ledger.NodeID, list []patient) (map[content.Hash]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.config.CallTimeout)
	defer cancel()
	questions := make([]question, len(list))
	for i := range list {
		questions[i] = list[i].question
	}
	held := map[content.Hash]bool{}
	for len(questions) > 0 {
		some := questions[:min(len(questions), pageMax)]
		questions = questions[len(some):]
		answer, err := k.config.Peers.Call(ctx, p2p.NodeID(node), holdMethod, encodeQuestions(some))
		if err == nil && len(answer) != len(some) {
			err = fmt.Errorf("%w: %d for %d objects", errLength, len(answer), len(some))
		}
		if err != nil {
			return held, fmt.Errorf("ask %s what it keeps: %w", node, err)
		}
		for i, a := range answer {
			if a == 1 {
				held[some[i].hash] = true
			}
		}
	}
	return held, nil
}

// cure makes the copy of an object that nobody else has, one of several owners of
// which may be gone meanwhile.
func (k *Keeper) cure(p *patient) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.config.FetchTimeout)
	defer cancel()
	info, err := k.config.Objects.Stat(p.hash)
	if errors.Is(err, content.ErrNotHeld) {
		// It was lost here, too: whoever has it after all gives it back.
		var o *content.Object
		if o, err = k.config.Objects.Fetch(ctx, p.hash, content.FetchOptions{Holders: k.Holders(p.hash)}); err == nil {
			info.Size = o.Size()
			err = o.Close()
		}
	}
	if err != nil {
		return err
	}
	node, err := k.give(ctx, &request{kind: p.kind, job: p.job, hash: p.hash, bytes: uint64(info.Size)})
	switch {
	case errors.Is(err, ErrUnknown):
		// The ledger has forgotten what it is for: the next sweep drops it.
		return nil
	case err == nil && p.kind == kindModule:
		_, _, err = k.config.Ledger.Do(ctx, &ledger.AddHolder{Module: ledger.ModuleID(p.hash), Node: node})
	}
	return err
}
