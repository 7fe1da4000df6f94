package ledger

func (q *Quota) fields(w *wire) {
	w.u64(&q.FuelTotal)
	w.u64(&q.MemoryBytes)
	w.u64(&q.QueuedTasks)
	w.u32(&q.Jobs)
}

// later has the fields of version 3, which are the last ones of what has a quota.
func (q *Quota) later(w *wire) {
	w.u64(&q.FuelPerDay)
	w.u64(&q.FuelRate)
	w.u64(&q.StoredBytes)
	w.u64(&q.EgressPerDay)
}

// hasLater reports whether one of them is set.
func (q *Quota) hasLater() bool {
	return q.FuelPerDay|q.FuelRate|q.StoredBytes|q.EgressPerDay != 0
}

func (r *Resources) fields(w *wire) {
	w.u64(&r.MemoryBytes)
	w.u64(&r.FuelRate)
	w.u32(&r.Slots)
	w.u64(&r.ScratchBytes)
}

func (u *Usage) fields(w *wire) {
	w.u64(&u.Fuel)
	w.u64(&u.MemoryByteSeconds)
	w.u64(&u.WallNanos)
}

// whole has the field of version 3 as well, for what is of that version anyway.
func (u *Usage) whole(w *wire) {
	u.fields(w)
	w.u64(&u.EgressBytes)
}

func (t *Tally) fields(w *wire) {
	for i := range t {
		w.u32(&t[i])
	}
}

func (l *Label) fields(w *wire) {
	text(w, &l.Name)
	text(w, &l.Value)
}

func (t *Tenant) fields(w *wire) {
	text(w, &t.ID)
	w.u32(&t.Weight)
	w.u8(&t.BandMax)
	t.Quota.fields(w)
	w.u64(&t.FuelReserved)
	w.u64(&t.FuelUsed)
	t.Leased.fields(w)
	w.u64(&t.Queued)
	w.u32(&t.Jobs)
	if w.since(3, t.Quota.hasLater() || t.Stored|t.Rate != 0 || t.Capabilities != 0 || t.Revocations != 0) {
		t.Quota.later(w)
		w.u64(&t.Stored)
		w.u64(&t.Rate)
		w.u32((*uint32)(&t.Capabilities))
		w.u32(&t.Revocations)
	}
}

func (n *Node) fields(w *wire) {
	text(w, &n.ID)
	w.u8((*uint8)(&n.State))
	w.time(&n.Changed)
	n.Capacity.fields(w)
	n.Reserved.fields(w)
	w.u32(&n.Leases)
	list(w, &n.Labels, func(l *Label) { l.fields(w) })
	list(w, &n.Features, func(s *string) { text(w, s) })
	if w.since(3, n.Until != 0 || n.Key != [32]byte{}) {
		w.time(&n.Until)
		w.fixed(n.Key[:])
	}
}

func (m *Module) fields(w *wire) {
	w.fixed(m.ID[:])
	w.u64(&m.Bytes)
	w.u64(&m.References)
	list(w, &m.Holders, func(n *NodeID) { text(w, n) })
}

func (j *Job) fields(w *wire) {
	w.fixed(j.ID[:])
	text(w, &j.Tenant)
	w.u8((*uint8)(&j.State))
	w.u8((*uint8)(&j.Cause))
	w.fixed(j.Blame[:])
	w.u8(&j.Band)
	w.u32(&j.Count)
	j.Tasks.fields(w)
	w.u32(&j.Unlisted)
	for _, t := range []*Time{&j.Created, &j.Queued, &j.Placed, &j.Stopped, &j.Finished} {
		w.time(t)
	}
	for _, n := range []*uint32{&j.Ready, &j.Pending, &j.Leases, &j.DependsOn, &j.Dependents, &j.Fresh, &j.Events} {
		w.u32(n)
	}
	j.Usage.fields(w)
	w.bool(&j.Pruning)
	if w.since(2, j.Spares > 0) {
		w.u32(&j.Spares)
	}
	if w.since(3, j.Stored != 0 || j.Today != Usage{} || j.Usage.EgressBytes != 0) {
		w.u64(&j.Stored)
		w.u32(&j.Day)
		j.Today.whole(w)
		w.u64(&j.Usage.EgressBytes)
	}
}

func (p *Pending) fields(w *wire) {
	w.fixed(p.Job[:])
	w.u8((*uint8)(&p.Phase))
	w.tasks(&p.Tasks)
	w.u32(&p.Attempt)
	w.u32(&p.Losses)
	w.u8((*uint8)(&p.Cause))
	w.time(&p.NotBefore)
	list(w, &p.Avoid, func(n *NodeID) { text(w, n) })
	if w.since(3, p.Preempted != 0 || p.For != 0 || p.Refusals != 0) {
		w.time(&p.Preempted)
		w.u8(&p.For)
		w.u8(&p.Refusals)
	}
}

