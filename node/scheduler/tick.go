package scheduler

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// ticks knows when the ledger's next timer is due.
type ticks struct {
	// at is not after the first timer; set says that there is one.
	at  ledger.Time
	set bool
	// flying says that a Tick is under way; after is when the next may be.
	flying bool
	after  time.Time
	// more says that the last one has left something due.
	more bool
}

// read looks the first timer up. That steps over timers that are gone and not
// compacted yet, so it is done when one seems due and not at each change.
func (t *ticks) read(tx ledger.Tx) (err error) {
	t.at, t.set, err = ledger.NextTick(tx)
	return err
}

// hear takes a timer into account that was set. One that was deleted shows when
// it seems due.
func (t *ticks) hear(key []byte) {
	if at, ok := ledger.TimerTime(key); ok && (!t.set || at < t.at) {
		t.at, t.set = at, true
	}
}

// tickAt returns when to look at the timers, zero for not at all.
func (l *lead) tickAt(now time.Time) time.Time {
	t := &l.ticks
	if !t.set || t.flying {
		return time.Time{}
	}
	at := l.local(t.at, now)
	if !t.more && at.Before(t.after) {
		at = t.after
	}
	if settled := l.began.Add(l.config.SettleWait); at.Before(settled) {
		at = settled
	}
	return at
}

// tick proposes a Tick when a timer is due. A new leader waits: leases may have
// run out while there was none, and their nodes shall renew them first.
func (l *lead) tick(now time.Time) {
	at := l.tickAt(now)
	if at.IsZero() || now.Before(at) {
		return
	}
	if _, err := l.config.Ledger.View(l.ticks.read); err != nil {
		l.log.Warn("timers cannot be read", "err", err)
		l.ticks.after, l.ticks.more = now.Add(l.config.RetryMax), false
		return
	}
	if !l.ticks.set || l.ticks.at > l.stamp(now) {
		return
	}
	l.ticks.flying = true
	l.metrics.ticks.Inc()
	l.propose([][]ledger.Command{{&ledger.Tick{}}}, func(answers [][]answer) {
		a := answers[0][0]
		l.ticks.flying, l.ticks.more = false, a.err == nil && a.result.More
		l.ticks.after = time.Now().Add(l.config.TickInterval)
		if a.err != nil {
			l.ticks.after = time.Now().Add(l.config.RetryMax)
		}
	})
}
