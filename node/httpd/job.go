package httpd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/jobspec"
)

// The operation that submits a job, and where.
const (
	submitJob = "submit-job"
	jobsPath  = api.Prefix + "/jobs"
)

// jobs registers what is done with jobs.
func (s *server) jobs(a huma.API) {
	submit := huma.Operation{
		OperationID: submitJob, Method: http.MethodPost, Path: jobsPath, Summary: "Submit a job", Tags: []string{"jobs"},
		Description:   "The body is a job file, in JSON or YAML. When the answer is there the job is not lost any more. A file of kind cron or daemon makes a standing order.",
		DefaultStatus: http.StatusCreated, MaxBodyBytes: api.JobBytesMax,
	}
	huma.Register(a, submit, s.submit)
	huma.Register(a, huma.Operation{
		OperationID: "plan-job", Method: http.MethodPost, Path: api.Prefix + "/plans", Summary: "Say what would become of a job", Tags: []string{"jobs"},
		Description: "The body is a job file, as for a submission. Nothing is submitted.", MaxBodyBytes: api.JobBytesMax,
	}, s.plan)
	get(a, "list-jobs", "/jobs", "List jobs", "jobs", s.listJobs)
	get(a, "show-job", "/jobs/{id}", "Show a job, or wait until it has ended", "jobs", s.showJob)
	get(a, "explain-job", "/jobs/{id}/why", "Say what a job waits for", "jobs", s.why)
	huma.Register(a, huma.Operation{
		OperationID: "cancel-job", Method: http.MethodPost, Path: api.Prefix + "/jobs/{id}/cancel", Summary: "Stop a job", Tags: []string{"jobs"},
	}, s.cancel)
	huma.Register(a, huma.Operation{
		OperationID: "job-schema", Method: http.MethodGet, Path: api.Prefix + "/schema/job", Summary: "JSON schema of a job file", Tags: []string{"jobs"},
	}, func(context.Context, *struct{}) (*raw, error) {
		return &raw{ContentType: "application/schema+json", Body: jobspec.Schema()}, nil
	})
	s.events(a)
	s.orders(a)
}

// get registers an operation that reads.
func get[I, O any](a huma.API, id, path, summary, tag string, f func(context.Context, *I) (*O, error)) {
	huma.Register(a, huma.Operation{OperationID: id, Method: http.MethodGet, Path: api.Prefix + path, Summary: summary, Tags: []string{tag}}, f)
}

// raw is an answer that is bytes.
type raw struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// answer is one with a body.
type answer[T any] struct{ Body T }

type submission struct {
	Key     string `header:"Idempotency-Key" doc:"The same key gives the same job: 32 hexadecimal digits are its id, anything else up to 256 bytes makes one" maxLength:"256"`
	Parent  string `header:"Traceparent" doc:"The client's trace, as W3C Trace Context has it, to which the job's spans are added when its node traces jobs; others are ignored" maxLength:"256"`
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) submit(ctx context.Context, in *submission) (*answer[api.Submitted], error) {
	began := time.Now()
	job, spec, err := s.spec(ctx, in.RawBody)
	if err != nil {
		return nil, err
	}
	if job.Standing() {
		return s.submitOrder(ctx, job, in.Key)
	}
	id, err := jobID(who(ctx).Tenant, in.Key)
	if err != nil {
		return nil, problem(err)
	}
	if in.Key != "" {
		if err := s.vacant(ctx, id, true); err != nil {
			return nil, err
		}
	}
	if err := s.stillShort(ctx, id, &spec); err != nil {
		return nil, err
	}
	if s.Spans == nil {
		return s.accept(ctx, &ledger.Submit{Job: id, Spec: spec}, api.Submitted{ID: id.String()}, ledger.CodeJobExists, in.Key)
	}
	trace := s.trace(&spec, id, in.Parent)
	admitted := time.Now()
	out, err := s.accept(ctx, &ledger.Submit{Job: id, Spec: spec}, api.Submitted{ID: id.String()}, ledger.CodeJobExists, in.Key)
	if err == nil && !out.Body.Known {
		s.traceSubmitted(trace, &spec, began, admitted)
	}
	return out, err
}

