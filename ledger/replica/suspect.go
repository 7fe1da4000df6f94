package replica

import (
	"context"
	"sort"
	"time"

	"github.com/hashicorp/raft"
)

// suspect is called when a connection of Raft's from peer has ended. If that was
// the leader and its address refuses connections, its process is gone: then this
// voter asks for votes at once, instead of after the heartbeat timeout. A leader
// that is slow, or cannot be reached in time, is not suspected.
func (r *Replica) suspect(peer string) {
	i := r.engine.get()
	id, address := r.leader()
	if i == nil || id != peer || peer == r.config.ID || !r.probing.CompareAndSwap(false, true) {
		return
	}
	if !r.spawn(func() {
		defer r.probing.Store(false)
		r.investigate(i, peer, address)
	}) {
		r.probing.Store(false)
	}
}

// investigate looks a few times, because what the leader sent last may still be
// on its way through Raft.
func (r *Replica) investigate(i *instance, leader, address string) {
	const looks = 8
	ctx, cancel := context.WithTimeout(r.ctx, r.config.HeartbeatTimeout)
	defer cancel()
	for range looks {
		lost := time.Now()
		c, err := r.config.Dial(ctx, address)
		if err == nil {
			c.Close()
			return
		}
		if ctx.Err() != nil || !r.pause(r.turn(leader)) {
			return
		}
		if now, _ := r.engine.leader(); now != "" && now != leader || i.State() != raft.Follower {
			return // somebody leads, or this member asks for votes itself
		}
		if i.LastContact().After(lost) {
			continue
		}
		r.log.Info("leader's process is gone, asking for votes", "leader", leader, "err", err)
		r.engine.campaign(i)
		return
	}
}

// turn is how long this voter lets others go first, so that votes are not
// split: each voter has its own time, in the order of their ids.
func (r *Replica) turn(leader string) time.Duration {
	var before []string
	for _, s := range r.book.view().servers {
		if id := string(s.ID); s.Suffrage == raft.Voter && id != leader {
			before = append(before, id)
		}
	}
	sort.Strings(before)
	rank := sort.SearchStrings(before, r.config.ID)
	return time.Duration(rank)*r.config.HeartbeatTimeout/16 + time.Millisecond
}
