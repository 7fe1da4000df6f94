package executor

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
)

// doubtsMax bounds the results of which it is not known whether the ledger counts
// them. Those beyond stay pinned.
const doubtsMax = 4096

// doubt is a result whose run the ledger did not take: because it had it already,
// then the result is needed, or because it will never have it.
type doubt struct {
	job    ledger.JobID
	epoch  ledger.Epoch
	first  uint32
	digest [32]byte
	// index is that of the answer: the state from there on knows.
	index uint64
}

// doubt keeps a result in mind. The caller holds e.mu.
func (e *Executor) doubt(d doubt) {
	if len(e.doubts) >= doubtsMax {
		e.metrics.limit("doubts")
		return
	}
	e.doubts = append(e.doubts, d)
	notify(e.changed)
}

// due returns the doubts that the state at index can resolve. The caller holds
// e.mu.
func (e *Executor) due(index uint64) (list []doubt) {
	for _, d := range e.doubts {
		if d.index <= index {
			list = append(list, d)
		}
	}
	return list
}

// resolve unpins the results that the ledger does not know.
func (e *Executor) resolve(list []doubt) {
	for _, d := range list {
		known := false
		_, err := e.config.Ledger.View(func(tx ledger.Tx) error {
			outputs, err := ledger.Outputs(tx, d.job, d.first, outputsPage)
			for i := range outputs {
				known = known || outputs[i].Epoch == d.epoch && outputs[i].Digest == d.digest
			}
			return err
		})
		if err == nil && !known {
			err = e.config.Objects.Unpin(d.digest, result.Owner(d.job))
		}
		if err != nil {
			e.log.Debug("result stays pinned", "err", err)
		}
	}
	if len(list) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doubts = slices.DeleteFunc(e.doubts, func(d doubt) bool { return slices.Contains(list, d) })
}

// outputsPage is how many outputs of a task and those behind it are looked at:
// there is one of each attempt that had a result.
const outputsPage = ledger.AttemptsMax