// accept proposes what was submitted. That it exists already is well when a key says
// that it may.
func (s *server) accept(ctx context.Context, c ledger.Command, out api.Submitted, exists ledger.Code, key string) (*answer[api.Submitted], error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	r, index, err := s.Ledger.Do(ctx, c)
	out.Index = index
	switch {
	case err != nil:
		return nil, problem(err)
	case r.Code == exists && key != "":
		if err := s.mine(ctx, out.ID, exists, index); err != nil {
			return nil, err
		}
		out.Known = true
	case r.Code != ledger.CodeOK:
		return nil, s.refuseTenant(who(ctx).Tenant, r)
	default:
		s.short.over(who(ctx).Tenant)
		s.settle(ctx, index)
	}
	return &answer[api.Submitted]{out}, nil
}

// mine returns a problem when what exists already is another tenant's.
func (s *server) mine(ctx context.Context, id string, exists ledger.Code, index uint64) error {
	known, err := parseJob(id)
	if err != nil {
		return err
	}
	_, err = s.read(ctx, At{Index: index}, func(tx ledger.Tx) error {
		if exists == ledger.CodeOrderExists {
			_, err = who(ctx).order(tx, ledger.OrderID(known))
		} else {
			_, err = who(ctx).job(tx, known)
		}
		return err
	})
	var p *api.Problem
	if errors.As(err, &p) && p.Code == api.CodeNotFound {
		return refusal(ledger.Result{Code: exists, What: id})
	}
	return err
}

// spec reads a job file, and what its job is to the ledger.
func (s *server) spec(ctx context.Context, file []byte) (*jobspec.Job, ledger.JobSpec, error) {
	job, err := jobspec.Parse(file)
	var spec ledger.JobSpec
	if err == nil {
		spec, err = job.Spec(who(ctx).Tenant)
	}
	if err != nil {
		return nil, spec, mistakes(err)
	}
	if err := s.within(ctx, &spec); err != nil {
		return nil, spec, err
	}
	if err := s.known(ctx, &spec); err != nil {
		return nil, spec, err
	}
	return job, spec, s.granted(ctx, job, &spec)
}

