package httpd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/shelf"
)

func (s *server) tasks(a huma.API) {
	get(a, "list-tasks", "/jobs/{id}/tasks", "List a job's tasks", "tasks", s.listTasks)
	get(a, "map-tasks", "/jobs/{id}/map", "Count the tasks of each part of a job by state", "tasks", s.mapTasks)
	get(a, "show-task", "/jobs/{id}/tasks/{task}", "Show a task with its result", "tasks", s.showTask)
	huma.Register(a, huma.Operation{
		OperationID: "get-output", Method: http.MethodGet, Path: api.Prefix + "/jobs/{id}/tasks/{task}/{stream}", Summary: "Get what a task has put out", Tags: []string{"tasks"},
		Responses: octets("The stream's bytes"),
	}, s.taskOutput)
	s.logs(a)
	huma.Register(a, huma.Operation{
		OperationID: "get-outputs", Method: http.MethodGet, Path: api.Prefix + "/jobs/{id}/{stream}", Summary: "Get what tasks have put out, one after another", Tags: []string{"tasks"},
		Responses: octets("The streams of the tasks that have ended, in order of index"),
	}, s.jobOutput)
}

type taskQuery struct {
	At
	ID      string `path:"id"`
	From    uint32 `query:"from" doc:"Begin with this task"`
	Limit   int    `query:"limit" minimum:"0"`
	State   string `query:"state" doc:"Only tasks in this state" enum:"waiting,queued,leased,running,unreachable,succeeded,failed,killed,refused,"`
	Results bool   `query:"results" doc:"With the results of those that have ended"`
}

func (s *server) listTasks(ctx context.Context, q *taskQuery) (*answer[api.TaskList], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	out := api.TaskList{Tasks: []api.Task{}}
	limit := page(q.Limit)
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		j, err := who(ctx).job(tx, id)
		if err != nil {
			return err
		}
		indices, err := pick(tx, &j, q.State, q.From, limit+1)
		if err != nil {
			return err
		}
		if len(indices) > limit {
			next := indices[limit]
			out.Next, indices = &next, indices[:limit]
		}
		for _, i := range indices {
			t, err := ledger.FindTask(tx, id, i)
			if err != nil {
				return err
			}
			out.Tasks = append(out.Tasks, translateTask(i, &t))
		}
		return nil
	})
	if err == nil && q.Results {
		err = s.addResults(ctx, id, out.Tasks)
	}
	return &answer[api.TaskList]{out}, err
}

// pick returns the first tasks from one on, all or those in a state.
func pick(tx ledger.Tx, j *ledger.Job, state string, from uint32, limit int) ([]uint32, error) {
	var out []uint32
	take := func(first, end uint32) {
		for i := max(first, from); i < end && len(out) < limit; i++ {
			out = append(out, i)
		}
	}
	if state == "" {
		take(0, j.Count)
		return out, nil
	}
	for st := ledger.TaskWaiting; st <= ledger.TaskRefused; st++ {
		if st.String() != state {
			continue
		}
		ranges, err := ledger.TasksIn(tx, j.ID, st, from, limit)
		if err != nil {
			return nil, err
		}
		for _, r := range ranges {
			r.Runs(take)
		}
	}
	return out, nil
}

func translateTask(index uint32, t *ledger.Task) api.Task {
	out := api.Task{
		Index: index, State: t.State.String(), Attempt: t.Attempt, Losses: t.Losses, Node: string(t.Node), Epoch: uint64(t.Epoch),
		SpareNode: string(t.SpareNode), SpareEpoch: uint64(t.SpareEpoch), Cause: cause(t.Cause), NotBefore: when(t.NotBefore),
	}
	if t.State.Final() {
		out.Exit = class(t.Exit)
	}
	return out
}

// addResults reads the results of tasks that are in order of index.
func (s *server) addResults(ctx context.Context, id ledger.JobID, tasks []api.Task) error {
	for len(tasks) > 0 {
		first := tasks[0].Index
		n := sort.Search(len(tasks), func(i int) bool { return tasks[i].Index-first >= shelf.TasksMax })
		if err := s.addSome(ctx, id, tasks[:n]); err != nil {
			return problem(err)
		}
		tasks = tasks[n:]
	}
	return nil
}

