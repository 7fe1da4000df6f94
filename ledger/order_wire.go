package ledger

func (o *Order) fields(w *wire) {
	w.fixed(o.ID[:])
	text(w, &o.Tenant)
	text(w, &o.Name)
	w.u8((*uint8)(&o.Kind))
	w.u8((*uint8)(&o.State))
	for _, t := range []*Time{&o.Created, &o.Changed, &o.Finished} {
		w.time(t)
	}
	text(w, &o.Schedule)
	text(w, &o.Zone)
	w.u8((*uint8)(&o.Overlap))
	w.u8((*uint8)(&o.CatchUp))
	w.time(&o.LastAt)
	w.u32(&o.Open)
	for _, n := range []*uint64{&o.Made, &o.Succeeded, &o.Failed, &o.Killed, &o.Skipped, &o.Refused, &o.Missed} {
		w.u64(n)
	}
	list(w, &o.Runs, func(r *OrderRun) {
		w.time(&r.At)
		w.u8((*uint8)(&r.Code))
		w.fixed(r.Job[:])
		w.u8((*uint8)(&r.State))
		w.time(&r.Ended)
	})
}

func (s *Seat) fields(w *wire) {
	w.fixed(s.Order[:])
	text(w, &s.Node)
	w.fixed(s.Job[:])
	w.bool(&s.Open)
	w.time(&s.Began)
	w.u32(&s.Number)
	w.u32(&s.Failures)
	w.time(&s.NotBefore)
}

// maker is which order made a job, and for a daemon on which node: the value beside
// the job's key.
type maker struct {
	Order OrderID
	Node  NodeID
}

func (m *maker) fields(w *wire) {
	w.fixed(m.Order[:])
	text(w, &m.Node)
}

// nested writes or reads a record within a command, with a version of its own: what
// is added to the record adds nothing to the command.
func nested(w *wire, v fielder) {
	if !w.decoding {
		b := encode(v)
		w.bytes(&b)
		return
	}
	if b := w.take(); w.err == nil {
		w.err = decode(b, v)
	}
}

func (c *CreateOrder) fields(w *wire) {
	w.fixed(c.Order[:])
	text(w, &c.Name)
	w.u8((*uint8)(&c.Kind))
	text(w, &c.Schedule)
	text(w, &c.Zone)
	w.u8((*uint8)(&c.Overlap))
	w.u8((*uint8)(&c.CatchUp))
	nested(w, &c.Spec)
	w.bytes(&c.Spec.Payload)
}

func (c *SetOrderState) fields(w *wire) {
	w.fixed(c.Order[:])
	w.u8((*uint8)(&c.State))
}

func (c *Fire) fields(w *wire) {
	list(w, &c.Firings, func(f *Firing) {
		w.fixed(f.Order[:])
		w.time(&f.At)
		w.bool(&f.Late)
		w.u32(&f.Missed)
		text(w, &f.Node)
	})
}