// within returns a problem when a token for some modules is not for those of a job:
// its own, and those of the jobs that it may read the outputs of.
func (s *server) within(ctx context.Context, spec *ledger.JobSpec) error {
	a := who(ctx)
	if a.Modules == nil {
		return nil
	}
	if err := a.module(spec.Module); err != nil || len(spec.After) == 0 {
		return err
	}
	_, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		for _, id := range spec.After {
			if _, err := a.job(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// mistakes turns what is wrong in a job file into a problem.
func mistakes(err error) *api.Problem {
	p := api.NewProblem(api.CodeInvalid, "the job file is not valid", "")
	var list jobspec.Errors
	if !errors.As(err, &list) {
		p.Detail = err.Error()
		return p
	}
	for _, e := range list {
		p.Errors = append(p.Errors, api.Mistake{Line: e.Line, Column: e.Column, Field: e.Field, Message: e.Message, Help: e.Help})
	}
	return p
}

// jobID makes an id that sorts by time, or the one that belongs to a key.
func jobID(tenant ledger.TenantID, key string) (id ledger.JobID, err error) {
	if key != "" {
		if id, err = ledger.ParseJobID(key); err == nil {
			return id, nil
		}
		sum := sha256.Sum256([]byte("dugnad idempotency key v1\n" + string(tenant) + "\n" + key))
		copy(id[:], sum[:])
		return id, nil
	}
	return newJobID()
}

// newJobID makes an id that sorts by time.
func newJobID() (id ledger.JobID, err error) {
	_, err = rand.Read(id[6:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], ms[2:])
	return id, err
}

type planned struct {
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) plan(ctx context.Context, in *planned) (*answer[api.Plan], error) {
	job, spec, err := s.spec(ctx, in.RawBody)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	p, err := s.Grid.Explain(ctx, spec)
	if err != nil {
		return nil, problem(err)
	}
	if job.Kind == jobspec.KindCron {
		o := ledger.Order{Kind: ledger.OrderCron, Schedule: job.Schedule, Zone: job.Timezone}
		p.Next = coming(&o, time.Now(), nextRuns)
	}
	return &answer[api.Plan]{p}, nil
}

type jobQuery struct {
	At
	After string `query:"after" doc:"Continue behind this job"`
	Limit int    `query:"limit" minimum:"0" doc:"At most so many"`
	// Newest turns the order round; ids that were made from a key lie anywhere.
	Newest bool   `query:"newest" doc:"The latest first: in descending order of id, which begins with the time of submission. After then continues with older ones"`
	State  string `query:"state" doc:"Only jobs in this state" enum:"waiting,active,stopping,succeeded,failed,killed,"`
	// Labels are rules as operators write them.
	Labels []string `query:"label" doc:"Only jobs with these labels, each as NAME or NAME=VALUE"`
}

// wanted is what a list of jobs is narrowed to.
type wanted struct {
	state  string
	labels []ledger.LabelRule
}

func (q *jobQuery) wanted() (w wanted, err error) {
	w.state = q.State
	if len(q.Labels) > ledger.JobLabelsMax {
		return w, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%d labels are asked for, at most %d", len(q.Labels), ledger.JobLabelsMax), "ask for less")
	}
	for _, text := range q.Labels {
		name, value, given := strings.Cut(text, "=")
		if !ledger.ValidJobLabel(name) || given && !ledger.ValidJobLabel(value) {
			return w, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%q is no label", text), "write NAME or NAME=VALUE, each "+jobspec.LabelForm)
		}
		w.labels = append(w.labels, ledger.LabelRule{Name: name, Value: value})
	}
	return w, nil
}

// has reports whether a job is in the state, of which an empty one is any, and has the
// labels.
func (w *wanted) has(tx ledger.Tx, job *ledger.Job) (bool, error) {
	if w.state != "" && job.State.String() != w.state {
		return false, nil
	}
	if len(w.labels) == 0 {
		return true, nil
	}
	spec, err := ledger.FindSpec(tx, job.ID)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(w.labels, func(r ledger.LabelRule) bool { return !r.Covers(spec.Labels) }), nil
}

// listScanMax bounds the jobs that one request for a page looks at.
const listScanMax = 10_000

func (s *server) listJobs(ctx context.Context, q *jobQuery) (*answer[api.Jobs], error) {
	after, err := optionalJob(q.After)
	if err != nil {
		return nil, err
	}
	want, err := q.wanted()
	if err != nil {
		return nil, err
	}
	out := api.Jobs{Jobs: []api.Job{}}
	a, limit := who(ctx), page(q.Limit)
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		if q.Newest {
			return listNewest(tx, a, after, limit, &want, &out)
		}
		for looked := 0; ; {
			list, err := ledger.JobsOf(tx, a.Tenant, after, limit)
			if err != nil {
				return err
			}
			for i := range list {
				after = list[i].ID
				looked++
				if full, err := a.addJob(tx, &list[i], &want, limit, &out); err != nil || full {
					return err
				}
			}
			if len(list) < limit {
				return nil
			}
			if looked >= listScanMax {
				out.Next = after.String()
				return nil
			}
		}
	})
	return &answer[api.Jobs]{out}, err
}

// addJob adds a job to a page when it is wanted and the asker sees it. A page that is full
// goes on behind that job.
func (a *asker) addJob(tx ledger.Tx, job *ledger.Job, want *wanted, limit int, out *api.Jobs) (full bool, _ error) {
	if ok, err := want.has(tx, job); err != nil || !ok {
		return false, err
	}
	if ok, err := a.sees(tx, job); err != nil || !ok {
		return false, err
	}
	j, err := readJob(tx, job)
	if err != nil {
		return false, err
	}
	if out.Jobs = append(out.Jobs, j); len(out.Jobs) < limit {
		return false, nil
	}
	out.Next = job.ID.String()
	return true, nil
}

// optionalJob reads a job's id; an empty one is none.
func optionalJob(text string) (ledger.JobID, error) {
	if text == "" {
		return ledger.JobID{}, nil
	}
	return parseJob(text)
}

func parseJob(text string) (ledger.JobID, error) {
	id, err := ledger.ParseJobID(text)
	if err != nil {
		return id, api.NewProblem(api.CodeInvalid, err.Error(), "")
	}
	return id, nil
}

type showQuery struct {
	At
	ID   string `path:"id"`
	Wait int    `query:"wait" minimum:"0" maximum:"300" doc:"Answer when the job has ended, or after so many seconds"`
}

func (s *server) showJob(ctx context.Context, q *showQuery) (*answer[api.Job], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var out api.Job
	look := func(tx ledger.Tx) error {
		j, err := who(ctx).job(tx, id)
		if err == nil {
			out, err = readJob(tx, &j)
		}
		return err
	}
	if out.Index, err = s.read(ctx, q.At, look); err != nil {
		return nil, err
	}
	if q.Wait == 0 || out.Final() {
		return &answer[api.Job]{out}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, time.Duration(q.Wait)*time.Second)
	defer cancel()
	err = s.follow(waiting, id, out.Index, func() (bool, error) {
		index, err := s.Ledger.View(look)
		out.Index = index
		return out.Final(), err
	})
	if err != nil && waiting.Err() == nil {
		return nil, problem(err)
	}
	return &answer[api.Job]{out}, nil
}

// errSeen ends a watch that has seen what it waited for.
var errSeen = errors.New("seen")

// follow calls look whenever something happens to a job behind an index, until
// look says that it is done.
func (s *server) follow(ctx context.Context, id ledger.JobID, from uint64, look func() (bool, error)) error {
	for {
		err := s.Ledger.Watch(ctx, ledger.EventPrefix(id), from, func(_ uint64, changes []replica.Change) error {
			if len(changes) == 0 {
				return nil
			}
			done, err := look()
			if err == nil && done {
				err = errSeen
			}
			return err
		})
		switch {
		case errors.Is(err, errSeen):
			return nil
		case !errors.Is(err, replica.ErrTooOld):
			return err
		}
		// What happens behind the index that is taken first is watched.
		if from, err = s.Ledger.View(func(ledger.Tx) error { return nil }); err != nil {
			return err
		}
		if done, err := look(); err != nil || done {
			return err
		}
	}
}

// job returns a job of the asker's; those of others are not there.
func (a *asker) job(tx ledger.Tx, id ledger.JobID) (ledger.Job, error) {
	if err := a.live(tx); err != nil {
		return ledger.Job{}, err
	}
	j, err := ledger.FindJob(tx, id)
	if err == nil {
		var ok bool
		if ok, err = a.sees(tx, &j); err == nil && !ok {
			j, err = ledger.Job{}, ledger.ErrNotFound
		}
	}
	if errors.Is(err, ledger.ErrNotFound) {
		if _, wrong := a.order(tx, ledger.OrderID(id)); wrong == nil {
			return j, api.NewProblem(api.CodeIsOrder, id.String()+" is a standing order, which makes jobs", "name one of them: dugnad job show "+id.String())
		}
	}
	return j, err
}

// sees reports whether a job is of the asker's tenant, and of a module that the token
// is for.
func (a *asker) sees(tx ledger.Tx, j *ledger.Job) (bool, error) {
	if j.Tenant != a.Tenant || a.Modules == nil {
		return j.Tenant == a.Tenant, nil
	}
	spec, err := ledger.FindSpec(tx, j.ID)
	return err == nil && a.module(spec.Module) == nil, err
}

type jobPath struct {
	ID string `path:"id"`
}

func (s *server) cancel(ctx context.Context, q *jobPath) (*answer[api.Submitted], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	if _, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		_, err := who(ctx).job(tx, id)
		return err
	}); err != nil {
		return nil, err
	}
	index, err := s.do(ctx, &ledger.Cancel{Job: id})
	if err != nil {
		return nil, err
	}
	return &answer[api.Submitted]{api.Submitted{ID: q.ID, Index: index}}, nil
}
