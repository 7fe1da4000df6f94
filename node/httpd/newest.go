package httpd

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

const (
	// newestRead is how many jobs are looked at together, at least, and
	// newestScanMax bounds those that one request for a page looks at.
	newestRead    = 128
	newestScanMax = 2048
	// newestSpread is how many times more jobs than are wanted may be read.
	newestSpread = 4
	// newestAhead is how far beyond this node's clock ids may begin, and newestStep
	// how far back is looked first.
	newestAhead = time.Minute
	newestStep  = time.Second
)

// listNewest adds the jobs before one to a page, the latest first.
func listNewest(tx ledger.Tx, a *asker, before ledger.JobID, limit int, wanted *wanted, out *api.Jobs) error {
	for looked := 0; looked < newestScanMax; {
		want := max(limit-len(out.Jobs), newestRead)
		list, err := newest(tx, a.Tenant, before, want)
		if err != nil {
			return err
		}
		for i := range slices.Backward(list) {
			before = list[i].ID
			looked++
			if full, err := a.addJob(tx, &list[i], wanted, limit, out); err != nil || full {
				return err
			}
		}
		if len(list) < want {
			return nil
		}
	}
	out.Next = before.String()
	return nil
}

// newest returns up to limit jobs before one, or the last there are, in ascending
// order of id. The ledger lists forwards only, and ids begin with the time of
// submission: further and further back is looked, until there are enough jobs, and
// less far when there are far too many.
func newest(tx ledger.Tx, tenant ledger.TenantID, before ledger.JobID, limit int) ([]ledger.Job, error) {
	top, err := newestTop(tx, tenant, before, limit)
	if err != nil {
		return nil, err
	}
	// From few on there are too few jobs, from many on too many when searching.
	few, many, searching := top, uint64(0), false
	step := beginning(newestStep.Milliseconds())
	for {
		start := top - min(top, step)
		if searching {
			start = many + (few-many)/2
		}
		list, err := jobsBetween(tx, tenant, behind(start), before, newestSpread*limit+1)
		switch {
		case err != nil:
			return nil, err
		case len(list) > newestSpread*limit && few-start > 1:
			many, searching = start, true
		case len(list) > newestSpread*limit:
			return lastBetween(tx, tenant, behind(start), before, limit)
		case len(list) < limit && start > 0:
			few, step = start, twice(step)
		default:
			return last(list, limit), nil
		}
	}
}

// newestTop is a number from which on too few jobs begin, if any: where the search
// for those before one starts. Jobs whose ids were made from a key lie anywhere.
func newestTop(tx ledger.Tx, tenant ledger.TenantID, before ledger.JobID, limit int) (uint64, error) {
	if before != (ledger.JobID{}) {
		return binary.BigEndian.Uint64(before[:]), nil
	}
	top := beginning(time.Now().Add(newestAhead).UnixMilli())
	list, err := jobsBetween(tx, tenant, behind(top), before, limit)
	if len(list) == limit {
		top = math.MaxUint64
	}
	return top, err
}

// jobsBetween returns the first jobs behind one and before another; a zero one
// bounds nothing.
func jobsBetween(tx ledger.Tx, tenant ledger.TenantID, after, before ledger.JobID, limit int) ([]ledger.Job, error) {
	list, err := ledger.JobsOf(tx, tenant, after, limit)
	if before == (ledger.JobID{}) {
		return list, err
	}
	end := slices.IndexFunc(list, func(j ledger.Job) bool { return slices.Compare(j.ID[:], before[:]) >= 0 })
	if end >= 0 {
		list = list[:end]
	}
	return list, err
}

// lastBetween returns the last of any number of jobs. That many ids begin alike is
// not by chance: who has made them waits for the listing of all.
func lastBetween(tx ledger.Tx, tenant ledger.TenantID, after, before ledger.JobID, limit int) (kept []ledger.Job, err error) {
	for {
		list, err := jobsBetween(tx, tenant, after, before, newestSpread*limit)
		kept = last(append(kept, list...), limit)
		if err != nil || len(list) < newestSpread*limit {
			return kept, err
		}
		after = list[len(list)-1].ID
	}
}

func last(list []ledger.Job, limit int) []ledger.Job { return list[len(list)-min(len(list), limit):] }

// behind is what the ids come after that begin with a number.
func behind(start uint64) (id ledger.JobID) {
	binary.BigEndian.PutUint64(id[:], start)
	return id
}

// twice doubles a number as far as that goes.
func twice(n uint64) uint64 { return n + min(n, math.MaxUint64-n) }

// beginning is what ids begin with that are made at a time, in milliseconds.
func beginning(milliseconds int64) uint64 { return uint64(milliseconds) << 16 }
