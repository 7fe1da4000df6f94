package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/jobspec"
)

// fakeGrid answers as a node does, from what a test gives it. Submitted jobs end at
// once.
type fakeGrid struct {
	url string
	// attempt decides how each task ends; nil is well, without output.
	attempt func(job *jobspec.Job, index uint32) fakeTask
	// refusal, if set, is the answer to jobs that are valid.
	refusal *api.Problem
	plan    api.Plan
	why     api.Why

	mu       sync.Mutex
	jobs     []api.Job
	tasks    map[string][]fakeTask
	specs    []*jobspec.Job
	modules  map[string]int
	objects  map[string][]byte
	nodes    []api.Node
	orders   []api.Order
	requests []string
	// parents are the traceparents of submissions.
	parents []string
}

type fakeTask struct {
	api.Task
	stdout, stderr string
}

func newFakeGrid(t *testing.T) *fakeGrid {
	t.Helper()
	f := &fakeGrid{tasks: map[string][]fakeTask{}, modules: map[string]int{}, objects: map[string][]byte{}}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(r *http.Request) (any, *api.Problem){
		"POST /v1/jobs":     f.submit,
		"POST /v1/plans":    func(*http.Request) (any, *api.Problem) { return f.plan, nil },
		"GET /v1/jobs":      f.listJobs,
		"GET /v1/jobs/{id}": func(r *http.Request) (any, *api.Problem) { return f.find(r) },
		"GET /v1/jobs/{id}/why": func(r *http.Request) (any, *api.Problem) {
			_, problem := f.find(r)
			return f.why, problem
		},
		"POST /v1/jobs/{id}/cancel":   f.cancel,
		"GET /v1/orders":              f.listOrders,
		"GET /v1/orders/{id}":         func(r *http.Request) (any, *api.Problem) { return f.order("")(r) },
		"GET /v1/orders/{id}/why":     func(*http.Request) (any, *api.Problem) { return api.Why{Text: "the next run is soon"}, nil },
		"POST /v1/orders/{id}/end":    f.order(api.OrderEnded),
		"POST /v1/orders/{id}/pause":  f.order(api.OrderPaused),
		"POST /v1/orders/{id}/resume": f.order(api.OrderActive),
		"GET /v1/jobs/{id}/tasks":     f.listTasks,
		"POST /v1/modules":            f.pushModule,
		"GET /v1/modules":             f.listModules,
		"GET /v1/modules/{id}":        f.showModule,
		"DELETE /v1/modules/{id}":     f.removeModule,
		"POST /v1/objects":            f.putObject,
		"GET /v1/nodes":               func(*http.Request) (any, *api.Problem) { return api.Nodes{Nodes: f.nodes}, nil },
		"GET /v1/nodes/{id}":          f.node(""),
		"POST /v1/nodes/{id}/drain":   f.node("draining"),
		"POST /v1/nodes/{id}/resume":  f.node("up"),
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			v, problem := answer(r)
			if problem != nil {
				w.WriteHeader(problem.Status)
				v = problem
			}
			if err := json.NewEncoder(w).Encode(v); err != nil {
				t.Error(err)
			}
		})
	}
	mux.HandleFunc("GET /v1/jobs/{id}/stdout", f.output)
	mux.HandleFunc("GET /v1/jobs/{id}/stderr", f.output)
	mux.HandleFunc("GET /v1/jobs/{id}/events", f.events)
	mux.HandleFunc("GET /v1/jobs/{id}/tasks/{task}/logs", f.logs)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/"))
		f.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func unknown(what string) *api.Problem {
	return api.NewProblem(api.CodeNotFound, what+" is not there", "")
}

