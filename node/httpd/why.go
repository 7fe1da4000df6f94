package httpd

import (
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

// why says what a job waits for, from what the planner has noted.
func (s *server) why(ctx context.Context, q *showQuery) (*answer[api.Why], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var out api.Why
	var task *uint32
	_, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		j, err := who(ctx).job(tx, id)
		if err != nil {
			return err
		}
		out = api.Why{Job: q.ID, State: j.State.String()}
		if err := explain(tx, &j, &out); err != nil {
			return err
		}
		task, err = failedTask(tx, &j)
		return err
	})
	if err != nil || task == nil {
		return &answer[api.Why]{out}, err
	}
	if words := s.lastWords(ctx, id, *task); words != "" {
		if out.State == api.JobFailed {
			out.Text = "the job has failed"
		}
		out.Text += ": " + words
	}
	return &answer[api.Why]{out}, nil
}

// failedTask returns the first task to tell about of a job that has failed or waits
// for the next attempt at one; nil is none.
func failedTask(tx ledger.Tx, j *ledger.Job) (*uint32, error) {
	if j.State == ledger.JobFailed {
		for _, state := range []ledger.TaskState{ledger.TaskRefused, ledger.TaskFailed} {
			list, err := ledger.TasksIn(tx, j.ID, state, 0, 1)
			if err != nil || len(list) > 0 {
				return firstOf(list), err
			}
		}
	}
	if j.State == ledger.JobActive {
		list, err := ledger.PendingOf(tx, j.ID, 1)
		if err == nil && len(list) > 0 && list[0].Attempt > 0 {
			return &list[0].Tasks.First, nil
		}
		return nil, err
	}
	return nil, nil
}

func firstOf(list []ledger.Range) *uint32 {
	if len(list) == 0 {
		return nil
	}
	return &list[0].First
}

// lastWords says how the last attempt at a task ended; nothing when its result
// cannot be had now.
func (s *server) lastWords(ctx context.Context, job ledger.JobID, index uint32) string {
	task := []api.Task{{Index: index}}
	if err := s.addResults(ctx, job, task); err != nil || task[0].Result == nil {
		return ""
	}
	r := task[0].Result
	how := r.Kind
	if r.Kind == "exited" {
		how = fmt.Sprintf("exit code %d", r.ExitCode)
	}
	if r.Message != "" {
		how += ": " + r.Message
	}
	return fmt.Sprintf("the last attempt at task %d ended with %s", index, how)
}

func explain(tx ledger.Tx, j *ledger.Job, out *api.Why) error {
	switch {
	case j.State == ledger.JobWaiting:
		return explainWaiting(tx, j, out)
	case j.State.Final() || j.State == ledger.JobStopping:
		out.Text = fmt.Sprintf("its state is %s: it waits for no node", j.State)
		if j.Cause != ledger.CauseNone {
			out.Text += ", because of " + j.Cause.String()
		}
		return nil
	}
	reasons, err := ledger.FindReasons(tx, j.ID)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return explainActive(tx, j, out)
	case err != nil:
		return err
	case j.Tasks[ledger.TaskQueued] == 0:
		// What was noted for the last that waited stays until the next is noted.
		return explainActive(tx, j, out)
	}
	out.Since, out.Nodes, out.Sampled, out.FreeAt = when(reasons.At), reasons.Nodes, reasons.Sampled, when(reasons.FreeAt)
	for _, r := range reasons.List {
		out.Reasons = append(out.Reasons, Reason(r))
	}
	out.Text = fmt.Sprintf("%d tasks wait for a node that can take them: %d nodes were passed over", j.Tasks[ledger.TaskQueued], reasons.Nodes)
	if reasons.Nodes == 0 {
		out.Text = fmt.Sprintf("%d tasks wait, and the grid has no nodes that run tasks", j.Tasks[ledger.TaskQueued])
	}
	if err := explainHTTP(tx, j, &reasons, out); err != nil {
		return err
	}
	return explainPreempted(tx, j, out)
}

// explainHTTP says when tenant and job are agreed that guests make HTTP requests, and
// only operators are missing; or that the tenant, which was allowed to, is not any more.
func explainHTTP(tx ledger.Tx, j *ledger.Job, reasons *ledger.Reasons, out *api.Why) error {
	wanting := uint32(0)
	for _, r := range reasons.List {
		switch {
		case r.What == "feature" && r.Detail == ledger.FeatureHTTP:
			wanting += r.Nodes
		case r.What != "node-state" && r.What != "offer-stale":
			return nil
		}
	}
	if wanting == 0 {
		return nil
	}
	t, err := ledger.FindTenant(tx, j.Tenant)
	switch {
	case err != nil:
		return err
	case t.Capabilities&ledger.CapabilityHTTP == 0:
		out.Text += fmt.Sprintf("; nor may the tenant make HTTP requests any more: ask the grid's admin for dugnad tenant allow %s %s", t.ID, ledger.FeatureHTTP)
	default:
		out.Text += fmt.Sprintf("; tenant and job may make HTTP requests, only operators are missing: none of the %d nodes that are up allows it", wanting)
	}
	return nil
}

