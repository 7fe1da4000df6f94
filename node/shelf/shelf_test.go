package shelf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a job whose results are held by nodes of which some do not answer.
type scene struct {
	t     *testing.T
	state *ledgertest.Memory
	store *content.Store
	job   ledger.JobID

	mu sync.Mutex
	// alive are the nodes that give objects; nobody has those of absent, which is
	// said at once.
	alive  []p2p.NodeID
	absent bool
	// asked has the holders that each fetch has named.
	asked [][]p2p.NodeID
}

func (s *scene) View(f func(tx ledger.Tx) error) (uint64, error) { return 1, f(s.state) }

func (s *scene) Fetch(ctx context.Context, h content.Hash, o content.FetchOptions) (*content.Object, error) {
	s.mu.Lock()
	s.asked = append(s.asked, o.Holders)
	alive := slices.ContainsFunc(o.Holders, func(id p2p.NodeID) bool { return slices.Contains(s.alive, id) })
	absent := s.absent
	s.mu.Unlock()
	switch {
	case alive:
		return s.store.Open(h, false)
	case absent:
		return nil, content.ErrNoHolder
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// newScene submits a job of so many tasks and has a node lease them all.
func newScene(t *testing.T, tasks uint32) *scene {
	t.Helper()
	store, err := content.Open(t.Context(), content.Default(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{t: t, state: ledgertest.NewMemory(), store: store, job: ledger.JobID{1}}
	room := ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1 << 30, Slots: 1 << 10}
	s.do(
		&ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 7}, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1},
		&ledger.RegisterNode{Node: "ran", Capacity: room}, &ledger.RegisterNode{Node: "again", Capacity: room},
		&ledger.Submit{Job: s.job, Spec: ledger.JobSpec{
			Tenant: "acme", Module: ledger.ModuleID{1}, Count: tasks, FuelMax: 1,
			Task: ledger.Resources{MemoryBytes: 1, FuelRate: 1, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 2},
		}},
	)
	s.place(0, tasks, "ran")
	return s
}

func (s *scene) do(list ...ledger.Command) {
	s.t.Helper()
	for _, c := range list {
		answer, err := ledger.Apply(s.state, 1, ledger.Encode(ledger.Envelope{Now: 1, Body: c}))
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := ledger.DecodeResult(answer)
		if err != nil || r.Code != ledger.CodeOK || len(r.Items) > 0 && r.Items[0].Code != ledger.CodeOK {
			s.t.Fatalf("%T: %+v, %v", c, r, err)
		}
	}
}

func (s *scene) place(start, count uint32, on ledger.NodeID) {
	s.t.Helper()
	s.do(&ledger.Place{Placements: []ledger.Placement{{Job: s.job, Start: start, Count: count, Slots: 1, Node: on, Expiry: 1 << 40}}})
}

// report stores what tasks have written, text, in one object, and reports them.
func (s *scene) report(by ledger.NodeID, epoch ledger.Epoch, state ledger.TaskState, first, count uint32, text map[uint32]string) {
	s.t.Helper()
	var list []result.Result
	for _, i := range slices.Sorted(maps.Keys(text)) {
		out := text[i]
		list = append(list, result.Result{Index: i, Node: string(by), Stdout: result.Bytes(out), Stderr: result.Bytes("err " + out)})
	}
	h, _, err := s.store.Put(s.t.Context(), result.Bundle(list), "test")
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(&ledger.Report{Node: by, Leases: []ledger.LeaseReport{{
		Epoch: epoch, Runs: []ledger.Run{{First: first, Count: count, State: state, Digest: h}},
	}}})
}

func (s *scene) config() Config {
	return Config{
		Ledger: s, Objects: s, Wait: time.Millisecond, FetchTimeout: time.Minute,
		Holders: func(content.Hash) []p2p.NodeID { return []p2p.NodeID{"other", "third"} },
	}
}

func (s *scene) copy(stream Stream, first, end uint32) (string, error) {
	var b bytes.Buffer
	err := Copy(s.t.Context(), s.config(), &b, s.job, stream, first, end)
	return b.String(), err
}

// TestCopy: each task has the output of its last attempt, wherever that lies, and
// whether one task is asked for or all.
func TestCopy(t *testing.T) {
	const tasks = 1000
	s := newScene(t, tasks)
	s.alive = []p2p.NodeID{"ran", "again"}
	var want []string
	say := func(i uint32, what string) string { return fmt.Sprintf("%s %d\n", what, i) }
	for i := range uint32(100) {
		s.report("ran", 1, ledger.TaskSucceeded, i, 1, map[uint32]string{i: say(i, "one")})
		want = append(want, say(i, "one"))
	}
	text := func(what string, first, count uint32) map[uint32]string {
		m := map[uint32]string{}
		for i := first; i < first+count; i++ {
			m[i] = say(i, what)
		}
		return m
	}
	first := func(state ledger.TaskState, from, count uint32) {
		s.report("ran", 1, state, from, count, text("first", from, count))
	}
	// Some of a long run fail, one near its end by itself; both again, in one run.
	first(ledger.TaskSucceeded, 110, 780)
	first(ledger.TaskFailed, 100, 10)
	first(ledger.TaskFailed, 890, 1)
	first(ledger.TaskSucceeded, 891, tasks-891)
	s.place(100, 11, "again")
	second := text("second", 100, 10)
	second[890] = say(890, "second")
	s.report("again", 2, ledger.TaskSucceeded, 100, 11, second)
	for i := uint32(100); i < tasks; i++ {
		what := "first"
		if second[i] != "" {
			what = "second"
		}
		want = append(want, say(i, what))
	}
	if got, err := s.copy(Stdout, 0, tasks); err != nil || got != strings.Join(want, "") {
		t.Errorf("%d bytes, want %d: %v", len(got), len(strings.Join(want, "")), err)
	}
	for _, i := range []uint32{0, 99, 100, 109, 110, 889, 890, 891, tasks - 1} {
		for _, n := range []uint32{1, 2} {
			end := min(i+n, tasks)
			if got, err := s.copy(Stdout, i, end); err != nil || got != strings.Join(want[i:end], "") {
				t.Errorf("tasks from %d to %d: %q, %v; want %q", i, end, got, err, want[i:end])
			}
		}
	}
	if got, err := s.copy(Stderr, 890, 891); err != nil || got != "err "+want[890] {
		t.Errorf("stderr: %q, %v", got, err)
	}
}

// TestNothing: a task that has left nothing is no error, one that is missing in its
// object is.
func TestNothing(t *testing.T) {
	s := newScene(t, 10)
	s.alive = []p2p.NodeID{"ran"}
	s.report("ran", 1, ledger.TaskSucceeded, 2, 3, map[uint32]string{2: "two", 4: "four"})
	for i, want := range map[uint32]string{0: "", 2: "two", 4: "four", 9: ""} {
		if got, err := s.copy(Stdout, i, i+1); err != nil || got != want {
			t.Errorf("task %d: %q, %v; want %q", i, got, err, want)
		}
	}
	if got, err := s.copy(Stdout, 3, 4); !errors.Is(err, ErrMissing) {
		t.Errorf("a task that is not in its object: %q, %v", got, err)
	}
}

// TestDeadHolder: when who has reported a result does not answer, others are asked
// beside it, for the next result at once.
func TestDeadHolder(t *testing.T) {
	s := newScene(t, 4)
	s.alive = []p2p.NodeID{"third"}
	for i := range uint32(4) {
		s.report("ran", 1, ledger.TaskSucceeded, i, 1, map[uint32]string{i: fmt.Sprint(i)})
	}
	if got, err := s.copy(Stdout, 0, 4); err != nil || got != "0123" {
		t.Fatalf("%q, %v", got, err)
	}
	want := [][]p2p.NodeID{{"ran"}, {"other", "third"}}
	for range 3 {
		want = append(want, []p2p.NodeID{"other", "third", "ran"})
	}
	if !slices.EqualFunc(s.asked, want, slices.Equal[[]p2p.NodeID]) {
		t.Errorf("asked %v, want %v", s.asked, want)
	}
}

// TestNobody: when nobody has a result, that is said, soon.
func TestNobody(t *testing.T) {
	s := newScene(t, 1)
	s.absent = true
	s.report("ran", 1, ledger.TaskSucceeded, 0, 1, map[uint32]string{0: "lost"})
	if got, err := s.copy(Stdout, 0, 1); !errors.Is(err, content.ErrNoHolder) || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	s.absent = false
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ctx, s.config(), &bytes.Buffer{}, s.job, Stdout, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
}
