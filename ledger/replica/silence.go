package replica

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// listen asks a leader that is silent how it is, until ctx ends. Whether it answers
// does not matter here: when its process is gone, what is sent to it comes back, the
// network drops its connections, and this voter suspects. Otherwise nothing
// would be sent there before the heartbeat timeout.
func (r *Replica) listen(ctx context.Context) {
	silence := r.config.HeartbeatTimeout / 4
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(r.askSilent(ctx, silence))
		case <-ctx.Done():
			return
		}
	}
}

// askSilent asks a leader that was silent for so long, and returns how long it takes
// until one can have been.
func (r *Replica) askSilent(ctx context.Context, silence time.Duration) time.Duration {
	i := r.engine.get()
	id, address := r.leader()
	if i == nil || address == "" || id == r.config.ID || i.State() != raft.Follower {
		return silence
	}
	last := i.LastContact()
	if last.IsZero() {
		return silence
	}
	if left := silence - time.Since(last); left > 0 {
		return left
	}
	asked, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	_, _, err := r.callers.call(asked, address, callTerm, nil)
	r.log.Debug("leader was silent, asked it", "leader", id, "err", err)
	return silence / 2
}

// noteLeader sends elsewhere what waits for an answer of a leader that is none any
// more: it may never come.
func (r *Replica) noteLeader() {
	_, address := r.leader()
	if address == "" {
		return
	}
	if was := r.followed.Swap(&address); was != nil && *was != address {
		r.callers.forsake(*was)
	}
}
