package ledger_test

import (
	"crypto/ed25519"
	"crypto/sha256"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

func (w *world) n(low, high int, label string) int { return rapid.IntRange(low, high).Draw(w.t, label) }

func (w *world) job() ledger.JobID       { return ledger.JobID{15: byte(w.n(1, 8, "job"))} }
func (w *world) module() ledger.ModuleID { return ledger.ModuleID{31: byte(w.n(1, 2, "module"))} }
func (w *world) tenant() ledger.TenantID { return rapid.SampledFrom(someTenants).Draw(w.t, "tenant") }
func (w *world) node() ledger.NodeID     { return rapid.SampledFrom(someNodes).Draw(w.t, "node") }

// leases returns the leases of a node, and one that does not exist now and then.
func (w *world) leases(node ledger.NodeID) []ledger.Lease {
	leases, err := ledger.LeasesOf(w.a, node, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.n(0, 9, "stale") == 0 {
		leases = append(leases, ledger.Lease{Node: node, Epoch: ledger.Epoch(w.n(0, 50, "epoch")), Tasks: ledger.Tasks(0, 9)})
	}
	return leases
}

func (w *world) epochs(node ledger.NodeID) []ledger.Epoch {
	var epochs []ledger.Epoch
	for _, l := range w.leases(node) {
		if w.n(0, 2, "take") > 0 {
			epochs = append(epochs, l.Epoch)
		}
	}
	return epochs
}

func (w *world) command() ledger.Command {
	kind := w.n(0, 34, "command")
	if w.steady {
		kind = rapid.SampledFrom([]int{2, 8, 12, 12, 12, 16, 17, 18, 20, 20, 20, 20, 22, 23, 23, 23, 25, 27, 28, 28, 29, 32, 32, 32}).Draw(w.t, "command")
	}
	switch kind {
	case 0:
		return &ledger.CreateTenant{Tenant: w.tenant(), Weight: 1, BandMax: 3, Quota: w.quota()}
	case 1:
		return &ledger.SetQuota{Tenant: w.tenant(), Weight: 1, BandMax: 5, Quota: w.quota(), Only: ledger.QuotaFields(w.n(0, 1<<10, "only"))}
	case 34:
		return &ledger.SetCapabilities{Tenant: w.tenant(), Add: ledger.Capabilities(w.n(0, 2, "add")), Remove: ledger.Capabilities(w.n(0, 1, "remove"))}
	case 2, 3:
		node := w.node()
		return &ledger.RegisterNode{
			Key: w.key(node), Node: node, Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: uint32(w.n(1, 64, "slots")), ScratchBytes: 10},
			Labels: []ledger.Label{{Name: "zone", Value: rapid.SampledFrom([]string{"a", "b"}).Draw(w.t, "zone")}, {Name: ledger.LabelNode, Value: string(node)}},
		}
	case 4:
		return &ledger.SetNodeState{Node: w.node(), State: ledger.NodeState(w.n(0, 4, "state")), From: w.from(), WithinNanos: int64(w.n(0, 2, "within"))}
	case 5:
		return &ledger.RemoveNode{Node: w.node()}
	case 6:
		return &ledger.PutModule{Module: w.module(), Bytes: 10, Holder: w.node()}
	case 7:
		return &ledger.DropModule{Module: w.module()}
	case 8, 9, 10:
		return w.submit()
	case 11:
		return &ledger.Cancel{Job: w.job()}
	case 12, 13, 14, 15:
		return w.place()
	case 16:
		node := w.node()
		return &ledger.Begin{Node: node, Epochs: w.epochs(node)}
	case 17:
		node := w.node()
		return &ledger.Renew{Node: node, Epochs: w.epochs(node), Expiry: w.now + second*ledger.Time(w.n(0, 60, "expiry"))}
	case 18:
		node := w.node()
		if w.n(0, 1, "refuse") == 0 {
			return &ledger.RefuseLease{Node: node, Epochs: w.epochs(node), Cause: ledger.Cause(w.n(0, 17, "cause"))}
		}
		return w.release(node)
	case 19:
		return &ledger.NoteReasons{Notes: []ledger.Note{{Job: w.job(), Reasons: []ledger.Reason{{What: "memory", Nodes: 3, Have: 1, Need: 2}}}}}
	case 32, 33:
		c := &ledger.Preempt{Job: w.job()}
		for _, node := range someNodes {
			for _, epoch := range w.epochs(node) {
				c.Leases = append(c.Leases, ledger.LeaseName{Node: node, Epoch: epoch})
			}
		}
		return c
	case 30:
		return &ledger.Revoke{
			ID: [32]byte{byte(w.n(0, 3, "delegation"))}, Until: max(0, w.now+second*ledger.Time(w.n(-1, 60, "until"))*ledger.Time(w.n(0, 3, "bounded"))),
			Tenant: rapid.SampledFrom([]ledger.TenantID{"", "alder", "birch", "cedar"}).Draw(w.t, "whose"),
		}
	case 31:
		return w.secret()
	case 20, 21:
		return w.report()
	case 22, 23:
		return w.spares()
	case 25, 26:
		return w.newOrder()
	case 27:
		return &ledger.SetOrderState{Order: w.order(), State: ledger.OrderState(w.n(0, 3, "state"))}
	case 28, 29:
		return w.fire()
	default:
		return &ledger.Tick{}
	}
}

// secret is one of the commands about secrets.
func (w *world) secret() ledger.Command {
	tenant, name := w.tenant(), rapid.SampledFrom([]ledger.SecretName{"A", "B", "9"}).Draw(w.t, "secret")
	id, keys := [16]byte{byte(w.n(0, 2, "value"))}, []ledger.SecretKey{{Node: w.node(), Sealed: []byte("key")}}
	switch w.n(0, 5, "about secrets") {
	case 0:
		return &ledger.DropSecret{Tenant: tenant, Name: name}
	case 1:
		return &ledger.WrapSecret{Tenant: tenant, Name: name, ID: id, Keys: keys}
	case 2:
		return &ledger.PutCustodian{Node: w.node(), Card: make([]byte, w.n(0, 1, "card"))}
	}
	return &ledger.PutSecret{Tenant: tenant, Name: name, ID: id, Keys: keys, Value: []byte("sealed")}
}

// release hands back leases, or parts of them, some of which are not theirs.
func (w *world) release(node ledger.NodeID) ledger.Command {
	c := &ledger.Release{Node: node, Epochs: w.epochs(node), Cause: ledger.CauseReleased}
	if w.n(0, 2, "whole") == 0 {
		return c
	}
	for _, epoch := range c.Epochs {
		var part ledger.Range
		if l, err := ledger.FindLease(w.a, node, epoch); err == nil {
			from := l.Tasks.First + uint32(w.n(0, int(l.Tasks.End-l.Tasks.First), "from"))
			part = ledger.Tasks(from, from+uint32(w.n(0, 100, "count")))
			if w.n(0, 1, "scattered") == 0 {
				_, rest := l.Open.Split(1)
				_, rest = rest.Split(uint32(w.n(0, 2, "kept")))
				part = part.Union(rest)
			}
		}
		c.Parts = append(c.Parts, part)
	}
	if w.n(0, 9, "odd") == 0 {
		c.Parts = append(c.Parts, ledger.Tasks(0, 1))
	}
	return c
}

func (w *world) order() ledger.OrderID { return ledger.OrderID{0: 1, 15: byte(w.n(1, 3, "order"))} }

func (w *world) newOrder() ledger.Command {
	c := &ledger.CreateOrder{
		Order: w.order(), Kind: ledger.OrderKind(w.n(0, 2, "kind")),
		Overlap: ledger.Overlap(w.n(0, 4, "overlap")), CatchUp: ledger.CatchUp(w.n(0, 3, "catch-up")), Spec: w.spec(),
	}
	if w.n(0, 9, "after")+len(c.Spec.After) > 2 {
		c.Spec.After = nil
	}
	if c.Kind == ledger.OrderCron {
		c.Schedule, c.Zone = "@hourly", "UTC"
	}
	return c
}

// firstOrder is one that is there from the start.
func (w *world) firstOrder(n byte, kind ledger.OrderKind) ledger.Command {
	c := &ledger.CreateOrder{Order: ledger.OrderID{0: 1, 15: n}, Kind: kind, Overlap: ledger.Overlap(w.n(0, 3, "overlap")), Spec: ledger.JobSpec{
		Tenant: "alder", Module: ledger.ModuleID{31: 1}, Count: uint32(w.n(1, 3, "count")), FuelMax: 10,
		Task: ledger.Resources{MemoryBytes: 10, FuelRate: 5, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 1},
	}}
	if kind == ledger.OrderCron {
		c.Schedule = "@hourly"
	}
	return c
}

func (w *world) fire() ledger.Command {
	c := &ledger.Fire{}
	for range w.n(1, 4, "firings") {
		f := ledger.Firing{Order: w.order()}
		if o, err := ledger.FindOrder(w.a, f.Order); err == nil && o.Kind == ledger.OrderDaemon && w.n(0, 9, "wrong") > 0 {
			f.Node = w.node()
		} else {
			f.At = w.now - second*ledger.Time(w.n(-1, 30, "ago"))
			if err == nil && w.n(0, 3, "again") == 0 {
				f.At = o.LastAt
			}
			f.Late, f.Missed = w.n(0, 3, "late") == 0, uint32(w.n(0, 3, "missed"))
		}
		c.Firings = append(c.Firings, f)
	}
	return c
}

// from returns states in order, mostly.
func (w *world) from() (list []ledger.NodeState) {
	for range w.n(0, 2, "from") {
		list = append(list, ledger.NodeState(w.n(0, 4, "from")))
	}
	return list
}

func (w *world) quota() ledger.Quota {
	q := ledger.Quota{}
	if w.n(0, 1, "bounded") == 0 {
		q = ledger.Quota{FuelTotal: 100_000, MemoryBytes: 500, QueuedTasks: 30_000, Jobs: 4}
	}
	if w.n(0, 1, "bounded by day") == 0 {
		q.FuelPerDay, q.FuelRate = uint64(w.n(0, 100_000, "fuel per day")), uint64(w.n(0, 300, "fuel rate"))
		q.StoredBytes, q.EgressPerDay = uint64(w.n(0, 5000, "stored")), uint64(w.n(0, 1000, "egress"))
	}
	return q
}

func (w *world) submit() ledger.Command { return &ledger.Submit{Job: w.job(), Spec: w.spec()} }

func (w *world) spec() ledger.JobSpec {
	spec := ledger.JobSpec{
		Tenant: w.tenant(), Module: w.module(), Count: rapid.SampledFrom(someCounts).Draw(w.t, "count"), Band: uint8(w.n(0, 4, "band")),
		Task: ledger.Resources{MemoryBytes: 10, FuelRate: 5, Slots: 1}, FuelMax: 10,
		Retry: ledger.Retry{
			AttemptsMax: uint32(w.n(1, 3, "attempts")), LossesMax: uint32(w.n(0, 2, "losses")),
			BackoffNanos: int64(w.n(0, 2, "backoff")) * 1e9, BackoffMaxNanos: 5e9,
		},
		QueueNanos: int64(w.n(0, 1, "queue")) * 100e9, TotalNanos: int64(w.n(0, 1, "total")) * 200e9,
		LossGraceNanos: int64(w.n(0, 1, "grace")) * 20e9, SparesMax: uint32(w.n(0, 3, "spares")), RetentionNanos: rapid.SampledFrom([]int64{0, 60e9, 100_000e9}).Draw(w.t, "retention"),
	}
	switch w.n(0, 3, "condition") {
	case 0:
		spec.AfterAny = true
	case 1, 2:
		spec.AfterOne = true
	}
	for range w.n(0, 3, "dependencies") {
		spec.After = append(spec.After, w.job())
	}
	if w.n(0, 3, "constrained") == 0 {
		spec.Constraints = []ledger.Constraint{{Label: "zone", Value: "a"}}
	}
	if w.n(0, 5, "secret") == 0 {
		spec.Secrets = []ledger.SecretName{"A"}
	}
	if w.n(0, 3, "labelled") == 0 {
		spec.Labels = []ledger.Label{{Name: "purpose", Value: "research"}}
	}
	if w.n(0, 3, "payload") == 0 {
		spec.Payload = []byte("payload")
	}
	return spec
}

func (w *world) place() ledger.Command {
	queue, err := ledger.Queue(w.a, ledger.QueueLimit{})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &ledger.Place{}
	for _, q := range queue {
		for _, r := range q.Ranges {
			if w.n(0, 2, "skip") == 0 {
				continue
			}
			count := uint32(w.n(1, 10000, "tasks"))
			if w.n(0, 1, "few") == 0 {
				count = uint32(w.n(1, 70, "tasks"))
			}
			c.Placements = append(c.Placements, ledger.Placement{
				Job: q.Job.ID, Start: r.Tasks.First + uint32(w.n(0, 20, "off")/20), Count: count, Node: w.node(),
				Slots: min(count, uint32(w.n(1, 20, "slots"))), Expiry: w.now + second*ledger.Time(w.n(0, 60, "expiry")),
				Heed: w.n(0, 1, "heed") == 0, Refusals: uint8(w.n(0, 3, "refusals") / 3),
			})
		}
	}
	return c
}

// spares are second attempts at what is leased, possible and not.
func (w *world) spares() ledger.Command {
	c := &ledger.Place{}
	for n := range 8 {
		id := ledger.JobID{15: byte(n + 1)}
		leases, err := ledger.JobLeases(w.a, id, 0, 0, 3)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases {
			if w.n(0, 2, "spare") > 0 {
				c.Placements = append(c.Placements, ledger.Placement{
					Job: id, Start: l.Open.First + uint32(w.n(0, 3, "task")), Count: 1 + uint32(w.n(0, 20, "count")/20), Node: w.node(), Slots: 1,
					Expiry: w.now + second*ledger.Time(w.n(1, 60, "expiry")), Spare: true,
				})
			}
		}
	}
	return c
}

func (w *world) report() ledger.Command {
	c := &ledger.Report{Node: w.node()}
	named := map[ledger.Epoch]bool{}
	for _, l := range w.leases(c.Node) {
		if named[l.Epoch] {
			continue
		}
		named[l.Epoch] = true
		lr := ledger.LeaseReport{Epoch: l.Epoch}
		for range w.n(0, 4, "runs") {
			run := ledger.Run{
				First: l.Tasks.First + uint32(w.n(0, int(l.Tasks.End-l.Tasks.First), "first")), Count: uint32(w.n(1, 40, "count")),
				State: ledger.TaskState(w.n(int(ledger.TaskSucceeded), int(ledger.TaskRefused), "state")), Terminal: w.n(0, 3, "terminal") == 0, Exit: uint8(w.n(0, 20, "exit")),
			}
			if w.n(0, 1, "rest") == 0 {
				run.First, run.Count = l.Open.First, max(l.Open.Count(), 1)
			}
			run.Usage.Fuel = uint64(w.n(0, 12*int(run.Count), "fuel"))
			if w.n(0, 2, "output") == 0 {
				run.Digest[0] = 1
				run.StoredBytes = uint64(w.n(0, 1000, "stored"))
			}
			if w.n(0, 2, "more") == 0 {
				run.Usage.EgressBytes = uint64(w.n(0, 300, "egress"))
				run.Usage.MemoryByteSeconds = rapid.Uint64().Draw(w.t, "memory")
			}
			lr.Runs = append(lr.Runs, run)
		}
		c.Leases = append(c.Leases, lr)
	}
	w.sign(c)
	return c
}

// key is what a node may register with: n2 never has a key, n3 has another one at times.
func (w *world) key(node ledger.NodeID) [32]byte {
	name := string(node)
	switch {
	case node == "n2":
		return [32]byte{}
	case node == "n3" && w.n(0, 5, "key") == 0:
		name = "other"
	}
	return [32]byte(keyOf(name).Public().(ed25519.PublicKey))
}

// keyOf returns the key of a name.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// sign signs a report, mostly.
func (w *world) sign(c *ledger.Report) {
	if w.n(0, 9, "unsigned") == 0 {
		return
	}
	c.Costs = 1
	if err := c.Sign(func(m []byte) ([]byte, error) { return ed25519.Sign(keyOf(string(c.Node)), m), nil }); err != nil {
		w.t.Fatal(err)
	}
	if w.n(0, 9, "forged") == 0 && len(c.Leases) > 0 && len(c.Leases[0].Runs) > 0 {
		c.Leases[0].Runs[0].Usage.Fuel++
	}
}
