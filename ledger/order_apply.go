package ledger

// CreateOrder adds a standing order. Of its Spec the ledger makes the jobs: it names
// no jobs to come after, as those are forgotten in time. The payload is kept apart.
type CreateOrder struct {
	Order          OrderID
	Name           string
	Kind           OrderKind
	Schedule, Zone string
	Overlap        Overlap
	CatchUp        CatchUp
	Spec           JobSpec
}

// SetOrderState pauses an order, resumes it or ends it. Times that pass while it is
// paused are not made up for. With an order its jobs end.
type SetOrderState struct {
	Order OrderID
	State OrderState
}

// Fire has standing orders make jobs, in order. Result.Items says for each what
// became of it.
type Fire struct{ Firings []Firing }

// Firing is one run of an order.
type Firing struct {
	Order OrderID
	// At is the time of the schedule: after Order.LastAt, and not ahead of the
	// command. The job's id follows from it, so that nobody can choose it.
	At Time
	// Late says that the run makes up for a time that was missed: it comes after the
	// earlier ones where others would be skipped.
	Late bool
	// Missed is how many times before At are passed over, up to MissedMax.
	Missed uint32
	// Node is where a daemon's job goes, which has no At, Late or Missed.
	Node NodeID
}

func (*CreateOrder) kind() uint8   { return kindCreateOrder }
func (*SetOrderState) kind() uint8 { return kindSetOrderState }
func (*Fire) kind() uint8          { return kindFire }

func (c *CreateOrder) apply(s *session) Result {
	if r := c.check(); r.Code != CodeOK {
		return r
	}
	spec := &c.Spec
	t := s.tenant(spec.Tenant)
	switch {
	case t == nil:
		return refuse(CodeTenantUnknown, string(spec.Tenant))
	case s.order(c.Order) != nil:
		return refuse(CodeOrderExists, c.Order.String())
	case spec.Band > t.BandMax:
		return over(CodeBandCeiling, "band", uint64(spec.Band), uint64(t.BandMax))
	}
	if r := t.permit(spec); r.Code != CodeOK {
		return r
	}
	// What no quota can ever let through is told now; what it holds may change.
	if r := (&Tenant{}).admit(spec.Count, spec.FuelMax); r.Code != CodeOK {
		return r
	}
	if n := len(s.keys(prefixTenantOrder(spec.Tenant, false), OrdersMax)); n >= OrdersMax {
		return over(CodeQuotaOrders, "orders", uint64(n)+1, OrdersMax)
	}
	if r := s.secrets(spec); r.Code != CodeOK {
		return r
	}
	if !s.refer(spec.Module, 1) {
		return refuse(CodeModuleUnknown, spec.Module.String())
	}
	o := &Order{
		ID: c.Order, Tenant: spec.Tenant, Name: c.Name, Kind: c.Kind, Created: s.now, Changed: s.now,
		Schedule: c.Schedule, Zone: c.Zone, Overlap: c.Overlap, CatchUp: c.CatchUp, LastAt: s.now,
	}
	s.orders.put(c.Order, &heldOrder{Order: *o})
	s.save(keyOrderSpec(c.Order), spec)
	if len(spec.Payload) > 0 {
		s.set(keyOrderPayload(c.Order), spec.Payload)
	}
	s.index(keyTenantOrder(spec.Tenant, false, c.Order))
	return Result{}
}

// check refuses an order that is wrong by itself.
func (c *CreateOrder) check() Result {
	constraints := uint64(ConstraintsMax)
	if c.Kind == OrderDaemon {
		constraints-- // one more is the node
	}
	for _, limit := range []struct {
		what         string
		n, low, high uint64
	}{
		{"kind", uint64(c.Kind), 0, uint64(orderKinds) - 1},
		{"name", uint64(len(c.Name)), 0, TextBytesMax},
		{"schedule", uint64(len(c.Schedule)), 0, TextBytesMax},
		{"timezone", uint64(len(c.Zone)), 0, TextBytesMax},
		{"overlap", uint64(c.Overlap), 0, uint64(overlaps) - 1},
		{"catch_up", uint64(c.CatchUp), 0, uint64(catchUps) - 1},
		{"after", uint64(len(c.Spec.After)), 0, 0},
		{"constraints", uint64(len(c.Spec.Constraints)), 0, constraints},
	} {
		if limit.n < limit.low || limit.n > limit.high {
			return outside(limit.what, limit.n, limit.low, limit.high)
		}
	}
	if (c.Kind == OrderCron) != (c.Schedule != "") {
		return refuse(CodeInvalid, "schedule")
	}
	return c.Spec.check()
}

