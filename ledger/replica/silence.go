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
	tick := time.NewTicker(silence / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		i := r.engine.get()
		id, address := r.leader()
		if i == nil || address == "" || id == r.config.ID || i.State() != raft.Follower {
			continue
		}
		if last := i.LastContact(); last.IsZero() || time.Since(last) < silence {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, silence)
		_, _, err := r.callers.call(asked, address, callTerm, nil)
		cancel()
		r.log.Debug("leader was silent, asked it", "leader", id, "err", err)
	}
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
