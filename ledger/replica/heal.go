package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	randv2 "math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// lead does a leader's duties until it is one no longer: it makes the term
// readable, names the grid's history, looks after the voters, and makes way for
// another when its store has no room.
//
// hashicorp/raft-autopilot does not fit: it ranks the servers that Raft's
// configuration has already and knows no upper bound, while here a few of many
// members outside Raft are chosen.
func (r *Replica) lead(i *instance, term uint64) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	i.watching.Go(func() {
		select {
		case <-i.ending:
			cancel()
		case <-ctx.Done():
		}
	})
	i.watching.Go(func() { r.makeWay(ctx, i, term) })
	if err := i.await(i.Barrier(0)); err != nil || i.CurrentTerm() != term {
		return
	}
	r.reader.readyTerm.Store(term)
	r.changed.signal()
	if r.book.view().lineage == "" {
		if err := r.proposeMember(ctx, memberCommand{kind: memberLineage, id: newLineage(1)}); err != nil {
			r.log.Warn("naming the grid did not work", "err", err)
		}
		r.changed.signal()
	}
	h := &healer{replica: r, instance: i, since: map[string]time.Time{}, silent: map[string]time.Time{}}
	timer := time.NewTimer(r.config.HealInterval)
	defer timer.Stop()
	for i.State() == raft.Leader && i.CurrentTerm() == term {
		select {
		case <-timer.C:
			wait := r.config.HealInterval
			if h.round(ctx) {
				wait /= healHurry
			}
			timer.Reset(wait)
		case <-ctx.Done():
			return
		}
	}
}

// healHurry is how much sooner the healer looks again after it has changed something:
// whoever was added is to vote as soon as its log is there.
const healHurry = 8