func (f *fakeGrid) submit(r *http.Request) (any, *api.Problem) {
	f.parents = append(f.parents, r.Header.Get("Traceparent"))
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, api.NewProblem(api.CodeInternal, err.Error(), "")
	}
	job, err := jobspec.Parse(data)
	if err == nil {
		_, err = job.Spec("default")
	}
	if err != nil {
		return nil, api.NewProblem(api.CodeInvalid, err.Error(), "")
	}
	if _, ok := f.modules[job.Module.Object.String()]; !ok {
		return nil, api.NewProblem("module_unknown", job.Module.String(), "push the module first")
	}
	if f.refusal != nil {
		f.specs = append(f.specs, job)
		return nil, f.refusal
	}
	id := r.Header.Get("Idempotency-Key")
	if job.Standing() {
		f.orders = append(f.orders, api.Order{ID: id, Kind: string(job.Kind), State: api.OrderActive, Schedule: job.Schedule})
		return api.Submitted{ID: id, Kind: string(job.Kind)}, nil
	}
	if len(id) != jobIDDigits {
		id = fmt.Sprintf("%x", sha256.Sum256([]byte(id)))[:jobIDDigits]
	}
	j := api.Job{ID: id, Name: job.Name, State: api.JobSucceeded, Count: uint32(job.Count), Created: testTime}
	for i := range j.Count {
		k := fakeTask{Task: api.Task{Index: i, State: "succeeded"}}
		if f.attempt != nil {
			k = f.attempt(job, i)
		}
		k.Index = i
		if k.Result != nil {
			k.Result.StdoutBytes, k.Result.StderrBytes = int64(len(k.stdout)), int64(len(k.stderr))
		}
		f.tasks[id] = append(f.tasks[id], k)
		if k.State == "succeeded" {
			j.Tasks.Succeeded++
		} else {
			j.Tasks.Failed++
			j.State = api.JobFailed
		}
	}
	f.jobs, f.specs = append(f.jobs, j), append(f.specs, job)
	return api.Submitted{ID: id, Index: 7}, nil
}

func (f *fakeGrid) find(r *http.Request) (api.Job, *api.Problem) {
	for _, j := range f.jobs {
		if j.ID == r.PathValue("id") {
			return j, nil
		}
	}
	for _, o := range f.orders {
		if o.ID == r.PathValue("id") {
			return api.Job{}, api.NewProblem(api.CodeIsOrder, o.ID+" is a standing order", "name one of its jobs")
		}
	}
	return api.Job{}, unknown("job")
}

func (f *fakeGrid) listOrders(r *http.Request) (any, *api.Problem) {
	out := api.Orders{Orders: []api.Order{}}
	q := r.URL.Query()
	for _, o := range f.orders {
		if o.ID > q.Get("after") && (o.State == api.OrderEnded) == (q.Get("ended") == "true") {
			out.Orders = append(out.Orders, o)
		}
	}
	return out, nil
}

// order shows an order, or changes its state.
func (f *fakeGrid) order(state string) func(r *http.Request) (any, *api.Problem) {
	return func(r *http.Request) (any, *api.Problem) {
		for i := range f.orders {
			o := &f.orders[i]
			switch {
			case o.ID != r.PathValue("id"):
			case state == "":
				return *o, nil
			default:
				o.State = state
				return api.Submitted{ID: o.ID, Kind: o.Kind}, nil
			}
		}
		return nil, unknown("order")
	}
}

func (f *fakeGrid) listJobs(r *http.Request) (any, *api.Problem) {
	out := api.Jobs{Jobs: []api.Job{}}
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	for _, j := range f.jobs {
		var labels []string
		if q.Get("label") != "" {
			labels = strings.Split(q.Get("label"), ",")
		}
		switch state := q.Get("state"); {
		case !labelled(j.Labels, labels):
		case j.ID <= q.Get("after") || state != "" && j.State != state:
		case len(out.Jobs) == min(limit, 2):
			out.Next = out.Jobs[1].ID
			return out, nil
		default:
			out.Jobs = append(out.Jobs, j)
		}
	}
	return out, nil
}

func (f *fakeGrid) cancel(r *http.Request) (any, *api.Problem) {
	j, problem := f.find(r)
	return api.Submitted{ID: j.ID}, problem
}

