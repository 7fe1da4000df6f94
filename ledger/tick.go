package ledger

func (*Tick) apply(s *session) Result {
	keys := s.keysUntil(s.now, tickScan)
	s.more = len(keys) == tickScan
	fired := 0
	for _, key := range keys {
		t := parseTimer(key)
		switch {
		case t.errand():
			// Errands keep their timers until they are done, and must not keep
			// others waiting: a lease behind a thousand jobs to prune.
			if !s.tryErrand(errand{t.Kind, t.At, string(t.What)}) {
				s.more = true
				continue
			}
		case fired == tickTimers:
			s.more = true
			continue
		default:
			fired++
		}
		s.delete(key)
		s.fire(t)
	}
	return Result{}
}

// errand reports whether the timer stands for an errand.
func (t timerKey) errand() bool {
	switch t.Kind {
	case timerStop, timerDependents, timerNode, timerPrune, timerOrderStop, timerOrderPrune, timerModules:
		return true
	}
	return false
}

// keysUntil returns copies of the keys of up to limit timers that are due.
func (s *session) keysUntil(now Time, limit int) [][]byte {
	var keys [][]byte
	s.scan([]byte{tableTimer}, nil, func(key, _ []byte) bool {
		if parseTimer(key).At > now {
			return false
		}
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < limit
	})
	return keys
}

// fire does what a timer stands for. A timer before it in the same Tick may have
// changed what it is about, so each looks whether it still holds.
func (s *session) fire(t timerKey) {
	switch t.Kind {
	case timerLease:
		s.fireLease(t)
	case timerBackoff:
		s.fireBackoff(t)
	case timerQueueDeadline, timerTotalDeadline:
		s.fireDeadline(t)
	case timerClient:
		s.fireClient(t)
	case timerAccount:
		s.fireAccount(t)
	case timerRevocation:
		s.fireRevocation(t)
	}
}

func (s *session) fireLease(t timerKey) {
	node, rest := cutName(t.What)
	var l Lease
	if !s.load(newKey(tableLease).raw([]byte(node)).u8(0).raw(rest), &l) || l.Timer != t.At {
		return
	}
	if l.Expiry > s.now {
		l.Timer = l.Expiry
		s.arm(l.Timer, timerLease, t.What)
		s.saveLease(&l)
		return
	}
	j := s.job(l.Job)
	if l.Notice != 0 && l.Notice+NoticeLateNanos <= s.now {
		s.giveBack(j, &l, l.Open, CausePreempted, Pending{Attempt: l.Attempt, Losses: l.Losses, Avoid: l.Avoid})
		return
	}
	grace := Time(s.specOf(j).LossGraceNanos)
	if l.Spare || l.State == LeaseUnreachable || j.State == JobStopping || grace == 0 {
		s.lose(&l, CauseLost)
		return
	}
	// The grace begins when the ledger notices. After an outage of the ledger
	// itself every lease has run out, and every node shall have time to renew.
	s.setLeaseState(j, &l, LeaseUnreachable)
	l.Expiry = s.now + grace
	if l.Notice != 0 {
		l.Expiry = min(l.Expiry, l.Notice+NoticeLateNanos)
	}
	l.Timer = l.Expiry
	s.arm(l.Timer, timerLease, t.What)
	s.saveLease(&l)
	s.noteLease(j, &l, l.Open, Event{Kind: EventUnreachable, Until: l.Expiry})
}

func (s *session) fireBackoff(t timerKey) {
	id := parseJob(t.What)
	p := s.pending(id, PhaseBackoff, uint32(number(t.What[16:])))
	if p == nil || p.NotBefore != t.At {
		return
	}
	j := s.job(id)
	s.removePending(j, p)
	s.addPending(j, *p)
}

func (s *session) fireDeadline(t timerKey) {
	id := parseJob(t.What)
	j := s.job(id)
	if j == nil {
		return
	}
	at, due := j.totalDeadline(s.specOf(j))
	cause := CauseTotalDeadline
	if t.Kind == timerQueueDeadline {
		at, due = j.queueDeadline(s.specOf(j))
		cause = CauseQueueDeadline
	}
	if due && at == t.At {
		s.stop(j, cause, JobID{})
	}
}

func (s *session) fireClient(t timerKey) {
	id := [16]byte(t.What)
	c := &client{}
	if id == s.sender && s.memory != nil {
		c = s.memory
	} else if !s.load(keyClient(id), c) || c.Timer != t.At {
		return
	}
	if c.Last+ClientNanos <= s.now {
		s.delete(keyClient(id))
		return
	}
	c.Timer = c.Last + ClientNanos
	s.arm(c.Timer, timerClient, t.What)
	if c != s.memory {
		s.save(keyClient(id), c)
	}
}
