package ledger

import "slices"

func (c *Fire) apply(s *session) Result {
	if len(c.Firings) > FiringsMax {
		return over(CodeTooMany, "firings", uint64(len(c.Firings)), FiringsMax)
	}
	var r Result
	for i := range c.Firings {
		f := &c.Firings[i]
		o := s.order(f.Order)
		code := CodeOrderUnknown
		switch {
		case o == nil:
		case o.State != OrderActive:
			code = CodeOrderState
		case o.Kind == OrderDaemon:
			code = s.fireDaemon(o, f)
		default:
			code = s.fireCron(o, f)
		}
		r.Items = append(r.Items, Item{Code: code})
	}
	return r
}

// fireCron decides about the run of a time. Unless the time has been decided about
// before, or is wrong, it is the order's last one now.
func (s *session) fireCron(o *heldOrder, f *Firing) Code {
	switch {
	case f.At <= o.LastAt:
		return CodeRunPast
	case f.At > s.now || f.Missed > MissedMax || f.Node != "":
		return CodeInvalid
	}
	o.LastAt = f.At
	o.Missed = addMax(o.Missed, uint64(f.Missed))
	overlap := o.Overlap
	if f.Late && overlap == OverlapSkip {
		overlap = OverlapQueue
	}
	spec := *s.orderSpec(o.ID)
	switch {
	case o.Open == 0:
	case overlap == OverlapSkip:
		return s.passOver(o, f.At, CodeRunOverlap)
	case o.Open >= OrderJobsMax:
		return s.passOver(o, f.At, CodeRunLimit)
	case overlap == OverlapQueue:
		spec.After, spec.AfterAny = s.made(o), true
	}
	code := s.makeJob(o, RunJob(o.ID, f.At), &spec, "", f.At)
	if code == CodeOK && overlap == OverlapReplace {
		for _, id := range s.made(o) {
			if id != RunJob(o.ID, f.At) {
				s.stopMade(id)
			}
		}
	}
	return code
}

// fireDaemon makes the job of a node that has none.
func (s *session) fireDaemon(o *heldOrder, f *Firing) Code {
	n := s.node(f.Node)
	switch {
	case f.At != 0 || f.Late || f.Missed != 0:
		return CodeInvalid
	case n == nil:
		return CodeNodeUnknown
	case n.State != NodeUp:
		return CodeNodeState
	}
	spec := *s.orderSpec(o.ID)
	// Nobody else gets the job: a node that does not say who it is gets none.
	spec.Constraints = append(slices.Clip(spec.Constraints), Constraint{Label: LabelNode, Value: string(n.ID)})
	for _, c := range spec.Constraints {
		if !n.Meets(c) {
			return CodeConstraint
		}
	}
	seat := Seat{Order: o.ID, Node: n.ID}
	s.load(keySeat(o.ID, n.ID), &seat)
	switch {
	case seat.Open:
		return CodeRunOverlap
	case s.now < seat.NotBefore:
		return CodeRunEarly
	}
	seat.Number++
	id := seatJob(o.ID, n.ID, seat.Number, s.now)
	code := s.makeJob(o, id, &spec, n.ID, s.now)
	if code == CodeOK {
		seat.Job, seat.Open, seat.Began, seat.NotBefore = id, true, s.now, 0
	} else {
		seat.Began = 0
		seat.rest(s.now)
	}
	s.save(keySeat(o.ID, n.ID), &seat)
	return code
}

// rest has a seat wait before its next job, longer after each that did not last.
func (s *Seat) rest(now Time) {
	if s.Began > 0 && now-s.Began >= DaemonBackoffMaxNanos {
		s.Failures = 0
	}
	wait := DaemonBackoffMaxNanos
	if s.Failures < 10 {
		wait = min(wait, DaemonBackoffNanos<<s.Failures)
	}
	s.Failures++
	s.NotBefore = now + wait
}

// makeJob submits a job of an order as its tenant would. What a quota refuses is not
// tried again.
func (s *session) makeJob(o *heldOrder, id JobID, spec *JobSpec, node NodeID, at Time) Code {
	spec.Payload = s.get(keyOrderPayload(o.ID))
	if r := (&Submit{Job: id, Spec: *spec}).apply(s); r.Code != CodeOK {
		return s.passOver(o, at, r.Code)
	}
	s.save(keyMaker(id), &maker{o.ID, node})
	s.index(keyOrderJob(o.ID, id))
	o.Open++
	o.Made++
	o.note(OrderRun{At: at, Job: id})
	return CodeOK
}

// passOver notes a run that makes no job.
func (s *session) passOver(o *heldOrder, at Time, code Code) Code {
	if code == CodeRunOverlap {
		o.Skipped++
	} else {
		o.Refused++
	}
	o.note(OrderRun{At: at, Code: code})
	return code
}

func (o *Order) note(r OrderRun) {
	o.Runs = append(o.Runs, r)
	o.Runs = o.Runs[max(0, len(o.Runs)-RunsKept):]
}

// made lists the jobs of a cron order that have not ended.
func (s *session) made(o *heldOrder) []JobID {
	prefix := prefixOrderJob(o.ID)
	var ids []JobID
	for _, key := range s.keys(prefix, OrderJobsMax+1) {
		ids = append(ids, JobID(key[len(prefix):]))
	}
	return ids
}

// tellMaker tells the order that made a job, if one did, that the job has ended.
func (s *session) tellMaker(j *heldJob) {
	var m maker
	if !s.load(keyMaker(j.ID), &m) {
		return
	}
	o := s.order(m.Order)
	s.delete(keyOrderJob(o.ID, j.ID))
	o.Open--
	switch j.State {
	case JobSucceeded:
		o.Succeeded++
	case JobFailed:
		o.Failed++
	default:
		o.Killed++
	}
	for i := range o.Runs {
		if r := &o.Runs[i]; r.Job == j.ID {
			r.State, r.Ended = j.State, s.now
		}
	}
	if m.Node != "" {
		var seat Seat
		s.load(keySeat(o.ID, m.Node), &seat)
		seat.Open = false
		seat.rest(s.now)
		s.save(keySeat(o.ID, m.Node), &seat)
	}
	s.finishOrder(o)
}
