package placement

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// scene is a snapshot in the making.
type scene struct {
	in    Input
	names map[ledger.JobID]string
}

func newScene() *scene {
	s := &scene{in: Input{Now: now, Seed: 1, Params: Default()}, names: map[ledger.JobID]string{}}
	s.in.Params.SampleSize = 0
	return s
}

func (s *scene) step(out *strings.Builder, words []string) error {
	args := words[1:]
	switch words[0] {
	case "node":
		return s.node(args)
	case "job":
		return s.job(args)
	case "quota":
		q := Quota{Tenant: ledger.TenantID(args[0]), MemoryBytes: Unbounded, FuelRate: Unbounded}
		s.in.Quotas = append(s.in.Quotas, q)
		return settings(args[1:], setters{"mem": &s.in.Quotas[len(s.in.Quotas)-1].MemoryBytes, "rate": &s.in.Quotas[len(s.in.Quotas)-1].FuelRate})
	case "claim":
		c := Claim{Tenant: ledger.TenantID(args[0])}
		err := settings(args[1:], setters{
			"weight": &c.Weight, "mem": &c.Leased.MemoryBytes, "fuel": &c.Leased.FuelRate, "slots": &c.Leased.Slots,
			"past":   func(v string) { c.Past = percent(v) },
			"recent": func(v string) { c.Recent = percent(v) },
		})
		s.in.Claims = append(s.in.Claims, c)
		return err
	case "params":
		p := &s.in.Params
		policy := func(v string) { p.Policy = map[string]Policy{"dense": Dense, "loose": Loose}[v] }
		return settings(args, setters{
			"policy": policy, "sample": &p.SampleSize, "placements": &p.PlacementsMax, "per-job": &p.JobPlacementsMax,
			"per-round": &p.RoundPlacementsMax, "tasks-max": &p.TasksMax, "tasks-min": &p.TasksMin, "slots-max": &p.SlotsMax,
			"grain": &p.Grain, "past-max": &p.PastMax, "stages": &p.Stages, "pack": &p.Weights.Pack, "local": &p.Weights.Local, "wait": &p.Weights.Wait,
			"trust": &p.Weights.Trust, "spread": &p.Weights.Spread, "seed": &s.in.Seed,
		})
	case "plan":
		return s.plan(out)
	case "explain":
		for _, j := range s.in.Jobs {
			if s.names[j.ID] == args[0] {
				r := Explain(s.in, j)
				printReasons(out, &r)
				return nil
			}
		}
		return fmt.Errorf("no job %s", args[0])
	}
	return fmt.Errorf("unknown step %q", words[0])
}

// percent reads a share, such as 25%.
func percent(v string) uint64 {
	n, _ := strconv.Atoi(strings.TrimSuffix(v, "%"))
	return uint64(n) * ShareMax / 100
}

