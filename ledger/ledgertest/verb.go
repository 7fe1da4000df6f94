package ledgertest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// command makes the command of a verb; nil when there is none.
func (a *arguments) command(verb string, parts [][]string) ledger.Command {
	switch verb {
	case "tenant":
		c := a.tenant()
		return &c
	case "quota":
		c := a.tenant()
		return &ledger.SetQuota{Tenant: c.Tenant, Weight: c.Weight, BandMax: c.BandMax, Quota: c.Quota, Only: a.only()}
	case "capabilities":
		return &ledger.SetCapabilities{Tenant: ledger.TenantID(a.word(0)), Add: a.capabilities("add"), Remove: a.capabilities("remove")}
	case "node":
		return a.node()
	case "node-state":
		c := &ledger.SetNodeState{Node: ledger.NodeID(a.word(0)), State: named[ledger.NodeState](a, a.word(1))}
		for _, from := range a.values["from"] {
			c.From = append(c.From, named[ledger.NodeState](a, from))
		}
		c.WithinNanos = a.nanos("within")
		return c
	case "remove-node":
		return &ledger.RemoveNode{Node: ledger.NodeID(a.word(0))}
	case "module":
		return &ledger.PutModule{Module: a.module(a.word(0)), Bytes: a.u64("bytes", 0), Holder: ledger.NodeID(a.text("holder"))}
	case "drop-module":
		return &ledger.DropModule{Module: a.module(a.word(0))}
	case "add-holder":
		return &ledger.AddHolder{Module: a.module(a.word(0)), Node: ledger.NodeID(a.word(1))}
	case "drop-holder":
		return &ledger.DropHolder{Module: a.module(a.word(0)), Node: ledger.NodeID(a.word(1))}
	case "submit":
		return a.submit()
	case "cancel":
		return &ledger.Cancel{Job: a.job(a.word(0))}
	case "place":
		return a.place(parts)
	case "begin":
		return &ledger.Begin{Node: ledger.NodeID(a.word(0)), Epochs: a.epochs()}
	case "renew":
		return &ledger.Renew{Node: ledger.NodeID(a.word(0)), Epochs: a.epochs(), Expiry: a.until()}
	case "report":
		return a.report(parts)
	case "release":
		return &ledger.Release{Node: ledger.NodeID(a.word(0)), Epochs: a.epochs(), Cause: a.cause(), Parts: a.parts()}
	case "refuse":
		return &ledger.RefuseLease{Node: ledger.NodeID(a.word(0)), Epochs: a.epochs(), Cause: a.cause()}
	case "reasons":
		return a.reasons()
	case "tick":
		return &ledger.Tick{}
	case "order":
		return a.order()
	case "order-state":
		return &ledger.SetOrderState{Order: ledger.OrderID(a.job(a.word(0))), State: named[ledger.OrderState](a, a.word(1))}
	case "fire":
		return a.fire(parts)
	case "preempt":
		return &ledger.Preempt{Job: a.job(a.word(0)), Leases: a.leaseNames()}
	case "secret":
		return a.secret()
	case "secret-drop":
		return &ledger.DropSecret{Tenant: ledger.TenantID(a.word(0)), Name: ledger.SecretName(a.word(1))}
	case "secret-wrap":
		return &ledger.WrapSecret{Tenant: ledger.TenantID(a.word(0)), Name: ledger.SecretName(a.word(1)), ID: a.secretID(), Keys: a.secretKeys()}
	case "custodian":
		return &ledger.PutCustodian{Node: ledger.NodeID(a.word(0)), Card: []byte(a.text("card"))}
	case "revoke":
		c := &ledger.Revoke{ID: a.module(a.word(0)), Tenant: ledger.TenantID(a.text("tenant"))}
		if a.text("until") != "" {
			c.Until = a.until()
		}
		return c
	}
	return nil
}

func (a *arguments) cause() ledger.Cause {
	if a.text("cause") == "" {
		return ledger.CauseNone
	}
	return named[ledger.Cause](a, a.text("cause"))
}

func (a *arguments) secret() ledger.Command {
	c := &ledger.PutSecret{
		Tenant: ledger.TenantID(a.word(0)), Name: ledger.SecretName(a.word(1)), ID: a.secretID(), Keys: a.secretKeys(), Value: []byte(a.text("value")),
	}
	for _, n := range a.values["node"] {
		c.Nodes = append(c.Nodes, ledger.NodeID(n))
	}
	return c
}