// makeWay hands leadership over when the store has no room and another voter has,
// until ctx ends.
func (r *Replica) makeWay(ctx context.Context, i *instance, term uint64) {
	tick := time.NewTicker(r.config.HealInterval)
	defer tick.Stop()
	for i.State() == raft.Leader && i.CurrentTerm() == term {
		select {
		case <-r.stall.beginning():
		case <-ctx.Done():
			return
		}
		if r.otherHasRoom(ctx) {
			err := i.await(i.LeadershipTransfer())
			r.log.Info("leadership is handed over, the store has no room", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// otherHasRoom reports whether another voter could lead.
func (r *Replica) otherHasRoom(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, r.config.RPCTimeout)
	defer cancel()
	view := r.book.view()
	servers, _ := r.engine.configuration()
	for _, s := range servers {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == r.config.ID {
			continue
		}
		if status, err := r.askStatus(ctx, view.address(id)); err == nil && status.logIndex > 0 {
			return true
		}
	}
	return false
}

// newLineage names a history of the grid: its age and 16 random bytes.
func newLineage(age uint64) string {
	b := binary.BigEndian.AppendUint64(nil, age)
	b = append(b, make([]byte, 16)...)
	rand.Read(b[8:])
	return string(b)
}

// healer chooses voters, one change at a time.
type healer struct {
	replica  *Replica
	instance *instance
	// since is when a member was first seen alive without a break, silent when
	// it was first missed.
	since, silent map[string]time.Time
}

// probesMax bounds the followers that are looked at in one round.
const probesMax = 8

// round looks at the voters and some followers and makes one change at most. It
// reports whether it has.
func (h *healer) round(ctx context.Context) bool {
	r := h.replica
	view := r.book.view()
	f := h.instance.GetConfiguration()
	if f.Error() != nil || r.leaving.Load() {
		return false
	}
	servers := f.Configuration().Servers
	seen := h.probe(ctx, view, servers)
	plan := planVoters(servers, view.members, r.config.ID, r.config.VotersMax, func(id string) health {
		if id == r.config.ID {
			return healthy
		}
		now := time.Now()
		switch s, alive := seen[id]; {
		case alive && now.Sub(h.since[id]) >= r.config.StableAfter && s.uptime >= r.config.StableAfter:
			if s.logIndex+caughtUpEntries >= h.instance.LastIndex() {
				return caughtUp
			}
			return healthy
		case alive:
			return unknown
		case !h.silent[id].IsZero() && now.Sub(h.silent[id]) >= r.config.DeadAfter:
			return dead
		}
		return unknown
	})
	if plan.action == keepVoters {
		return false
	}
	if err := h.carryOut(plan, view); err != nil {
		r.log.Info("voters could not be changed", "action", plan.action.String(), "id", plan.id, "err", err)
		return false
	}
	r.log.Info("voters were changed", "action", plan.action.String(), "id", plan.id)
	return true
}

// caughtUpEntries is how far a log may be behind when its member is made a voter.
const caughtUpEntries = 256

func (h *healer) carryOut(p voterPlan, view *bookView) error {
	id, timeout := raft.ServerID(p.id), h.replica.config.RPCTimeout
	switch p.action {
	case addServer:
		return h.instance.await(h.instance.AddNonvoter(id, raft.ServerAddress(view.address(p.id)), 0, timeout))
	case promoteServer:
		return h.instance.await(h.instance.AddVoter(id, raft.ServerAddress(view.address(p.id)), 0, timeout))
	default:
		return h.instance.await(h.instance.RemoveServer(id, 0, timeout))
	}
}

// probe asks Raft's members and a sample of the others how they are.
func (h *healer) probe(ctx context.Context, view *bookView, servers []raft.Server) map[string]status {
	r := h.replica
	ask := map[string]string{}
	for _, s := range servers {
		ask[string(s.ID)] = view.address(string(s.ID))
	}
	var others []string
	for id, m := range view.members {
		if _, is := ask[id]; !is && !m.NeverVote {
			others = append(others, id)
		}
	}
	randv2.Shuffle(len(others), func(i, k int) {
		// Those that were seen before come first: they become stable soonest.
		others[i], others[k] = others[k], others[i]
	})
	sampled := 0
	for _, known := range []bool{true, false} {
		for _, id := range others {
			if !h.since[id].IsZero() == known && sampled < probesMax {
				ask[id] = view.address(id)
				sampled++
			}
		}
	}
	delete(ask, r.config.ID)
	ctx, cancel := context.WithTimeout(ctx, min(r.config.RPCTimeout, r.config.HeartbeatTimeout))
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	seen := map[string]status{}
	for id, address := range ask {
		asking.Go(func() {
			s, err := r.askStatus(ctx, address)
			if err == nil && s.id == id {
				mu.Lock()
				seen[id] = s
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	for _, s := range servers {
		// A voter without a log has stopped, or has no room: it is of no more
		// use than one that is silent.
		if id := string(s.ID); s.Suffrage == raft.Voter && seen[id].logIndex == 0 {
			delete(seen, id)
		}
	}
	now := time.Now()
	for id := range ask {
		if _, alive := seen[id]; alive {
			delete(h.silent, id)
			if h.since[id].IsZero() {
				h.since[id] = now
			}
			continue
		}
		delete(h.since, id)
		if h.silent[id].IsZero() {
			h.silent[id] = now
		}
	}
	for id := range h.since {
		if _, is := view.members[id]; !is {
			delete(h.since, id)
		}
	}
	return seen
}

func (r *Replica) askStatus(ctx context.Context, address string) (status, error) {
	payload, _, err := r.callers.call(ctx, address, callStatus, nil)
	if err != nil {
		return status{}, fmt.Errorf("ask for status: %w", err)
	}
	return decodeStatus(payload)
}

// status is what a member says of itself when asked.
type status struct {
	id string
	// applied is the state's index, logIndex the last one in Raft's log: zero
	// when the member can write or apply nothing.
	applied, logIndex uint64
	uptime            time.Duration
}

func (r *Replica) status() status {
	s := status{id: r.config.ID, applied: r.Applied(), uptime: time.Since(r.opened)}
	if instance := r.engine.get(); instance != nil && r.cause() == nil && r.stall.cause() == nil {
		s.logIndex = instance.LastIndex()
	}
	return s
}

func (s status) encode() []byte {
	b := appendBytes(nil, s.id)
	b = binary.AppendUvarint(b, s.applied)
	b = binary.AppendUvarint(b, s.logIndex)
	return binary.AppendUvarint(b, uint64(s.uptime))
}

func decodeStatus(b []byte) (status, error) {
	d := decoder{rest: b}
	s := status{id: d.string(idBytesMax), applied: d.uvarint(), logIndex: d.uvarint(), uptime: time.Duration(d.uvarint())}
	return s, d.end()
}
