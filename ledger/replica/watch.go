package replica

import (
	"bytes"
	"context"
)

// Watch calls visit with the changes to keys with prefix, in the order of the
// log, beginning behind index from, until visit returns an error, which Watch
// returns, ctx ends, or the replica closes. visit gets all such changes of a log
// entry, or of several, at once, and the index up to which they go: from there
// another Watch, here or at another member, continues. Indices without such
// changes are reported now and then with no changes.
//
// It fails with ErrTooOld when the changes are no longer kept. Then View first,
// and watch from the index that it returns.
func (r *Replica) Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []Change) error) error {
	at := r.history.cursor(from)
	for {
		records, more, err := r.history.next(&at, streamFrameBytes)
		if err != nil {
			r.metrics.limits.WithLabelValues("history").Inc()
			return err
		}
		if len(records) > 0 {
			var changes []Change
			for _, rec := range records {
				rec.each(func(c Change) bool {
					if bytes.HasPrefix(c.Key, prefix) && !isReserved(c.Key) {
						changes = append(changes, c)
					}
					return true
				})
			}
			if err := visit(at.index, changes); err != nil {
				return err
			}
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ctx.Done():
			return ErrClosed
		}
	}
}
