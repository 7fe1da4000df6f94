package ledger

import "bytes"

// QueueLimit bounds a snapshot of the queue.
type QueueLimit struct {
	// Jobs bounds the jobs altogether, TenantJobs those of one tenant in one
	// band, so that a tenant with many does not fill the snapshot; Ranges bounds
	// the ranges of one job. Zero is no bound. Where Jobs leaves some out, each
	// tenant gets as many as the others in each band, and one at least while there
	// is room.
	Jobs, TenantJobs, Ranges int
}

// some returns how many of a tenant's jobs in a band TenantJobs allows.
func (l QueueLimit) some(jobs int) int {
	if l.TenantJobs > 0 {
		return min(jobs, l.TenantJobs)
	}
	return jobs
}

// each returns how many jobs each tenant may have in each band, zero for all, when
// total are allowed by TenantJobs, of groups of one tenant and band.
func (l QueueLimit) each(total, groups int) int {
	if l.Jobs == 0 || total <= l.Jobs {
		return l.TenantJobs
	}
	return max(l.Jobs/groups, 1)
}

// QueuedJob is a job with tasks that wait for a placement.
type QueuedJob struct {
	Job  Job
	Spec *JobSpec // without the payload
	// Ranges are its ready ranges, in ascending order of their first task; the
	// job has Job.Ready of them.
	Ranges []Pending
}

// queueSkip is the number of jobs of one tenant that Queue steps over before it
// begins another scan behind them.
const queueSkip = 32

// Queue returns the jobs that have tasks to place: the higher band first, then
// by tenant, then the older first. It skips over what TenantJobs leaves out
// without reading it.
//
// It reads all that it returns, and steps over what was in the queue and is not
// compacted yet: a scheduler that runs all the time keeps a Backlog.
func Queue(tx Tx, limit QueueLimit) (list []QueuedJob, err error) {
	defer catch(&err)
	r := reader{tx}
	for _, id := range r.queued(limit) {
		if h, ok := r.queuedJob(id, limit.Ranges); ok {
			list = append(list, h.QueuedJob)
		}
	}
	return list, nil
}

// queued returns the jobs of the queue within the limit.
func (r reader) queued(limit QueueLimit) (ids []JobID) {
	var groups []int // where each begins in ids
	for from := []byte(nil); ; {
		var last []byte // up to the tenant
		n, again := 0, false
		r.scan([]byte{tableQueue}, from, func(key, _ []byte) bool {
			if own := key[:len(key)-queueEntry]; !bytes.Equal(own, last) {
				last, n = append(last[:0], own...), 0
				groups = append(groups, len(ids))
			}
			n++
			if limit.TenantJobs == 0 || n <= limit.TenantJobs {
				ids = append(ids, JobID(key[len(key)-16:]))
				return true
			}
			again = n > limit.TenantJobs+queueSkip
			return !again
		})
		if !again {
			return limit.take(ids, groups)
		}
		// The last byte is the zero behind the tenant's name.
		last[len(last)-1] = 1
		from = last
	}
}

// take keeps the jobs that Jobs allows; groups are where those of each tenant and band
// begin.
func (l QueueLimit) take(ids []JobID, groups []int) (kept []JobID) {
	each := l.each(len(ids), len(groups))
	for i, lo := range groups {
		hi := len(ids)
		if i+1 < len(groups) {
			hi = groups[i+1]
		}
		if each > 0 {
			hi = min(hi, lo+each)
		}
		kept = append(kept, ids[lo:hi]...)
	}
	if l.Jobs > 0 {
		kept = kept[:min(l.Jobs, len(kept))]
	}
	return kept
}

// queuedJob reads a job of the queue, with at most ranges of its ranges; zero is
// all. It reports false when the job is not in the queue.
func (r reader) queuedJob(id JobID, ranges int) (*heldQueued, bool) {
	h := &heldQueued{QueuedJob: QueuedJob{Spec: &JobSpec{}}}
	j := &h.Job
	if !r.load(keyJob(id), j) || !j.inQueue() {
		return nil, false
	}
	r.load(keySpec(id), h.Spec)
	h.fill(r, ranges)
	return h, true
}

// heldQueued is a job of the queue; more says that it has more ready ranges than
// those that are held.
type heldQueued struct {
	QueuedJob
	more bool
}

// fill reads the ready ranges.
func (h *heldQueued) fill(r reader, limit int) {
	id := h.Job.ID
	h.Ranges, h.more = nil, false
	// Most jobs have one range, and it is the fresh one: that is no scan.
	if fresh := (Pending{}); h.Job.Ready == 1 && r.load(keyPending(id, PhaseReady, h.Job.Fresh), &fresh) {
		h.Ranges = []Pending{fresh}
		return
	}
	r.scan(append(prefixPending(id), byte(PhaseReady)), nil, func(key, value []byte) bool {
		if h.more = limit > 0 && len(h.Ranges) == limit; h.more {
			return false
		}
		var p Pending
		r.parse(key, value, &p)
		h.Ranges = append(h.Ranges, p)
		return true
	})
}