func (f *fakeGrid) listTasks(r *http.Request) (any, *api.Problem) {
	out := api.TaskList{Tasks: []api.Task{}}
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("from"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	for _, k := range f.tasks[r.PathValue("id")] {
		switch {
		case int(k.Index) < from || q.Get("state") != "" && k.State != q.Get("state"):
		case len(out.Tasks) == min(limit, 2):
			out.Next = &k.Index
			return out, nil
		default:
			out.Tasks = append(out.Tasks, k.Task)
		}
	}
	return out, nil
}

func (f *fakeGrid) output(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	end, err := strconv.Atoi(r.URL.Query().Get("end"))
	for _, k := range f.tasks[r.PathValue("id")] {
		switch {
		case int(k.Index) < from || err == nil && int(k.Index) >= end || k.Result == nil:
		case strings.HasSuffix(r.URL.Path, "stdout"):
			_, _ = io.WriteString(w, k.stdout)
		default:
			_, _ = io.WriteString(w, k.stderr)
		}
	}
}

// logs tells the output of a task, to whom it is new, in pieces between which all else
// happens that can.
func (f *fakeGrid) logs(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	index, err := strconv.Atoi(r.PathValue("task"))
	tasks := f.tasks[r.PathValue("id")]
	if err != nil || index >= len(tasks) {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(unknown("task"))
		return
	}
	k := tasks[index]
	list := []api.Log{
		{Kind: api.LogAttempt, Node: "n1"},
		{Kind: api.LogOutput, Stream: "stdout", Text: k.stdout[:1]},
		{Kind: api.LogDelayed, Reason: "\x1b[2Jaway"},
		{Kind: api.LogOutput, Stream: "stdout", Base64: []byte(k.stdout[1:])},
		{Kind: api.LogLeftOut, Stream: "stderr", Bytes: 7},
		{Kind: api.LogOutput, Stream: "stderr", Text: k.stderr},
		{Kind: api.LogAttempt, Node: "n2"},
		{Kind: api.LogEnded, State: "succeeded"},
	}
	first := 0
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		_, _ = fmt.Sscan(last, &first)
	}
	for i, l := range list[first:] {
		data, _ := json.Marshal(l)
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", first+i+1, data)
		// The connection is cut once.
		if first == 0 && i == 3 {
			return
		}
	}
}

// events ends all tasks and the job.
func (f *fakeGrid) events(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	for i := range f.tasks[id] {
		f.tasks[id][i].State = "succeeded"
	}
	for i := range f.jobs {
		if f.jobs[i].ID == id {
			f.jobs[i].State, f.jobs[i].Events = api.JobSucceeded, 2
		}
	}
	fmt.Fprintf(w, "data: {\"number\":1,\"kind\":\"ended\",\"count\":%d}\n\ndata: {\"number\":2,\"kind\":\"finished\",\"job\":\"succeeded\"}\n\n", len(f.tasks[id]))
}

func hashed(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func (f *fakeGrid) pushModule(r *http.Request) (any, *api.Problem) {
	b, err := io.ReadAll(r.Body)
	if err != nil || strings.Contains(string(b), "bad") {
		return nil, api.NewProblem(api.CodeRefused, "no module", "build it")
	}
	f.modules[hashed(b)] = len(b)
	return api.Module{Module: hashed(b), Bytes: uint64(len(b))}, nil
}

func (f *fakeGrid) listModules(*http.Request) (any, *api.Problem) {
	out := api.Modules{}
	for _, id := range sortedKeys(f.modules) {
		out.Modules = append(out.Modules, api.Module{Module: id, Bytes: uint64(f.modules[id]), Holders: []string{"n"}})
	}
	return out, nil
}

func (f *fakeGrid) showModule(r *http.Request) (any, *api.Problem) {
	n, ok := f.modules[r.PathValue("id")]
	if !ok {
		return nil, unknown("module")
	}
	return api.Module{Module: r.PathValue("id"), Bytes: uint64(n), Holders: []string{"n"}}, nil
}

func (f *fakeGrid) removeModule(r *http.Request) (any, *api.Problem) {
	if _, problem := f.showModule(r); problem != nil {
		return nil, problem
	}
	delete(f.modules, r.PathValue("id"))
	return struct{}{}, nil
}

func (f *fakeGrid) putObject(r *http.Request) (any, *api.Problem) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, api.NewProblem(api.CodeInternal, err.Error(), "")
	}
	f.objects[hashed(b)] = b
	return api.Object{Object: hashed(b), Bytes: int64(len(b))}, nil
}

func (f *fakeGrid) node(state string) func(r *http.Request) (any, *api.Problem) {
	return func(r *http.Request) (any, *api.Problem) {
		for i := range f.nodes {
			if f.nodes[i].ID != r.PathValue("id") {
				continue
			}
			switch {
			case state != "":
				f.nodes[i].State, f.nodes[i].Until = state, nil
				if r.URL.Query().Get("deadline") != "" {
					f.nodes[i].Until = &testTime
				}
			case f.nodes[i].State == "draining" && f.nodes[i].Leases > 0:
				// Each look finds one lease less.
				f.nodes[i].Leases--
			}
			return f.nodes[i], nil
		}
		return nil, unknown("node")
	}
}

var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
