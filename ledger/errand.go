package ledger

// errand is work that follows from a command and may be more than one command
// should do. What is left of it waits as a timer, which is due at once.
type errand struct {
	kind uint8 // a kind of timer
	at   Time
	what string // the end of the timer's key
}

// later puts an errand on the list of this command.
func (s *session) later(e errand) { s.errands = append(s.errands, e) }

// runErrands does the errands of the command, and those that follow from them.
func (s *session) runErrands() {
	for i := 0; i < len(s.errands); i++ {
		if e := s.errands[i]; !s.tryErrand(e) {
			s.arm(e.at, e.kind, []byte(e.what))
			s.more = true
		}
	}
	s.errands = nil
}

// tryErrand goes on with an errand while the command has steps left, and reports
// whether it is done.
func (s *session) tryErrand(e errand) bool {
	if s.steps >= errandSteps {
		return false
	}
	used, done := s.run(e, errandSteps-s.steps)
	s.steps += max(used, 1)
	return done
}

// run does at most steps steps of an errand.
func (s *session) run(e errand, steps int) (used int, done bool) {
	if e.kind == timerNode {
		n := s.node(NodeID(e.what))
		if n == nil || n.State != NodeGone || n.Changed != e.at {
			return 0, true
		}
		used = s.takeLeases(n.ID, steps)
		return used, n.Leases == 0
	}
	if e.kind == timerOrderStop || e.kind == timerOrderPrune {
		return s.runOrder(e, steps)
	}
	if e.kind == timerModules {
		return s.forgetModules(e, steps)
	}
	j := s.job(JobID([]byte(e.what)))
	if j == nil {
		return 0, true
	}
	switch e.kind {
	case timerStop:
		used = s.killPending(j, steps)
		return used, j.Pending == 0
	case timerDependents:
		used = s.tellDependents(j, steps)
		return used, j.Dependents == 0
	default:
		return s.prune(j, steps)
	}
}

// runOrder does at most steps steps of an errand about an order.
func (s *session) runOrder(e errand, steps int) (used int, done bool) {
	what := []byte(e.what)
	o := s.order(OrderID(what[:16]))
	switch {
	case o == nil:
		return 0, true
	case e.kind == timerOrderStop:
		return s.stopOrder(o, e.at, what, steps), true
	default:
		return s.pruneOrder(o, steps)
	}
}
