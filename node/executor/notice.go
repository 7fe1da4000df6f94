package executor

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// giveWay makes room for a job of a higher band: what has not begun goes back at once,
// the guests of what runs are told, and when the notice is over that is cut short and
// goes back as well. The caller holds e.mu.
func (l *lease) giveWay(is *ledger.Held) {
	e := l.e
	l.noticed = true
	e.metrics.notices.Inc()
	// This machine's clock may be far from the leader's.
	left := min(max(time.Unix(0, int64(is.Notice)).Sub(e.config.Now()), 0), time.Duration(ledger.NoticeNanos))
	e.log.Info("lease has to give way to a higher band", "job", l.job.id, "epoch", l.epoch, "band", is.For, "within", left)
	l.handBack(false, ledger.CausePreempted)
	l.warn()
	e.work.Go(func() {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
			l.cancel(errHandedBack)
		case <-l.ctx.Done():
		}
	})
}
