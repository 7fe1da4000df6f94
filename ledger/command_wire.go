package ledger

import (
	"fmt"
	"slices"
)

func (c *CreateTenant) fields(w *wire) {
	text(w, &c.Tenant)
	w.u32(&c.Weight)
	w.u8(&c.BandMax)
	c.Quota.fields(w)
	if w.since(3, c.Quota.hasLater() || c.Capabilities != 0) {
		c.Quota.later(w)
		w.u32((*uint32)(&c.Capabilities))
	}
}

func (c *SetQuota) fields(w *wire) {
	text(w, &c.Tenant)
	w.u32(&c.Weight)
	w.u8(&c.BandMax)
	c.Quota.fields(w)
	if w.since(3, c.Quota.hasLater() || c.Only != 0) {
		c.Quota.later(w)
		w.u32((*uint32)(&c.Only))
	}
}

func (c *RegisterNode) fields(w *wire) {
	text(w, &c.Node)
	c.Capacity.fields(w)
	list(w, &c.Labels, func(l *Label) { l.fields(w) })
	list(w, &c.Features, func(s *string) { text(w, s) })
	if w.since(3, c.Key != [32]byte{}) {
		w.fixed(c.Key[:])
	}
}

func (c *SetNodeState) fields(w *wire) {
	text(w, &c.Node)
	w.u8((*uint8)(&c.State))
	if w.since(2, len(c.From) > 0) {
		list(w, &c.From, func(s *NodeState) { w.u8((*uint8)(s)) })
	}
	if w.since(3, c.WithinNanos != 0) {
		w.i64(&c.WithinNanos)
	}
}

func (c *RemoveNode) fields(w *wire) { text(w, &c.Node) }

func (c *PutModule) fields(w *wire) {
	w.fixed(c.Module[:])
	w.u64(&c.Bytes)
	text(w, &c.Holder)
}

func (c *DropModule) fields(w *wire) { w.fixed(c.Module[:]) }

func (c *AddHolder) fields(w *wire) {
	w.fixed(c.Module[:])
	text(w, &c.Node)
}

func (c *DropHolder) fields(w *wire) { (*AddHolder)(c).fields(w) }

func (c *Submit) fields(w *wire) {
	w.fixed(c.Job[:])
	c.Spec.fields(w)
	w.bytes(&c.Spec.Payload)
}

func (c *Cancel) fields(w *wire) { w.fixed(c.Job[:]) }

func (c *Place) fields(w *wire) {
	list(w, &c.Placements, func(p *Placement) {
		w.fixed(p.Job[:])
		w.u32(&p.Start)
		w.u32(&p.Count)
		text(w, &p.Node)
		w.u32(&p.Slots)
		w.time(&p.Expiry)
		w.bool(&p.Heed)
	})
	spares := slices.ContainsFunc(c.Placements, func(p Placement) bool { return p.Spare })
	if w.since(2, spares) {
		for i := range c.Placements {
			w.bool(&c.Placements[i].Spare)
		}
	}
	if w.since(3, slices.ContainsFunc(c.Placements, func(p Placement) bool { return p.Refusals > 0 })) {
		for i := range c.Placements {
			w.u8(&c.Placements[i].Refusals)
		}
	}
}

func (c *Begin) fields(w *wire) {
	text(w, &c.Node)
	epochs(w, &c.Epochs)
}

func (c *Renew) fields(w *wire) {
	text(w, &c.Node)
	epochs(w, &c.Epochs)
	w.time(&c.Expiry)
}

func (c *Report) fields(w *wire) {
	text(w, &c.Node)
	list(w, &c.Leases, func(l *LeaseReport) {
		w.u64((*uint64)(&l.Epoch))
		list(w, &l.Runs, func(r *Run) { r.fields(w) })
	})
	if !w.since(3, c.hasLater()) {
		return
	}
	for i := range c.Leases {
		for k := range c.Leases[i].Runs {
			run := &c.Leases[i].Runs[k]
			w.u64(&run.Usage.EgressBytes)
			w.u64(&run.StoredBytes)
		}
	}
	w.u32(&c.Costs)
	w.fixed(c.Signature[:])
}

// hasLater reports whether a field of version 3 is set.
func (c *Report) hasLater() bool {
	if c.Costs != 0 || c.Signature != [64]byte{} {
		return true
	}
	return slices.ContainsFunc(c.Leases, func(l LeaseReport) bool {
		return slices.ContainsFunc(l.Runs, func(r Run) bool { return r.Usage.EgressBytes|r.StoredBytes != 0 })
	})
}

func (r *Run) fields(w *wire) {
	w.u32(&r.First)
	w.u32(&r.Count)
	w.u8((*uint8)(&r.State))
	w.u8(&r.Exit)
	w.bool(&r.Terminal)
	r.Usage.fields(w)
	// Most runs have no output: one byte says so.
	has := r.Digest != [32]byte{}
	w.bool(&has)
	if has {
		w.fixed(r.Digest[:])
	}
}

func (c *Release) fields(w *wire) {
	text(w, &c.Node)
	epochs(w, &c.Epochs)
	w.u8((*uint8)(&c.Cause))
	if w.since(2, len(c.Parts) > 0) {
		n := 0
		list(w, &c.Parts, func(r *Range) {
			if n++; w.decoding && n > PartsMax {
				w.fail(fmt.Sprintf("more than %d parts of leases", PartsMax))
				return
			}
			w.tasks(r)
		})
	}
}

func (c *RefuseLease) fields(w *wire) {
	text(w, &c.Node)
	epochs(w, &c.Epochs)
	w.u8((*uint8)(&c.Cause))
}

func (c *NoteReasons) fields(w *wire) {
	list(w, &c.Notes, func(n *Note) {
		w.fixed(n.Job[:])
		list(w, &n.Reasons, func(r *Reason) { r.fields(w) })
		w.u32(&n.Nodes)
		w.u32(&n.Sampled)
		w.time(&n.FreeAt)
	})
}

func (*Tick) fields(*wire) {}

func epochs(w *wire, p *[]Epoch) {
	list(w, p, func(e *Epoch) { w.u64((*uint64)(e)) })
}
