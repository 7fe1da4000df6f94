package replica

import (
	"context"
	"errors"
	"io"
	"sort"
	"syscall"
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
		err := r.knock(ctx, address)
		if err == nil {
			return
		}
		if errors.Is(err, errDying) {
			if !r.pause(r.config.HeartbeatTimeout / 64) {
				return
			}
			continue
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
		// Another voter may have asked at the same moment and deposed the one that
		// was elected, without a chance of its own: then look once more.
		if !r.pause(r.config.HeartbeatTimeout/4 + r.turn(leader)) {
			return
		}
	}
}

// errDying is returned by knock when a connection was made and ended without an
// answer: the system takes a killed process's connections and its listener away
// one by one, so that the listener can outlive the connection that was lost.
var errDying = errors.New("process took the connection and did not answer")

// knock returns nil when a process at address answers, or is merely slow, errDying,
// or why no connection could be made.
func (r *Replica) knock(ctx context.Context, address string) error {
	c, err := r.config.Dial(ctx, address)
	if err != nil {
		return err
	}
	c.Close()
	k, err := r.dial(ctx, address, protocolCall)
	if err == nil {
		_ = k.Close()
		return nil
	}
	if ctx.Err() == nil && connectionEnded(err) {
		return errDying
	}
	return nil
}

// connectionEnded reports whether err says that the other side is gone, rather
// than that it is slow or refuses.
func connectionEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
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
