package executor

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// pulse tells the ledger of leases, until the executor stops: that they run, that
// they go on, that they are handed back.
func (e *Executor) pulse() {
	renewed, failures := time.Time{}, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-e.asked:
			continue
		case <-e.kicked:
			if failures > 0 {
				continue
			}
		case <-e.ctx.Done():
			return
		}
		now := time.Now()
		e.expireKept(now)
		ok := e.handBack() && e.begin(now)
		if now.Sub(renewed) >= e.config.RenewInterval {
			if e.renew() {
				renewed = now
			} else {
				ok = false
			}
		}
		if failures++; ok {
			failures = 0
			timer.Reset(e.beat())
		} else {
			timer.Reset(e.backoff(failures))
		}
	}
}

// beat is how long it takes until a lease may need something.
func (e *Executor) beat() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.doubts) > 0 {
		notify(e.changed)
	}
	if len(e.leases) == 0 {
		return e.config.RenewInterval
	}
	return min(e.config.BeginAfter, e.config.RenewInterval)
}

// tell proposes a command about leases and gives each answer to answer, under
// e.mu. It returns false when the command has to be proposed again.
func (e *Executor) tell(name string, c ledger.Command, epochs []ledger.Epoch, answer func(l *lease, epoch ledger.Epoch, code ledger.Code, index uint64)) bool {
	r, index, err := e.try(c)
	if err != nil {
		if e.ctx.Err() == nil {
			e.metrics.commands.WithLabelValues(name).Inc()
			e.log.Debug("ledger does not answer", "command", name, "err", err)
		}
		return false
	}
	if r.Code != ledger.CodeOK && r.Code != ledger.CodeNodeUnknown {
		e.log.Error("ledger refuses a command", "command", name, "code", r.Code, "what", r.What)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, epoch := range epochs {
		code := r.Code
		if r.Code == ledger.CodeOK && i < len(r.Items) {
			code = r.Items[i].Code
		}
		answer(e.leases[epoch], epoch, code, index)
	}
	return true
}

// heed does what the answer to Begin or Renew asks for.
func (e *Executor) heed(l *lease, _ ledger.Epoch, code ledger.Code, index uint64) {
	switch {
	case l == nil:
	case code == ledger.CodeStaleLease || code == ledger.CodeNodeUnknown:
		e.log.Info("lease is no longer held", "epoch", l.epoch, "job", l.job.id)
		l.drop(index, "stale")
	case code == ledger.CodeStopped:
		l.kill()
	}
}

// begin says of leases that are held for a while that they run, when they do: one
// that waits for what its tasks need, or for a slot, does not.
func (e *Executor) begin(now time.Time) bool {
	var epochs []ledger.Epoch
	e.mu.Lock()
	for epoch, l := range e.leases {
		if l.working && l.tried && !l.begun && l.back == nil && now.Sub(l.since) >= e.config.BeginAfter && len(epochs) < ledger.ItemsMax {
			epochs = append(epochs, epoch)
		}
	}
	e.mu.Unlock()
	if len(epochs) == 0 {
		return true
	}
	return e.tell("begin", &ledger.Begin{Node: e.config.Node, Epochs: epochs}, epochs,
		func(l *lease, epoch ledger.Epoch, code ledger.Code, index uint64) {
			if l != nil {
				l.begun = true
			}
			e.heed(l, epoch, code, index)
		})
}

// renew renews all leases that are held.
func (e *Executor) renew() bool {
	var epochs []ledger.Epoch
	e.mu.Lock()
	for epoch := range e.leases {
		epochs = append(epochs, epoch)
	}
	e.mu.Unlock()
	for len(epochs) > 0 {
		n := min(len(epochs), ledger.ItemsMax)
		expiry := ledger.Time(e.config.Now().Add(e.config.Lease).UnixNano())
		if !e.tell("renew", &ledger.Renew{Node: e.config.Node, Epochs: epochs[:n], Expiry: expiry}, epochs[:n], e.heed) {
			return false
		}
		epochs = epochs[n:]
	}
	return true
}

// handBack hands back the leases that are to be.
func (e *Executor) handBack() bool {
	for {
		e.mu.Lock()
		hands := e.hands
		e.hands = nil
		e.mu.Unlock()
		if len(hands) == 0 {
			return true
		}
		ways := map[way][]hand{}
		for _, h := range hands {
			way := way{h.refuse, !h.part.Empty(), h.cause}
			ways[way] = append(ways[way], h)
		}
		ok := true
		for way, hands := range ways {
			for len(hands) > 0 {
				n := min(len(hands), way.most())
				if !e.handBackSome(way, hands[:n]) {
					ok = false
				}
				hands = hands[n:]
			}
		}
		if !ok {
			return false
		}
	}
}

// way is what leases have in common that are handed back by one command.
type way struct {
	refuse, partly bool
	cause          ledger.Cause
}

// most returns how many leases go into one command.
func (w way) most() int {
	if w.partly {
		return ledger.PartsMax
	}
	return ledger.ItemsMax
}

// handBackSome hands back leases in the same way. Those of which the ledger was
// not told stay in hands.
func (e *Executor) handBackSome(way way, hands []hand) bool {
	var epochs []ledger.Epoch
	parts := map[ledger.Epoch]ledger.Range{}
	release := &ledger.Release{Node: e.config.Node, Cause: way.cause}
	for _, h := range hands {
		epochs = append(epochs, h.epoch)
		if way.partly {
			parts[h.epoch] = h.part
			release.Parts = append(release.Parts, h.part)
		}
	}
	release.Epochs = epochs
	name, how := "release", "released"
	var c ledger.Command = release
	if way.refuse {
		name, how, c = "refuse", "refused", &ledger.RefuseLease{Node: e.config.Node, Epochs: epochs, Cause: way.cause}
	}
	ok := e.tell(name, c, epochs, func(l *lease, epoch ledger.Epoch, code ledger.Code, index uint64) {
		switch {
		case way.partly && l == nil:
		case way.partly && (code == ledger.CodeOK || code == ledger.CodeSettled):
			l.index = max(l.index, index)
			l.parted(parts[epoch])
		case l != nil:
			l.drop(index, how)
		default:
			e.done[epoch] = index
		}
	})
	if !ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.hands = append(e.hands, hands...)
	}
	return ok
}
