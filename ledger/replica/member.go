package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/hashicorp/raft"
)

// Found begins a new grid with this member as its only voter. It returns when
// the grid takes commands, and ErrMember when the member was in a grid before.
func (r *Replica) Found(ctx context.Context) error {
	log := r.config.RaftLog
	if has, err := raft.HasExistingState(log, log, r.engine.snapshots); err != nil {
		return fmt.Errorf("found grid: %w", err)
	} else if has || r.book.view().lineage != "" {
		return fmt.Errorf("found grid: %w", ErrMember)
	}
	self := raft.Server{ID: raft.ServerID(r.config.ID), Address: raft.ServerAddress(r.config.Address)}
	if err := r.engine.found(raft.Configuration{Servers: []raft.Server{self}}); err != nil {
		return fmt.Errorf("found grid: %w", err)
	}
	return r.awaitMembership(ctx)
}

// Join enters a grid of which members at some of the addresses are. It returns
// when this member's copy of the state knows it as a member, and ErrMember when
// it was in a grid before: then Open was enough.
func (r *Replica) Join(ctx context.Context, addresses []string) error {
	if r.book.view().lineage != "" {
		return fmt.Errorf("join grid: %w", ErrMember)
	}
	r.mu.Lock()
	r.seeds = append([]string(nil), addresses...)
	r.mu.Unlock()
	r.changed.signal()
	return r.awaitMembership(ctx)
}

// awaitMembership returns when the member finds itself in its own state.
func (r *Replica) awaitMembership(ctx context.Context) error {
	for {
		changed := r.changed.wait()
		_, more := r.history.state()
		if m, ok := r.book.view().members[r.config.ID]; ok && m.Address == r.config.Address {
			return nil
		}
		if err := r.unusable(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-more:
		case <-r.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			err := fmt.Errorf("become a member: %w", context.Cause(ctx))
			if last := r.lastFollowError.Load(); last != nil {
				err = errors.Join(err, *last)
			}
			return err
		}
	}
}

func (r *Replica) seedList() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seeds
}

// Leave ends the membership: the grid forgets this member, which has no vote any
// more when Leave returns. Close it then; it cannot come back without a new
// store. The only voter gives its vote to another member first; the last member
// cannot leave.
func (r *Replica) Leave(ctx context.Context) error {
	r.leaving.Store(true)
	if err := r.Evict(ctx, r.config.ID); err != nil {
		r.leaving.Store(false)
		return fmt.Errorf("leave grid: %w", err)
	}
	return nil
}

// Evict ends the membership of another member, which need not answer.
func (r *Replica) Evict(ctx context.Context, id string) error {
	err := r.atLeader(ctx, func(address string) (bool, error) {
		if address == "" {
			return false, r.removeServer(ctx, id)
		}
		_, _, err := r.callers.call(ctx, address, callRemove, []byte(id))
		return false, err
	})
	if err != nil {
		return fmt.Errorf("take vote from %q: %w", id, err)
	}
	if err := r.proposeMember(ctx, memberCommand{kind: memberDelete, id: id}); err != nil {
		return fmt.Errorf("forget member %q: %w", id, err)
	}
	return nil
}

// errLastVoter is returned for the only voter.
var errLastVoter = fmt.Errorf("member is the only voter: %w", ErrNotMember)

// removeServer takes id out of Raft's configuration, at the leader. A leader
// does not remove itself: it hands over and says that it leads no longer.
func (r *Replica) removeServer(ctx context.Context, id string) error {
	instance := r.engine.get()
	if instance == nil || instance.State() != raft.Leader {
		return errNotLeader
	}
	servers, _ := r.engine.configuration()
	found := slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	switch {
	case !found:
		return nil
	case id != r.config.ID:
		return raftError(instance.await(instance.RemoveServer(raft.ServerID(id), 0, r.config.RPCTimeout)))
	case countVoters(servers) == 1:
		if !r.leaving.Load() {
			return errLastVoter
		}
		if err := r.handOver(ctx, instance); err != nil {
			return err
		}
	}
	if err := instance.await(instance.LeadershipTransfer()); err != nil {
		r.log.Info("leadership could not be handed over", "err", err)
	}
	return errNotLeader
}

// Resign hands leadership to another voter, for a member that is about to be
// closed: the others need not miss it first. It returns nil when this member does
// not lead, and when nobody else has a vote.
func (r *Replica) Resign() error {
	instance := r.engine.get()
	if instance == nil || instance.State() != raft.Leader {
		return nil
	}
	if servers, _ := r.engine.configuration(); countVoters(servers) < 2 {
		return nil
	}
	if err := instance.await(instance.LeadershipTransfer()); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		return fmt.Errorf("hand over leadership: %w", err)
	}
	return nil
}