func (a *arguments) secretID() [16]byte { return [16]byte{15: byte(a.u64("id", 1))} }

// secretKeys are those of custodians, each with its own name for a key.
func (a *arguments) secretKeys() (keys []ledger.SecretKey) {
	for _, n := range a.values["key"] {
		keys = append(keys, ledger.SecretKey{Node: ledger.NodeID(n), Sealed: []byte(n)})
	}
	return keys
}

func (a *arguments) tenant() ledger.CreateTenant {
	return ledger.CreateTenant{
		Tenant: ledger.TenantID(a.word(0)), Weight: a.u32("weight", 1), BandMax: uint8(a.u64("band", 7)),
		Quota: ledger.Quota{
			FuelTotal: a.u64("fuel", 0), MemoryBytes: a.u64("memory", 0), QueuedTasks: a.u64("queued", 0), Jobs: a.u32("jobs", 0),
			FuelPerDay: a.u64("fuel-per-day", 0), FuelRate: a.u64("fuel-rate", 0), StoredBytes: a.u64("stored", 0), EgressPerDay: a.u64("egress-per-day", 0),
		},
	}
}

// quotaFields are the names of the fields of a quota.
var quotaFields = map[string]ledger.QuotaFields{
	"weight": ledger.QuotaWeight, "band": ledger.QuotaBandMax, "fuel": ledger.QuotaFuelTotal, "memory": ledger.QuotaMemoryBytes,
	"queued": ledger.QuotaQueuedTasks, "jobs": ledger.QuotaJobs, "fuel-per-day": ledger.QuotaFuelPerDay, "fuel-rate": ledger.QuotaFuelRate,
	"stored": ledger.QuotaStoredBytes, "egress-per-day": ledger.QuotaEgressPerDay,
}

func (a *arguments) only() (fields ledger.QuotaFields) {
	for _, name := range a.values["only"] {
		if quotaFields[name] == 0 {
			a.fail("field of a quota", name)
		}
		fields |= quotaFields[name]
	}
	return fields
}

func (a *arguments) capabilities(key string) (all ledger.Capabilities) {
	for _, name := range a.values[key] {
		c := ledger.ParseCapability(name)
		if c == 0 {
			a.fail("capability", name)
		}
		all |= c
	}
	return all
}

func (a *arguments) node() ledger.Command {
	c := &ledger.RegisterNode{Node: ledger.NodeID(a.word(0)), Capacity: a.resources(), Features: a.values["feature"]}
	if name := a.text("key"); name != "" {
		c.Key = [32]byte(key(name).Public().(ed25519.PublicKey))
	}
	for _, s := range a.values["label"] {
		name, value, _ := strings.Cut(s, ":")
		c.Labels = append(c.Labels, ledger.Label{Name: name, Value: value})
	}
	return c
}

func (a *arguments) submit() ledger.Command {
	return &ledger.Submit{Job: a.job(a.word(0)), Spec: a.spec()}
}

func (a *arguments) spec() ledger.JobSpec {
	backoff := a.nanos("backoff")
	spec := ledger.JobSpec{
		Tenant: ledger.TenantID(a.text("tenant")), Module: a.module(a.text("module")), Count: a.u32("count", 1), Band: uint8(a.u64("band", 0)),
		Task: a.resources(), FuelMax: a.u64("fuel", 1),
		Retry: ledger.Retry{
			AttemptsMax: a.u32("attempts", 1), LossesMax: a.u32("losses", 0),
			BackoffNanos: backoff, BackoffMaxNanos: max(backoff, a.nanos("backoff-max")),
		},
		QueueNanos: a.nanos("queue"), TotalNanos: a.nanos("total"), LossGraceNanos: a.nanos("grace"),
		Features: a.values["feature"], AfterAny: a.text("after-any") == "true", AfterOne: a.text("after-one") == "true",
		RetentionNanos: a.nanos("retention"), SparesMax: a.u32("spares", 0),
	}
	for _, s := range a.values["secret"] {
		spec.Secrets = append(spec.Secrets, ledger.SecretName(s))
	}
	for _, s := range a.values["need"] {
		label, value, _ := strings.Cut(s, ":")
		spec.Constraints = append(spec.Constraints, ledger.Constraint{Label: label, Value: value})
	}
	for _, s := range a.values["not"] {
		label, value, _ := strings.Cut(s, ":")
		spec.Constraints = append(spec.Constraints, ledger.Constraint{Label: label, Value: value, Not: true})
	}
	for _, name := range a.values["after"] {
		spec.After = append(spec.After, a.job(name))
	}
	if p := a.text("payload"); p != "" {
		spec.Payload = []byte(p)
	}
	return spec
}