func (l *Lease) fields(w *wire) {
	text(w, &l.Node)
	w.u64((*uint64)(&l.Epoch))
	w.fixed(l.Job[:])
	w.u8((*uint8)(&l.State))
	w.bool(&l.Begun)
	w.tasks(&l.Tasks)
	w.tasks(&l.Open)
	w.u32(&l.Slots)
	w.time(&l.Granted)
	w.time(&l.Expiry)
	w.time(&l.Timer)
	w.u32(&l.Attempt)
	w.u32(&l.Losses)
	list(w, &l.Avoid, func(n *NodeID) { text(w, n) })
	w.bool(&l.retries)
	w.u32(&l.retry)
	if w.since(2, l.Spare || !l.Elsewhere.Empty()) {
		w.bool(&l.Spare)
		w.tasks(&l.Elsewhere)
	}
	if w.since(3, l.Notice != 0 || l.For != 0 || l.Preempted != 0 || l.Rate != 0 || l.Refusals != 0) {
		w.time(&l.Notice)
		w.u8(&l.For)
		w.time(&l.Preempted)
		w.u64(&l.Rate)
		w.u8(&l.Refusals)
	}
}

func (c *Chunk) fields(w *wire) {
	w.tasks(&c.Succeeded)
	list(w, &c.Endings, func(e *Ending) {
		w.u8((*uint8)(&e.State))
		w.u8((*uint8)(&e.Cause))
		w.u8(&e.Exit)
		w.tasks(&e.Tasks)
	})
}

func (o *Output) fields(w *wire) {
	w.tasks(&o.Tasks)
	w.u8((*uint8)(&o.State))
	text(w, &o.Node)
	w.u64((*uint64)(&o.Epoch))
	w.fixed(o.Digest[:])
}

func (a *Account) fields(w *wire) {
	a.Usage.fields(w)
	a.Tasks.fields(w)
	if w.since(3, a.Receipts != Usage{} || a.Usage.EgressBytes != 0) {
		w.u64(&a.Usage.EgressBytes)
		a.Receipts.whole(w)
		a.Forgotten.whole(w)
		w.u32(&a.Modules)
	}
}

func (r *Reasons) fields(w *wire) {
	w.time(&r.At)
	list(w, &r.List, func(r *Reason) { r.fields(w) })
	w.u32(&r.Nodes)
	w.u32(&r.Sampled)
	w.time(&r.FreeAt)
}

func (r *Reason) fields(w *wire) {
	text(w, &r.What)
	text(w, &r.Detail)
	w.u32(&r.Nodes)
	w.u64(&r.Have)
	w.u64(&r.Need)
}

func (c *client) fields(w *wire) {
	w.u64(&c.Seq)
	w.time(&c.Last)
	w.time(&c.Timer)
	w.bytes(&c.Result)
}

func (m *meta) fields(w *wire) {
	w.u64((*uint64)(&m.Epoch))
	if w.since(3, m.Revocations != 0) {
		w.u32(&m.Revocations)
	}
}

func (c *Constraint) fields(w *wire) {
	text(w, &c.Label)
	text(w, &c.Value)
	w.bool(&c.Not)
}

// fields leaves out Payload, which is a record of its own and the last field of
// Submit.
func (s *JobSpec) fields(w *wire) {
	text(w, &s.Tenant)
	w.fixed(s.Module[:])
	w.u32(&s.Count)
	w.u8(&s.Band)
	s.Task.fields(w)
	w.u64(&s.FuelMax)
	w.u32(&s.Retry.AttemptsMax)
	w.u32(&s.Retry.LossesMax)
	for _, n := range []*int64{&s.Retry.BackoffNanos, &s.Retry.BackoffMaxNanos, &s.QueueNanos, &s.TotalNanos, &s.LossGraceNanos} {
		w.i64(n)
	}
	list(w, &s.Constraints, func(c *Constraint) { c.fields(w) })
	list(w, &s.Features, func(f *string) { text(w, f) })
	text(w, &s.SpreadLabel)
	list(w, &s.After, func(j *JobID) { w.fixed(j[:]) })
	w.bool(&s.AfterAny)
	if w.since(2, s.AfterOne || s.RetentionNanos != 0 || s.SparesMax != 0) {
		w.bool(&s.AfterOne)
		w.i64(&s.RetentionNanos)
		w.u32(&s.SparesMax)
	}
	if w.since(3, len(s.Secrets) > 0 || len(s.Labels) > 0 || s.TimeoutNanos != 0) {
		list(w, &s.Secrets, func(n *SecretName) { text(w, n) })
		list(w, &s.Labels, func(l *Label) { l.fields(w) })
		w.i64(&s.TimeoutNanos)
	}
}