func (s *server) addSome(ctx context.Context, id ledger.JobID, tasks []api.Task) error {
	sh, err := shelf.Open(s.shelf(), id, tasks[0].Index, tasks[len(tasks)-1].Index+1)
	if err != nil {
		return err
	}
	defer sh.Close()
	for i := range tasks {
		r, err := sh.Find(ctx, tasks[i].Index)
		if err != nil {
			return err
		}
		if r != nil {
			tasks[i].Result = translateResult(r)
			tasks[i].Node = r.Node
		}
	}
	return nil
}

type taskPath struct {
	At
	ID   string `path:"id"`
	Task uint32 `path:"task"`
}

func (s *server) showTask(ctx context.Context, q *taskPath) (*answer[api.Task], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var out [1]api.Task
	if _, err := s.read(ctx, q.At, func(tx ledger.Tx) error {
		if _, err := who(ctx).job(tx, id); err != nil {
			return err
		}
		t, err := ledger.FindTask(tx, id, q.Task)
		out[0] = translateTask(q.Task, &t)
		return err
	}); err != nil {
		return nil, err
	}
	if err := s.addResults(ctx, id, out[:]); err != nil {
		return nil, err
	}
	return &answer[api.Task]{out[0]}, nil
}

type outputPath struct {
	ID     string `path:"id"`
	Task   uint32 `path:"task"`
	Stream string `path:"stream" enum:"stdout,stderr"`
}

func (s *server) taskOutput(ctx context.Context, q *outputPath) (*huma.StreamResponse, error) {
	return s.output(ctx, q.ID, q.Stream, q.Task, q.Task+1)
}

type outputsPath struct {
	ID     string `path:"id"`
	Stream string `path:"stream" enum:"stdout,stderr"`
	From   uint32 `query:"from" doc:"Begin with this task"`
	End    uint32 `query:"end" doc:"End before this task; 0 is behind the last"`
}

func (s *server) jobOutput(ctx context.Context, q *outputsPath) (*huma.StreamResponse, error) {
	return s.output(ctx, q.ID, q.Stream, q.From, q.End)
}

// output answers with a stream of the tasks from first to end-1.
func (s *server) output(ctx context.Context, job, stream string, first, end uint32) (*huma.StreamResponse, error) {
	id, err := parseJob(job)
	if err != nil {
		return nil, err
	}
	var count uint32
	if _, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		j, err := who(ctx).job(tx, id)
		count = j.Count
		return err
	}); err != nil {
		return nil, err
	}
	if first >= count {
		return nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("job %s has no task %d: it has %d", job, first, count), "")
	}
	if end == 0 || end > count {
		end = count
	}
	return s.stream(-1, func(w io.Writer) error {
		return shelf.Copy(ctx, s.shelf(), w, id, shelf.Stream(stream), first, end)
	}), nil
}

// shelf is where results are.
func (s *server) shelf() shelf.Config {
	return shelf.Config{Ledger: s.Ledger, Objects: s.Objects, Holders: s.Copies.Holders, Wait: shelf.DefaultWait, FetchTimeout: fetchTimeout}
}

func translateResult(r *shelf.Result) *api.Result {
	o := &r.Outcome
	out := &api.Result{
		Node: r.Node, Kind: string(o.Kind), ExitCode: o.ExitCode, Message: o.Message,
		Fuel: o.Usage.Fuel, MemoryBytes: o.Usage.MemoryPeakBytes, WallSeconds: o.Usage.WallTime.Seconds(),
		StdoutBytes: r.StdoutBytes, StderrBytes: r.StderrBytes, EgressBytes: o.Usage.EgressBytes, Object: "sha256:" + r.Object.String(),
	}
	if o.Trap != nil {
		out.Trap = string(o.Trap.Kind)
	}
	for _, frame := range o.Stack {
		out.Stack = append(out.Stack, frame.Function)
	}
	for _, l := range o.LimitsHit {
		out.LimitsHit = append(out.LimitsHit, l.Name)
	}
	return out
}