// handOver gives another member a vote, because the only voter leaves.
func (r *Replica) handOver(ctx context.Context, i *instance) error {
	view := r.book.view()
	for id, m := range view.members {
		if id == r.config.ID || m.NeverVote {
			continue
		}
		server, address := raft.ServerID(id), raft.ServerAddress(m.Address)
		if err := i.await(i.AddNonvoter(server, address, 0, r.config.RPCTimeout)); err != nil {
			return raftError(err)
		}
		for ctx.Err() == nil {
			s, err := r.askStatus(ctx, m.Address)
			if err == nil && s.logIndex+caughtUpEntries >= i.LastIndex() {
				return raftError(i.await(i.AddVoter(server, address, 0, r.config.RPCTimeout)))
			}
			if err != nil || !r.pause(backoff(0, r.config.HeartbeatTimeout)) {
				break
			}
		}
		if err := i.await(i.RemoveServer(server, 0, r.config.RPCTimeout)); err != nil {
			return raftError(err)
		}
	}
	return errLastVoter
}

// raftError says in the replica's terms why a change did not happen.
func raftError(err error) error {
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return fmt.Errorf("%w: %w", errNotLeader, err)
	}
	return err
}

// Members returns the members that this copy of the state knows, by id.
func (r *Replica) Members() []Member {
	view := r.book.view()
	list := make([]Member, 0, len(view.members))
	for _, m := range view.members {
		list = append(list, m)
	}
	sort.Slice(list, func(i, k int) bool { return list[i].ID < list[k].ID })
	return list
}

// Status is what a member knows of its own place.
type Status struct {
	// Leader is the leader's id, "" when none is known.
	Leader string
	// Leads tells that this member is the leader; Voter that it is in the
	// quorum.
	Leads, Voter bool
	// Term is Raft's term here; it grows with every election.
	Term uint64
	// Applied is the state's index.
	Applied uint64
	// Parent is the member that this one streams from; Depth is 0 for Raft's
	// members and one more than the parent's for others. Attached tells that
	// changes come in at present.
	Parent   string
	Depth    int
	Attached bool
	// Stalled says why nothing can be written at present; it wraps ErrNoRoom.
	Stalled error
	// Children is the number of members that stream from this one.
	Children int
}

// Status returns this member's place.
func (r *Replica) Status() Status {
	r.refreshTree()
	s := Status{Applied: r.Applied(), Leads: r.engine.leads(), Stalled: r.stall.cause()}
	s.Leader, _ = r.leader()
	if instance := r.engine.get(); instance != nil {
		s.Term = instance.CurrentTerm()
	}
	server, in := r.book.view().server(r.config.ID)
	s.Voter = in && server.Suffrage == raft.Voter
	s.Depth, s.Children, s.Parent, s.Attached = r.tree.place()
	return s
}

// Changed returns a channel that is closed when Status may have another answer:
// when a leader was found or lost, above all. Ask for it before Status.
func (r *Replica) Changed() <-chan struct{} { return r.changed.wait() }

// mind looks after the membership: it announces this member's address, and makes
// it a plain follower when Raft no longer counts on it.
func (r *Replica) mind(ctx context.Context) {
	tick := time.NewTicker(r.config.HealInterval)
	defer tick.Stop()
	for {
		changed := r.changed.wait()
		r.announce(ctx)
		r.engine.ensure()
		r.resetIfRemoved()
		r.callers.expire(10 * r.config.HealInterval)
		r.metrics.place(r.Status())
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce enters this member, or its new address, into the state. It is done
// once for a member that was evicted meanwhile.
func (r *Replica) announce(ctx context.Context) {
	view := r.book.view()
	m, known := view.members[r.config.ID]
	switch {
	case view.lineage == "" || r.leaving.Load() || r.unusable() != nil:
		return
	case known && m.Address == r.config.Address && m.NeverVote == r.config.NeverVote:
		r.announced.Store(&view.lineage)
		return
	case !known && r.announced.Load() != nil && *r.announced.Load() == view.lineage:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.HealInterval)
	defer cancel()
	put := memberCommand{kind: memberPut, id: r.config.ID, address: r.config.Address}
	if r.config.NeverVote {
		put.flags = flagNeverVote
	}
	if err := r.proposeMember(ctx, put); err != nil {
		r.log.Debug("announcing this member did not work", "err", err)
		return
	}
	r.changed.signal()
}

// resetIfRemoved drops Raft's log when the state says that this member was
// removed after the configuration that its own Raft knows.
func (r *Replica) resetIfRemoved() {
	if !r.removed() {
		return
	}
	r.log.Info("this member votes no longer and follows")
	if err := r.engine.reset(r.removed); err != nil {
		r.log.Error("leaving the quorum did not work", "err", err)
	}
	r.changed.signal()
}

func (r *Replica) removed() bool {
	view := r.book.view()
	servers, index := r.engine.configuration()
	id, _ := r.engine.leader()
	in := false
	for _, s := range servers {
		in = in || string(s.ID) == r.config.ID
	}
	_, counted := view.server(r.config.ID)
	return in && !counted && id == "" && view.serversIndex > index && !r.engine.leads() && r.unusable() == nil
}