func (c *SetOrderState) apply(s *session) Result {
	o := s.order(c.Order)
	switch {
	case o == nil:
		return refuse(CodeOrderUnknown, c.Order.String())
	case c.State >= orderStates:
		return outside("state", uint64(c.State), 0, uint64(orderStates)-1)
	case o.State == OrderEnded:
		return refuse(CodeOrderState, o.State.String())
	case o.State == c.State:
		return Result{}
	}
	o.State, o.Changed = c.State, s.now
	switch c.State {
	case OrderActive:
		o.LastAt = max(o.LastAt, s.now)
	case OrderEnded:
		s.delete(keyTenantOrder(o.Tenant, false, o.ID))
		s.index(keyTenantOrder(o.Tenant, true, o.ID))
		if o.Open > 0 {
			s.later(errand{timerOrderStop, o.Changed, string(whatOrderJob(o.ID, JobID{}))})
		}
		s.finishOrder(o)
	}
	return Result{}
}

// finishOrder has an order forgotten in time when it and all of its jobs have ended.
func (s *session) finishOrder(o *heldOrder) {
	if o.State == OrderEnded && o.Open == 0 && o.Finished == 0 {
		o.Finished = s.now
		s.arm(o.Finished+RetentionNanos, timerOrderPrune, o.ID[:])
	}
}

// stopOrder stops jobs of an order that has ended, those behind the job that what
// names: at most steps of them, and returns how many. What is left is another errand.
func (s *session) stopOrder(o *heldOrder, at Time, what []byte, steps int) int {
	prefix := prefixOrderJob(o.ID)
	var jobs []JobID
	s.scan(prefix, append(keyOrderJob(o.ID, JobID(what[16:])), 0), func(key, _ []byte) bool {
		jobs = append(jobs, JobID(key[len(prefix):]))
		return len(jobs) < steps
	})
	for _, id := range jobs {
		s.stopMade(id)
	}
	if n := len(jobs); n == steps {
		s.later(errand{timerOrderStop, at, string(whatOrderJob(o.ID, jobs[n-1]))})
	}
	return len(jobs)
}

// stopMade stops a job of an order unless it is being stopped already.
func (s *session) stopMade(id JobID) {
	if j := s.job(id); !j.State.Final() && j.State != JobStopping {
		s.stop(j, CauseOrder, JobID{})
	}
}

// pruneOrder forgets an order, at most steps of its seats, and reports whether it is
// gone.
func (s *session) pruneOrder(o *heldOrder, steps int) (used int, done bool) {
	keys := s.keys(prefixSeat(o.ID), steps)
	for _, key := range keys {
		s.delete(key)
	}
	if used = len(keys); used == steps {
		return used, false
	}
	s.refer(s.orderSpec(o.ID).Module, -1)
	s.delete(keyOrderSpec(o.ID))
	s.delete(keyOrderPayload(o.ID))
	s.delete(keyTenantOrder(o.Tenant, true, o.ID))
	o.gone = true
	return used + 1, true
}

// heldOrder is an order that a command has touched.
type heldOrder struct {
	Order
	before []byte
	gone   bool
}

// order returns the order, or nil.
func (s *session) order(id OrderID) *heldOrder {
	o := s.orders.find(id, func(o *heldOrder) bool {
		o.before = s.fetch(keyOrder(id), &o.Order)
		return o.before != nil
	})
	if o == nil || o.gone {
		return nil
	}
	return o
}

// orderSpec returns what the order's jobs are made of, without the payload.
func (s *session) orderSpec(id OrderID) *JobSpec {
	spec := new(JobSpec)
	s.load(keyOrderSpec(id), spec)
	return spec
}

// flushOrders writes the orders that were held.
func (s *session) flushOrders() {
	for _, id := range s.orders.order {
		switch o := s.orders.records[id]; {
		case o == nil:
		case o.gone:
			s.delete(keyOrder(id))
		default:
			s.change(keyOrder(id), o.before, &o.Order)
		}
	}
}
