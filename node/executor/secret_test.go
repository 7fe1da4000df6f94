package executor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/task"
)

// safe gives secrets, in the clear, by the ids that they have in the ledger.
type safe struct {
	g *grid
	// err, when set, is the answer.
	err error

	mu     sync.Mutex
	values map[[16]byte]string
	asked  int
}

func (s *safe) Value(_ context.Context, tenant ledger.TenantID, name ledger.SecretName, _ ledger.JobID, epoch ledger.Epoch) ([]byte, [16]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil || epoch == 0 {
		return nil, [16]byte{}, s.err
	}
	var is ledger.Secret
	_, err := s.g.book.View(func(tx ledger.Tx) (err error) {
		is, _, err = ledger.FindSecret(tx, tenant, name)
		return err
	})
	return []byte(s.values[is.ID]), is.ID, err
}

// set keeps a value.
func (s *safe) set(name ledger.SecretName, id byte, value string) {
	s.mu.Lock()
	s.values[[16]byte{id}] = value
	s.mu.Unlock()
	s.g.do(&ledger.PutSecret{Tenant: tenant, Name: name, ID: [16]byte{id}, Keys: []ledger.SecretKey{{Node: self, Sealed: []byte{1}}}, Value: []byte{1}})
}

func newSafe(t *testing.T) (*grid, *safe) {
	g := newGrid(t)
	s := &safe{g: g, values: map[[16]byte]string{}}
	s.set("A", 1, "value {index} of A")
	s.set("B", 2, "value of B")
	return g, s
}

func withSecrets() *jobspec.Program {
	return &jobspec.Program{Secrets: []jobspec.Secret{{Variable: "ONE", Name: "A"}, {Variable: "TWO", Name: "B"}}}
}

func namesSecrets(s *ledger.JobSpec) { s.Secrets = []ledger.SecretName{"A", "B"} }

// TestSecrets: each attempt has the values that its job names as they are when it starts,
// as they were set; what has not changed is not asked for again.
func TestSecrets(t *testing.T) {
	g, s := newSafe(t)
	var mu sync.Mutex
	seen := map[string]int{}
	g.box.run = func(a attempt) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range a.spec.Env {
			if strings.HasPrefix(e, "ONE=") || strings.HasPrefix(e, "TWO=") {
				seen[e]++
			}
		}
		if a.index == 5 && a.attempt == 0 {
			s.set("B", 3, "next value of B")
			return exit(1)
		}
		return exit(0)
	}
	g.open(func(c *Config) { c.Secrets = s })
	id := g.submit(6, withSecrets(), namesSecrets)
	g.place(id, 0, 6, 1)
	g.await("the task is queued again", func(tx ledger.Tx) bool {
		j, err := ledger.FindJob(tx, id)
		return err == nil && j.Tasks[ledger.TaskQueued] == 1
	})
	g.place(id, 5, 1, 1)
	if j := g.finished(id); j.State != ledger.JobSucceeded {
		t.Errorf("%+v", j)
	}
	if seen["ONE=value {index} of A"] != 7 || seen["TWO=value of B"] != 6 || seen["TWO=next value of B"] != 1 {
		t.Error(seen)
	}
	if s.asked > 5 {
		t.Errorf("asked %d times for 7 attempts at tasks with two secrets", s.asked)
	}
}