func (s *scene) node(args []string) error {
	rec := &ledger.Node{
		ID:       ledger.NodeID(args[0]),
		Capacity: ledger.Resources{MemoryBytes: 8 << 30, FuelRate: 4e9, Slots: 4, ScratchBytes: 8 << 30},
	}
	n := Node{Node: rec, Reliability: 1000, Offer: Offer{DiskBytes: 1 << 30}}
	age, wait, busy := time.Second, time.Duration(0), time.Duration(0)
	free := ledger.Resources{MemoryBytes: 1 << 62, FuelRate: 1 << 62, Slots: 1 << 30, ScratchBytes: 1 << 62}
	err := settings(args[1:], setters{
		"mem": &rec.Capacity.MemoryBytes, "fuel": &rec.Capacity.FuelRate, "slots": &rec.Capacity.Slots, "scratch": &rec.Capacity.ScratchBytes,
		"used-mem": &rec.Reserved.MemoryBytes, "used-fuel": &rec.Reserved.FuelRate, "used-slots": &rec.Reserved.Slots, "used-scratch": &rec.Reserved.ScratchBytes,
		"free-mem": &free.MemoryBytes, "free-slots": &free.Slots,
		"state": func(v string) {
			for state := ledger.NodeUp; state <= ledger.NodeGone; state++ {
				if state.String() == v {
					rec.State = state
				}
			}
		},
		"labels": func(v string) {
			for _, l := range strings.Split(v, ",") {
				name, value, _ := strings.Cut(l, "=")
				rec.Labels = append(rec.Labels, ledger.Label{Name: name, Value: value})
			}
		},
		"features": func(v string) { rec.Features = strings.Split(v, ",") },
		"op":       &n.Operator,
		"allow":    func(v string) { n.Allow = ids[ledger.TenantID](v) },
		"deny":     func(v string) { n.Deny = ids[ledger.TenantID](v) },
		"only":     func(v string) { n.AllowLabels = rules(v) },
		"keep-out": func(v string) { n.DenyLabels = rules(v) },
		"until":    func(v string) { n.Offer.Until = later(v) },
		"changed":  func(v string) { n.Offer.Changed = later(v) },
		"trust":    &n.Reliability, "disk": &n.Offer.DiskBytes, "age": &age, "wait": &wait, "busy": &busy,
		"holds": func(v string) {
			modules := strings.Split(v, ",")
			n.Held = NewFilter(len(modules))
			for _, m := range modules {
				n.Held.Add(sha256.Sum256([]byte(m)))
			}
		},
	})
	n.Offer.At, n.Offer.WaitNanos, n.Offer.Free = now-ledger.Time(age), int64(wait), free
	if busy > 0 {
		n.BusyUntil = now + ledger.Time(busy)
	}
	s.in.Nodes = append(s.in.Nodes, n)
	return err
}

func (s *scene) job(args []string) error {
	spec := &ledger.JobSpec{Tenant: "t", Task: ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1e9, Slots: 1}}
	j := Job{Spec: spec}
	copy(j.ID[:], args[0])
	spec.Module = sha256.Sum256([]byte(args[0]))
	expect, waiting, timeout := time.Second, time.Duration(0), time.Duration(0)
	var avoid []ledger.NodeID
	var ready ledger.Time
	var cause ledger.Cause
	err := settings(args[1:], setters{
		"tenant": func(v string) { spec.Tenant = ledger.TenantID(v) },
		"module": func(v string) { spec.Module = sha256.Sum256([]byte(v)) },
		"size":   &j.ModuleBytes, "band": &spec.Band,
		"mem": &spec.Task.MemoryBytes, "fuel": &spec.Task.FuelRate, "slots": &spec.Task.Slots, "scratch": &spec.Task.ScratchBytes,
		"fuel-max": &spec.FuelMax, "spread": &spec.SpreadLabel, "spread-max": &j.SpreadMax, "expect": &expect, "waiting": &waiting,
		"features": func(v string) { spec.Features = strings.Split(v, ",") },
		"need": func(v string) {
			for _, c := range strings.Split(v, ",") {
				label, value, _ := strings.Cut(c, "=")
				not := strings.HasPrefix(label, "!") || strings.HasSuffix(label, "!")
				spec.Constraints = append(spec.Constraints, ledger.Constraint{Label: strings.Trim(label, "!"), Value: value, Not: not})
			}
		},
		"secret": func(v string) {
			name, nodes, _ := strings.Cut(v, ":")
			j.Bound = append(j.Bound, Bound{ledger.SecretName(name), ids[ledger.NodeID](nodes)})
		},
		"tasks": func(v string) {
			j.Pending = append(j.Pending, ledger.Pending{Tasks: taskRange(v), Avoid: avoid, Cause: cause})
			j.Ready = append(j.Ready, ready)
		},
		"ready":   func(v string) { ready = later(v) },
		"lost":    func(v string) { ready, cause = later(v), ledger.CauseLost },
		"refused": func(v string) { ready, cause = later(v)+ledger.RefusalNanos, ledger.CausePreference },
		"labels": func(v string) {
			for _, r := range rules(v) {
				spec.Labels = append(spec.Labels, ledger.Label(r))
			}
		},
		"timeout": &timeout,
		"avoid":   func(v string) { avoid = ids[ledger.NodeID](v) },
		"running": func(v string) {
			for _, r := range strings.Split(v, ",") {
				value, n, _ := strings.Cut(r, ":")
				slots, _ := strconv.Atoi(n)
				j.Running = append(j.Running, Running{value, uint32(slots)})
			}
		},
	})
	spec.TimeoutNanos = int64(timeout)
	j.ExpectedNanos, j.Since = int64(expect), now-ledger.Time(waiting)
	s.names[j.ID] = args[0]
	s.in.Jobs = append(s.in.Jobs, j)
	return err
}