func (a *arguments) order() ledger.Command {
	c := &ledger.CreateOrder{
		Order: ledger.OrderID(a.job(a.word(0))), Name: a.text("name"), Schedule: a.text("schedule"), Zone: a.text("zone"), Spec: a.spec(),
	}
	if a.text("kind") != "" {
		c.Kind = named[ledger.OrderKind](a, a.text("kind"))
	}
	if a.text("overlap") != "" {
		c.Overlap = named[ledger.Overlap](a, a.text("overlap"))
	}
	if a.text("catch-up") != "" {
		c.CatchUp = named[ledger.CatchUp](a, a.text("catch-up"))
	}
	return c
}

// fire gives the jobs that may come of it their names: that of the order and the time
// or the node.
func (a *arguments) fire(parts [][]string) ledger.Command {
	c := &ledger.Fire{}
	for _, part := range parts {
		a.read(part)
		f := ledger.Firing{
			Order: ledger.OrderID(a.job(a.word(0))), Late: a.text("late") == "true", Missed: a.u32("missed", 0), Node: ledger.NodeID(a.text("node")),
		}
		if at := a.text("at"); at != "" {
			f.At = start + ledger.Time(a.nanos("at"))
			a.names[ledger.RunJob(f.Order, f.At).String()] = a.word(0) + "@" + at
		}
		c.Firings = append(c.Firings, f)
	}
	return c
}

func (a *arguments) place(parts [][]string) ledger.Command {
	c := &ledger.Place{}
	for _, part := range parts {
		a.read(part)
		first, count := a.span(a.word(1))
		c.Placements = append(c.Placements, ledger.Placement{
			Job: a.job(a.word(0)), Start: first, Count: count, Node: ledger.NodeID(a.word(2)), Slots: a.u32("slots", count), Expiry: a.until(), Heed: a.text("heed") == "true",
			Spare: a.text("spare") == "true",
		})
	}
	return c
}

func (a *arguments) report(parts [][]string) ledger.Command {
	var signer ed25519.PrivateKey
	c := &ledger.Report{Node: ledger.NodeID(parts[0][0])}
	parts[0] = parts[0][1:]
	for _, part := range parts {
		a.read(part)
		var epoch ledger.Epoch
		if _, err := fmt.Sscan(a.word(0), &epoch); err != nil {
			a.fail("epoch", a.word(0))
		}
		run := ledger.Run{
			State: named[ledger.TaskState](a, a.word(2)), Exit: uint8(a.u64("exit", 0)), Terminal: a.text("terminal") == "true",
			Usage:       ledger.Usage{Fuel: a.u64("fuel", 0), MemoryByteSeconds: a.u64("memory", 0), WallNanos: uint64(a.nanos("wall")), EgressBytes: a.u64("egress", 0)},
			StoredBytes: a.u64("stored", 0),
		}
		if name := a.text("key"); name != "" {
			signer = key(name)
		}
		run.First, run.Count = a.span(a.word(1))
		if output := a.text("output"); output != "" {
			run.Digest = a.module(output)
		}
		if n := len(c.Leases); n > 0 && c.Leases[n-1].Epoch == epoch {
			c.Leases[n-1].Runs = append(c.Leases[n-1].Runs, run)
			continue
		}
		c.Leases = append(c.Leases, ledger.LeaseReport{Epoch: epoch, Runs: []ledger.Run{run}})
	}
	if signer != nil {
		_ = c.Sign(func(message []byte) ([]byte, error) { return ed25519.Sign(signer, message), nil })
	}
	return c
}

// key returns the key of a name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (a *arguments) reasons() ledger.Command {
	n := ledger.Note{Job: a.job(a.word(0)), Nodes: a.u32("nodes", 0), Sampled: a.u32("sampled", 0)}
	if a.text("free") != "" {
		n.FreeAt = start + ledger.Time(a.nanos("free"))
	}
	for _, w := range a.words[1:] {
		var r ledger.Reason
		what, numbers, _ := strings.Cut(w, ":")
		if _, err := fmt.Sscanf(numbers, "%d:%d:%d", &r.Nodes, &r.Have, &r.Need); err != nil {
			a.fail("reason", w)
		}
		r.What, r.Detail, _ = strings.Cut(what, "/")
		n.Reasons = append(n.Reasons, r)
	}
	return &ledger.NoteReasons{Notes: []ledger.Note{n}}
}

