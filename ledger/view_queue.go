package ledger

// QueueLimit bounds a snapshot of the queue.
type QueueLimit struct {
	// Jobs bounds the jobs altogether, TenantJobs those of one tenant in one
	// band, so that a tenant with many does not fill the snapshot; Ranges bounds
	// the ranges of one job. Zero is no bound.
	Jobs, TenantJobs, Ranges int
}

// QueuedJob is a job with tasks that wait for a placement.
type QueuedJob struct {
	Job  Job
	Spec JobSpec // without the payload
	// Ranges are its ready ranges, in ascending order of their first task; the
	// job has Job.Ready of them.
	Ranges []Pending
}

// Queue returns the jobs that have tasks to place: the higher band first, then
// by tenant, then the older first. It skips over what the limit leaves out
// without reading it.
func Queue(tx Tx, limit QueueLimit) (list []QueuedJob, err error) {
	defer catch(&err)
	r := reader{tx}
	var ids []JobID
	for from := []byte(nil); ; {
		// One pass per tenant and band; the first key says which.
		var prefix []byte
		n := 0
		r.scan([]byte{tableQueue}, from, func(key, _ []byte) bool {
			own := key[:len(key)-24]
			if prefix == nil {
				prefix = append(prefix, own...)
			} else if string(own) != string(prefix) {
				return false
			}
			if limit.TenantJobs > 0 && n == limit.TenantJobs || limit.Jobs > 0 && len(ids) == limit.Jobs {
				return false
			}
			ids = append(ids, JobID(key[len(key)-16:]))
			n++
			return true
		})
		if prefix == nil || limit.Jobs > 0 && len(ids) == limit.Jobs {
			break
		}
		// The prefix ends with the zero byte behind the tenant's name.
		from = append(prefix[:len(prefix)-1], 1)
	}
	for _, id := range ids {
		q := QueuedJob{}
		r.load(keyJob(id), &q.Job)
		r.load(keySpec(id), &q.Spec)
		ready := append(prefixPending(id), byte(PhaseReady))
		r.scan(ready, nil, func(key, value []byte) bool {
			var p Pending
			r.parse(key, value, &p)
			q.Ranges = append(q.Ranges, p)
			return limit.Ranges == 0 || len(q.Ranges) < limit.Ranges
		})
		list = append(list, q)
	}
	return list, nil
}
