package ledger

func (c *Preempt) apply(s *session) Result {
	if len(c.Leases) > ItemsMax {
		return over(CodeTooMany, "leases", uint64(len(c.Leases)), ItemsMax)
	}
	j := s.job(c.Job)
	switch {
	case j == nil:
		return refuse(CodeJobUnknown, "")
	case j.State != JobActive || j.Ready == 0:
		return refuse(CodeJobState, j.State.String())
	}
	r := Result{Items: make([]Item, len(c.Leases))}
	for i, name := range c.Leases {
		r.Items[i] = s.preempt(j.Band, name)
	}
	return r
}

// preempt gives a lease notice, for a job of a band.
func (s *session) preempt(band uint8, name LeaseName) Item {
	var l Lease
	if s.node(name.Node) == nil || !s.load(keyLease(name.Node, name.Epoch), &l) || l.Spare {
		return Item{Code: CodeStaleLease, Epoch: name.Epoch}
	}
	j := s.job(l.Job)
	switch {
	case j.Band >= band:
		return Item{Code: CodeBandCeiling, Epoch: l.Epoch}
	case j.State != JobActive:
		return Item{Code: CodeStopped, Epoch: l.Epoch}
	case l.Notice != 0 || l.Preempted != 0 && s.now < l.Preempted+PreemptAgainNanos:
		return Item{Code: CodePreempted, Epoch: l.Epoch}
	}
	l.Notice, l.For, l.Preempted = s.now+NoticeNanos, band, s.now
	l.Expiry = min(l.Expiry, l.Notice+NoticeLateNanos)
	if l.Timer > l.Expiry {
		s.setLeaseTimer(&l, l.Expiry)
	}
	s.saveLease(&l)
	s.noteLease(j, &l, l.Open, Event{Kind: EventNotice, Cause: CausePreempted, Until: l.Notice, Band: band})
	return Item{Epoch: l.Epoch, Count: l.Open.Count()}
}

func (*Preempt) kind() uint8 { return kindPreempt }

func (c *Preempt) fields(w *wire) {
	w.fixed(c.Job[:])
	list(w, &c.Leases, func(l *LeaseName) {
		text(w, &l.Node)
		w.u64((*uint64)(&l.Epoch))
	})
}