// later is a time that is so long after that of the scene, or with a minus before.
func later(v string) ledger.Time {
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(err)
	}
	return now + ledger.Time(d)
}

// rules reads "team,purpose=x".
func rules(v string) (out []ledger.LabelRule) {
	for _, r := range strings.Split(v, ",") {
		name, value, _ := strings.Cut(r, "=")
		out = append(out, ledger.LabelRule{Name: name, Value: value})
	}
	return out
}

// taskRange reads "0-9,12".
func taskRange(v string) ledger.Range {
	var r ledger.Range
	for _, part := range strings.Split(v, ",") {
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		a, _ := strconv.Atoi(first)
		b, _ := strconv.Atoi(last)
		r = r.Union(ledger.Tasks(uint32(a), uint32(b)+1))
	}
	return r
}

func (s *scene) plan(out *strings.Builder) error {
	if err := s.in.Params.Validate(); err != nil {
		return err
	}
	plan := Plan(s.in)
	for _, p := range plan.Placements {
		again := ""
		if !p.Heed {
			again = ", although avoided"
		}
		fmt.Fprintf(out, "place %s: %d from %d on %s, %d at a time, lease %v%s\n",
			s.names[p.Job], p.Count, p.Start, p.Node, p.Slots, time.Duration(p.Expiry-now), again)
	}
	for _, l := range plan.Left {
		fmt.Fprintf(out, "left %s: %d\n", s.names[l.Job], l.Tasks)
		printReasons(out, l.Reasons)
	}
	return nil
}

func printReasons(out *strings.Builder, r *Reasons) {
	for _, c := range r.Counts {
		fmt.Fprintf(out, "  %-18s %s\n", c.Code, c)
	}
	for _, h := range r.Help(now) {
		fmt.Fprintf(out, "  help: %s\n", h)
	}
}

// setters are the settings of a line: pointers to numbers, texts and durations,
// or functions.
type setters map[string]any

func settings(args []string, set setters) error {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if err := assign(set[name], value); err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	return nil
}

func assign(to any, value string) error {
	if d, ok := to.(*time.Duration); ok {
		var err error
		*d, err = time.ParseDuration(value)
		return err
	}
	var n uint64
	switch to.(type) {
	case *uint64, *uint32, *uint8, *int:
		number := strings.TrimRight(value, "KMGi")
		scale := map[string]uint64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "K": 1e3, "M": 1e6, "G": 1e9}[value[len(number):]]
		whole, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return err
		}
		n = whole * scale
	}
	switch to := to.(type) {
	case *uint64:
		*to = n
	case *uint32:
		*to = uint32(n)
	case *uint8:
		*to = uint8(n)
	case *int:
		*to = int(n)
	case *string:
		*to = value
	case func(string):
		to(value)
	default:
		return errors.New("no such setting")
	}
	return nil
}

func ids[T ~string](v string) []T {
	var out []T
	for _, id := range strings.Split(v, ",") {
		out = append(out, T(id))
	}
	return out
}