// looks are the lines of a transcript that are no commands.
var looks = map[string]func(*runner, ledger.Tx, []string) (string, error){
	// at D sets the clock to D after the start.
	"at": func(r *runner, _ ledger.Tx, words []string) (string, error) {
		d, err := time.ParseDuration(words[0])
		r.now = start + ledger.Time(d)
		return "", err
	},
	// task JOB INDEX says where one task stands.
	"task": func(r *runner, tx ledger.Tx, words []string) (string, error) {
		var index uint32
		if _, err := fmt.Sscan(words[1], &index); err != nil {
			return "", err
		}
		t, err := ledger.FindTask(tx, r.job(words[0]), index)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("task %d: %s attempt=%d losses=%d node=%q epoch=%d", index, t.State, t.Attempt, t.Losses, t.Node, t.Epoch)
		if t.SpareEpoch != 0 {
			text += fmt.Sprintf(" spare=%s/%d", t.SpareNode, t.SpareEpoch)
		}
		if t.Cause != ledger.CauseNone {
			text += " cause=" + t.Cause.String()
		}
		if t.Exit != 0 {
			text += fmt.Sprintf(" exit=%d", t.Exit)
		}
		return text, nil
	},
	// tasks JOB lists the tasks of a job by state.
	"tasks": func(r *runner, tx ledger.Tx, words []string) (string, error) {
		var text []string
		for state := ledger.TaskWaiting; state <= ledger.TaskRefused; state++ {
			ranges, err := ledger.TasksIn(tx, r.job(words[0]), state, 0, 100)
			if err != nil {
				return "", err
			}
			for _, tasks := range ranges {
				text = append(text, fmt.Sprintf("%s: %s", state, tasks))
			}
		}
		return strings.Join(text, "\n"), nil
	},
	// bill TENANT DAY says what the tenant's modules have cost on a day.
	"bill": func(_ *runner, tx ledger.Tx, words []string) (string, error) {
		var day uint32
		if _, err := fmt.Sscan(words[1], &day); err != nil {
			return "", err
		}
		list, err := ledger.ModuleUsage(tx, ledger.TenantID(words[0]), day)
		var text []string
		for _, m := range list {
			text = append(text, fmt.Sprintf("module %s fuel=%d memory=%d egress=%d", m.Module, m.Usage.Fuel, m.Usage.MemoryByteSeconds, m.Usage.EgressBytes))
		}
		return strings.Join(text, "\n"), err
	},
	// queue lists what the scheduler would see.
	"queue": func(_ *runner, tx ledger.Tx, _ []string) (string, error) {
		jobs, err := ledger.Queue(tx, ledger.QueueLimit{})
		var text []string
		for _, q := range jobs {
			line := fmt.Sprintf("band %d %s %s:", q.Job.Band, q.Job.Tenant, q.Job.ID)
			for _, p := range q.Ranges {
				line += fmt.Sprintf(" %s avoid=%v", p.Tasks, p.Avoid)
			}
			text = append(text, line)
		}
		return strings.Join(text, "\n"), err
	},
	// events JOB FROM lists what happened to a job.
	"events": func(r *runner, tx ledger.Tx, words []string) (string, error) {
		var from uint32
		if _, err := fmt.Sscan(words[1], &from); err != nil {
			return "", err
		}
		events, err := ledger.Events(tx, r.job(words[0]), from, 1000)
		var text []string
		for _, e := range events {
			line := fmt.Sprintf("%d %s %s", e.Number, e.At, e.Kind)
			if e.Count > 0 {
				line += fmt.Sprintf(" tasks=%d from=%d", e.Count, e.First)
			}
			if e.Node != "" {
				line += fmt.Sprintf(" lease=%s/%d", e.Node, e.Epoch)
			}
			if e.Kind == ledger.EventEnded {
				line += " " + e.State.String()
			}
			if e.Kind == ledger.EventFinished {
				line += " " + e.Job.String()
			}
			if e.Cause != ledger.CauseNone {
				line += " cause=" + e.Cause.String()
			}
			text = append(text, line)
		}
		return strings.Join(text, "\n"), err
	},
}