// TestNoSecret: what no node can give ends the tasks, and says why; what another node
// may give is left to it.
func TestNoSecret(t *testing.T) {
	for what, c := range map[string]struct {
		prepare func(g *grid, s *safe)
		refused string
	}{
		"removed":         {func(g *grid, _ *safe) { g.do(&ledger.DropSecret{Tenant: tenant, Name: "B"}) }, "B was removed"},
		"unfit":           {func(_ *grid, s *safe) { s.err = neverGiven{} }, "never given"},
		"withheld":        {func(_ *grid, s *safe) { s.err = errors.New("no custodian") }, ""},
		"nobody to ask":   {func(_ *grid, s *safe) { s.g = nil }, ""},
		"only one of two": {func(g *grid, _ *safe) { g.do(&ledger.DropSecret{Tenant: tenant, Name: "A"}) }, "A was removed"},
	} {
		t.Run(what, func(t *testing.T) {
			g, s := newSafe(t)
			ran := false
			g.box.run = func(attempt) task.Outcome {
				ran = true
				return exit(0)
			}
			id := g.submit(2, withSecrets(), namesSecrets)
			c.prepare(g, s)
			g.open(func(config *Config) {
				if s.g != nil {
					config.Secrets = s
				}
			})
			g.place(id, 0, 2, 1)
			if c.refused == "" {
				g.queued(id, ledger.CauseRefused)
			} else {
				if j := g.finished(id); j.Tasks[ledger.TaskRefused] != 2 {
					t.Errorf("%+v", j)
				}
				r := g.results(id)
				if len(r) != 2 || !strings.Contains(r[1].Outcome.Message, c.refused) || strings.Contains(r[1].Outcome.Message, "value") {
					t.Errorf("%+v", r)
				}
			}
			if ran {
				t.Error("a task has run without its secrets")
			}
		})
	}
}

// TestSecretsAdopted: when the process starts again it remembers no secret. A task that
// goes on under the same lease has its job's secrets asked for anew, and is run with the
// values and the key that it was run with before.
func TestSecretsAdopted(t *testing.T) {
	g, s := newSafe(t)
	id := g.submit(2, withSecrets(), namesSecrets)
	epoch := g.place(id, 0, 2, 2)
	begun := make(chan attempt, 4)
	release := make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		begun <- a
		<-a.ctx.Done()
		return task.Outcome{Kind: task.Cancelled, Message: "cancelled"}
	}
	before := g.open(func(c *Config) { c.Secrets = s })
	<-begun
	<-begun
	if err := before.crash(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	asked := s.asked
	s.mu.Unlock()
	if asked == 0 {
		t.Error("nobody has asked")
	}
	g.box.run = func(a attempt) task.Outcome {
		begun <- a
		<-release
		return exit(0)
	}
	orphans := newLeft(taskKey{job: id, epoch: epoch, index: 0}.encode(), taskKey{job: id, epoch: epoch, index: 1}.encode())
	g.open(func(c *Config) { c.Secrets, c.Orphans = s, orphans })
	for range 2 {
		a := <-begun
		if !slices.Contains(a.spec.Env, "ONE=value {index} of A") || !slices.Contains(a.spec.Env, "TWO=value of B") {
			t.Errorf("task %d goes on with %q", a.index, a.spec.Env)
		}
	}
	s.mu.Lock()
	if s.asked <= asked {
		t.Error("the process that comes after has not asked")
	}
	s.mu.Unlock()
	close(release)
	if j := g.finished(id); j.State != ledger.JobSucceeded {
		t.Errorf("%+v", j)
	}
	if orphans.mu.Lock(); len(orphans.discarded) > 0 {
		t.Errorf("discarded %q", orphans.discarded)
	}
	orphans.mu.Unlock()
}

type neverGiven struct{}

func (neverGiven) Error() string { return "never given" }
func (neverGiven) Gone() bool    { return true }

// TestSecretsAreNotShared: a job that names no secrets has none.
func TestSecretsAreNotShared(t *testing.T) {
	g, s := newSafe(t)
	var mu sync.Mutex
	environs := [][]string{}
	g.box.run = func(a attempt) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		environs = append(environs, slices.Clone(a.spec.Env))
		return exit(0)
	}
	g.open(func(c *Config) { c.Secrets = s })
	with, without := g.submit(1, withSecrets(), namesSecrets), g.submit(1, &jobspec.Program{}, nil)
	g.place(with, 0, 1, 1)
	g.finished(with)
	g.place(without, 0, 1, 1)
	g.finished(without)
	if len(environs) != 2 || len(environs[0]) != len(environs[1])+2 || strings.Contains(strings.Join(environs[1], " "), "value") {
		t.Errorf("%q", environs)
	}
}
