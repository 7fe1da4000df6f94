package ledger

// order checks a standing order with what hangs on it.
func (c *checker) order(key, value []byte) {
	var o Order
	c.parse(key, value, &o)
	var spec JobSpec
	if !c.load(keyOrderSpec(o.ID), &spec) {
		wrong("order %s: no spec", o.ID)
	}
	ended := o.State == OrderEnded
	equal(string(key), string(keyOrder(o.ID)), "order %s: key", o.ID)
	equal(o.Tenant, spec.Tenant, "order %s: tenant", o.ID)
	c.want[tableOrder]++
	c.want[tableOrderSpec]++
	if c.get(keyOrderPayload(o.ID)) != nil {
		c.want[tableOrderPayload]++
	}
	equal(len(spec.Payload), 0, "order %s: payload within the spec", o.ID)
	c.expect(keyTenantOrder(o.Tenant, ended, o.ID), "order %s", o.ID)
	if o.State >= orderStates || o.Kind >= orderKinds || o.Overlap >= overlaps || o.CatchUp >= catchUps || len(o.Runs) > RunsKept {
		wrong("order %s: is %s, %s, %s, %s, with %d runs", o.ID, o.State, o.Kind, o.Overlap, o.CatchUp, len(o.Runs))
	}
	equal(o.Succeeded+o.Failed+o.Killed+uint64(o.Open), o.Made, "order %s: jobs that have ended or not", o.ID)
	equal(o.Finished != 0, ended && o.Open == 0, "order %s: finished", o.ID)
	if o.Finished != 0 {
		c.timer(o.Finished+RetentionNanos, timerOrderPrune, o.ID[:], "order %s: retention", o.ID)
	}
	c.orderJobs(&o)
	c.seats(&o)
	c.modules[spec.Module]++
}

// orderJobs checks the jobs of an order that have not ended. Those of an order that
// has are being stopped, or an errand has not come to them.
func (c *checker) orderJobs(o *Order) {
	errands, from := 0, JobID{}
	for _, key := range c.keys(keyTimer(o.Changed, timerOrderStop, o.ID[:]), 2) {
		errands, from = errands+1, JobID(parseTimer(key).What[16:])
		c.want[tableTimer]++
	}
	if errands > 1 || errands > 0 && o.State != OrderEnded {
		wrong("order %s is %s, with %d errands to stop its jobs", o.ID, o.State, errands)
	}
	var open uint32
	c.each(prefixOrderJob(o.ID), func(key, _ []byte) {
		id := JobID(key[17:])
		var j Job
		var m maker
		if !c.load(keyJob(id), &j) || j.State.Final() || !c.load(keyMaker(id), &m) || m.Order != o.ID {
			wrong("order %s: its open job %s is not, or is not its own", o.ID, id)
		}
		if o.State == OrderEnded && j.State != JobStopping && (errands == 0 || string(id[:]) <= string(from[:])) {
			wrong("order %s has ended, and nothing stops its job %s", o.ID, id)
		}
		equal(m.Node != "", o.Kind == OrderDaemon, "order %s: job %s is on a seat", o.ID, id)
		open++
		c.want[tableOrderJob]++
	})
	equal(o.Open, open, "order %s: open jobs", o.ID)
	if o.Kind == OrderCron && open > OrderJobsMax {
		wrong("order %s: %d open jobs, at most %d", o.ID, open, OrderJobsMax)
	}
}

func (c *checker) seats(o *Order) {
	var open uint32
	c.each(prefixSeat(o.ID), func(key, value []byte) {
		var s Seat
		c.parse(key, value, &s)
		equal(string(key), string(keySeat(o.ID, s.Node)), "order %s: key of seat %s", o.ID, s.Node)
		if s.Open {
			var m maker
			if !c.load(keyMaker(s.Job), &m) || m.Node != s.Node || c.get(keyOrderJob(o.ID, s.Job)) == nil {
				wrong("order %s: the job of seat %s is not open, or not there", o.ID, s.Node)
			}
			open++
		}
		equal(s.NotBefore == 0, s.Open, "order %s: seat %s waits for no time", o.ID, s.Node)
		c.want[tableSeat]++
	})
	if o.Kind == OrderDaemon {
		equal(open, o.Open, "order %s: open seats", o.ID)
	}
}

// maker checks which order made a job. The order may be forgotten when the job has
// ended.
func (c *checker) maker(key, value []byte) {
	var m maker
	c.parse(key, value, &m)
	id := JobID(key[1:])
	var j Job
	if !c.load(keyJob(id), &j) || !j.State.Final() && c.get(keyOrderJob(m.Order, id)) == nil {
		wrong("job %s, which order %s made, is not there, or not in its list", id, m.Order)
	}
	c.want[tableMaker]++
}
