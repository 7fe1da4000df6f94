package httpd

import (
	"reflect"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/jobspec"
)

// when returns a time of the ledger; nil for one that is not yet.
func when(t ledger.Time) *time.Time {
	if t == 0 {
		return nil
	}
	w := time.Unix(0, int64(t)).UTC()
	return &w
}

// cause names a cause; none has no name.
func cause(c ledger.Cause) string {
	if c == ledger.CauseNone {
		return ""
	}
	return c.String()
}

func tally(t ledger.Tally) api.Tasks {
	return api.Tasks{
		Waiting: t[ledger.TaskWaiting], Queued: t[ledger.TaskQueued], Leased: t[ledger.TaskLeased], Running: t[ledger.TaskRunning],
		Unreachable: t[ledger.TaskUnreachable], Succeeded: t[ledger.TaskSucceeded], Failed: t[ledger.TaskFailed],
		Killed: t[ledger.TaskKilled], Refused: t[ledger.TaskRefused],
	}
}

// wallSeconds is also right for sums beyond what a duration holds.
func wallSeconds(nanos uint64) float64 { return float64(nanos) / float64(time.Second) }

func usage(u ledger.Usage) api.Usage {
	return api.Usage{Fuel: u.Fuel, MemoryByteSeconds: u.MemoryByteSeconds, WallSeconds: wallSeconds(u.WallNanos), EgressBytes: u.EgressBytes}
}

// module is how modules are named in JSON.
func module(m ledger.ModuleID) string { return "sha256:" + m.String() }

// readJob puts a job together from its records.
func readJob(tx ledger.Tx, j *ledger.Job) (api.Job, error) {
	spec, err := ledger.FindSpec(tx, j.ID)
	if err != nil {
		return api.Job{}, err
	}
	out := api.Job{
		ID: j.ID.String(), Tenant: string(j.Tenant), Module: module(spec.Module), State: j.State.String(), Cause: cause(j.Cause),
		Band: j.Band, Count: j.Count, Tasks: tally(j.Tasks), Created: *when(j.Created), Queued: when(j.Queued), Placed: when(j.Placed),
		Stopped: when(j.Stopped), Finished: when(j.Finished), Usage: usage(j.Usage), Spares: j.Spares, Events: j.Events, Labels: labels(&spec),
	}
	out.RetentionSeconds = uint64(time.Duration(spec.Retention()) / time.Second)
	if j.State.Final() {
		out.KeptUntil = when(j.Finished + spec.Retention())
	}
	if j.Blame != (ledger.JobID{}) {
		out.Blame = j.Blame.String()
	}
	switch order, made, err := ledger.MadeBy(tx, j.ID); {
	case err != nil:
		return api.Job{}, err
	case made:
		out.Order = order.String()
	}
	// A payload that this version cannot read is of a later one: the job is shown
	// without its name.
	if p, err := jobspec.DecodeProgram(spec.Payload); err == nil {
		out.Name, out.Reads = p.Name, reads(p)
	}
	return out, nil
}

// labels are a job's as JSON has them.
func labels(spec *ledger.JobSpec) map[string]string {
	if len(spec.Labels) == 0 {
		return nil
	}
	out := make(map[string]string, len(spec.Labels))
	for _, l := range spec.Labels {
		out[l.Name] = l.Value
	}
	return out
}

// reads lists what a program takes of other jobs.
func reads(p *jobspec.Program) (list []api.Read) {
	add := func(name string, s *jobspec.Source) {
		if s.Job != (ledger.JobID{}) {
			list = append(list, api.Read{Job: s.Job.String(), Stream: string(s.Stream), Input: name, Lines: s.Lines})
		}
	}
	if p.Stdin != nil {
		add("", p.Stdin)
	}
	for i := range p.Inputs {
		add(p.Inputs[i].Name, &p.Inputs[i].Source)
	}
	return list
}

func event(e *ledger.Event) api.Event {
	out := api.Event{
		Number: e.Number, At: *when(max(e.At, 1)), Kind: e.Kind.String(), First: e.First, Count: e.Count,
		Node: string(e.Node), Epoch: uint64(e.Epoch), Cause: cause(e.Cause), Until: when(e.Until), Band: e.Band,
	}
	switch e.Kind {
	case ledger.EventEnded:
		out.State, out.Exit = e.State.String(), class(e.Exit)
	case ledger.EventFinished:
		out.Job = e.Job.String()
	}
	return out
}

func resources(r ledger.Resources) api.Resources {
	return api.Resources{MemoryBytes: r.MemoryBytes, FuelRate: r.FuelRate, Slots: r.Slots, ScratchBytes: r.ScratchBytes}
}

// eventType is an event's, for the description of its stream.
var eventType = reflect.TypeFor[api.Event]()

// logType is the same for what a task puts out.
var logType = reflect.TypeFor[api.Log]()

// class names a class of exits; that of tasks that ended well has no name.
func class(exit uint8) string {
	if executor.Class(exit) == executor.ClassNone {
		return ""
	}
	return executor.Class(exit).String()
}