// preemptedLook is how many of a job's ranges are looked at for one that gave way.
const preemptedLook = 64

// explainPreempted says when tasks wait that gave way to a higher band.
func explainPreempted(tx ledger.Tx, j *ledger.Job, out *api.Why) error {
	pending, err := ledger.PendingOf(tx, j.ID, preemptedLook)
	if err != nil {
		return err
	}
	tasks, band := uint32(0), uint8(0)
	for i := range pending {
		if p := &pending[i]; p.Cause == ledger.CausePreempted {
			tasks, band = tasks+p.Tasks.Count(), max(band, p.For)
		}
	}
	if tasks > 0 {
		out.Text += fmt.Sprintf("; %d of them were preempted for a job of band %d, which counts as no attempt", tasks, band)
	}
	return nil
}

// explainWaiting names the jobs that have not ended.
func explainWaiting(tx ledger.Tx, j *ledger.Job, out *api.Why) error {
	spec, err := ledger.FindSpec(tx, j.ID)
	if err != nil {
		return err
	}
	for _, id := range spec.After {
		if dep, err := ledger.FindJob(tx, id); err == nil && !dep.State.Final() {
			out.After = append(out.After, id.String())
		}
	}
	out.Text = fmt.Sprintf("it comes after %d jobs that have not ended", len(out.After))
	if spec.AfterOne {
		out.Text = fmt.Sprintf("it comes after any of %d jobs, of which none has succeeded yet: %d still can", len(spec.After), len(out.After))
	}
	return nil
}

// explainActive says what an active job does for which nothing was noted.
func explainActive(tx ledger.Tx, j *ledger.Job, out *api.Why) error {
	queued, busy := j.Tasks[ledger.TaskQueued], j.Tasks[ledger.TaskLeased]+j.Tasks[ledger.TaskRunning]
	switch {
	case queued == 0 && j.Tasks[ledger.TaskUnreachable] > 0:
		out.Text = fmt.Sprintf("%d tasks are on nodes that do not answer: they are queued again when their grace is over", j.Tasks[ledger.TaskUnreachable])
	case queued == 0:
		out.Text = fmt.Sprintf("nothing waits: %d tasks are on nodes", busy)
	default:
		pending, err := ledger.PendingOf(tx, j.ID, 1)
		if err != nil {
			return err
		}
		if len(pending) > 0 && pending[0].Phase == ledger.PhaseBackoff {
			out.FreeAt = when(pending[0].NotBefore)
			out.Text = fmt.Sprintf("%d tasks wait for their next attempt", queued)
			return nil
		}
		out.Text = fmt.Sprintf("%d tasks are about to be placed", queued)
		return explainPreempted(tx, j, out)
	}
	return nil
}

// helps says what would help against a reason; the names are the planner's.
var helps = map[string]string{
	"node-state":            "wait until nodes are back, or resume those that drain: dugnad node ls",
	"offer-stale":           "these nodes were not heard of lately: look at their connection",
	"feature":               "ask for no feature that no node has, or add nodes that have it",
	"label":                 "change the constraint, or label nodes",
	"job-label-denied":      "submit the job without the label, or ask the operators of these nodes",
	"job-label-not-allowed": "give the job a label that the operators of these nodes let in, or ask them",
	"power-off":             "the machines are switched off (power_off) before a task has ended for sure: set a shorter timeout (limits.timeout), or wait until they are back",
	"secret":                "set the secret for other nodes, or for all (dugnad secret set), or change the constraint",
	"tenant-denied":         "ask the operators, or other ones",
	"tenant-not-allowed":    "ask the operators, or other ones",
	"small-memory":          "ask for less memory per task, or add larger nodes",
	"small-fuel-rate":       "ask for a lower fuel rate per task, or add faster nodes",
	"small-slots":           "ask for fewer slots per task, or add larger nodes",
	"small-scratch":         "ask for less scratch per task, or add larger nodes",
	"full-memory":           "wait until tasks end, or add nodes",
	"full-fuel-rate":        "wait until tasks end, or add nodes",
	"full-slots":            "wait until tasks end, or add nodes",
	"full-scratch":          "wait until tasks end, or add nodes",
	"disk":                  "the nodes need room for the module",
	"avoided":               "an attempt failed there: it waits for another node, and goes back there after a while",
	"spread":                "the job's tasks are spread: add nodes with other values of the label",
	"quota":                 "wait until running tasks end, or raise the tenant's quota",
}

// Reason translates a reason.
func Reason(r ledger.Reason) api.Reason {
	help := helps[r.What]
	if r.What == "feature" && r.Detail == ledger.FeatureHTTP {
		help = "the operator does not allow outbound HTTP: ask one to start a node with --allow-http"
	}
	return api.Reason{What: r.What, Detail: r.Detail, Nodes: r.Nodes, Need: r.Need, Have: r.Have, Help: help}
}
