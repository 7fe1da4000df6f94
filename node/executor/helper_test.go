package executor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 3 * time.Minute
	self     = ledger.NodeID("n1")
	tenant   = ledger.TenantID("t")
)

// moduleBytes is a module as far as the fake sandbox looks.
var moduleBytes = []byte("a module")

// grid is a ledger of one member, a content store and a sandbox.
type grid struct {
	t      testing.TB
	book   *book.Book
	faults *faulty
	store  *content.Store
	box    *box
	dir    string
	module content.Hash
}

func newGrid(t testing.TB) *grid {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := replica.Default()
	c.ID, c.Address, c.Listener = "m", l.Addr().String(), l
	c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	c.HeartbeatTimeout, c.LeaseTimeout, c.CommitTimeout = 100*time.Millisecond, 100*time.Millisecond, 5*time.Millisecond
	b, err := book.Open(t.Context(), book.Config{Dir: t.TempDir(), Replica: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Found(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := content.Open(t.Context(), content.Default(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &grid{t: t, book: b, faults: &faulty{Ledger: b}, store: s, dir: t.TempDir()}
	g.box = &box{dir: t.TempDir(), prepared: map[[32]byte]int{}}
	g.module = g.put(moduleBytes)
	room := ledger.Resources{MemoryBytes: 1 << 40, FuelRate: 1e12, Slots: 4096}
	g.do(
		&ledger.CreateTenant{Tenant: tenant, Weight: 1, BandMax: 3},
		&ledger.RegisterNode{Node: self, Capacity: room, Key: [32]byte(nodeKey.Public().(ed25519.PublicKey))},
		&ledger.PutModule{Module: ledger.ModuleID(g.module), Bytes: uint64(len(moduleBytes)), Holder: self},
	)
	return g
}

func (g *grid) put(b []byte) content.Hash {
	g.t.Helper()
	h, _, err := g.store.Put(g.t.Context(), bytes.NewReader(b), "test")
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// do proposes commands that the ledger must take.
func (g *grid) do(list ...ledger.Command) (last ledger.Result) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for _, c := range list {
		r, _, err := g.book.Do(ctx, c)
		if err != nil || r.Code != ledger.CodeOK {
			g.t.Fatalf("%T: %v %s, %v", c, r.Code, r.What, err)
		}
		for _, i := range r.Items {
			if i.Code != ledger.CodeOK {
				g.t.Fatalf("%T: item %v", c, i.Code)
			}
		}
		last = r
	}
	return last
}

// nodeKey is what the node signs its reports with.
var nodeKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// config is one with which tests need not wait long.
func (g *grid) config() Config {
	c := Default()
	c.Node, c.Dir, c.Ledger, c.Objects, c.Sandbox = self, g.dir, g.faults, g.store, g.box
	c.Sign, c.Costs = func(m []byte) ([]byte, error) { return ed25519.Sign(nodeKey, m), nil }, 6
	c.Slots = 8
	c.RenewInterval, c.BeginAfter = 200*time.Millisecond, 20*time.Millisecond
	c.BackoffMin, c.BackoffMax = time.Millisecond, 20*time.Millisecond
	c.FetchTimeout, c.CloseTimeout = 10*time.Second, patience
	return c
}

// open opens an executor that is closed with the test.
func (g *grid) open(change func(*Config)) *Executor {
	g.t.Helper()
	c := g.config()
	if change != nil {
		change(&c)
	}
	e, err := Open(g.t.Context(), c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnfinished) {
			g.t.Error(err)
		}
	})
	return e
}

// crash ends an executor as the end of its process would.
func (e *Executor) crash() error {
	var err error
	e.closing.Do(func() { err = e.end() })
	return err
}

// submit submits a job of count tasks.
func (g *grid) submit(count uint32, p *jobspec.Program, change func(*ledger.JobSpec)) ledger.JobID {
	g.t.Helper()
	p.Name = "guest"
	payload, err := p.Encode()
	if err != nil {
		g.t.Fatal(err)
	}
	spec := ledger.JobSpec{
		Tenant: tenant, Module: ledger.ModuleID(g.module), Count: count, Task: ledger.Resources{MemoryBytes: 1, FuelRate: 1, Slots: 1},
		FuelMax: 1 << 20, Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 1000}, Payload: payload,
	}
	if change != nil {
		change(&spec)
	}
	var id ledger.JobID
	if _, err := rand.Read(id[:]); err != nil {
		g.t.Fatal(err)
	}
	g.do(&ledger.Submit{Job: id, Spec: spec})
	return id
}

// place leases tasks of a job to the node.
func (g *grid) place(id ledger.JobID, start, count, slots uint32) ledger.Epoch {
	g.t.Helper()
	r := g.do(&ledger.Place{Placements: []ledger.Placement{{
		Job: id, Start: start, Node: self, Count: count, Slots: slots,
		Expiry: ledger.Time(time.Now().Add(10 * time.Second).UnixNano()),
	}}})
	return r.Items[0].Epoch
}

// await waits until the state is as it should be.
func (g *grid) await(what string, ok func(tx ledger.Tx) bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	errDone := errors.New("done")
	look := func() (uint64, error) {
		is := false
		index, err := g.book.View(func(tx ledger.Tx) error {
			is = ok(tx)
			return nil
		})
		if err == nil && is {
			err = errDone
		}
		return index, err
	}
	index, err := look()
	for err == nil {
		err = g.book.Watch(ctx, nil, index, func(at uint64, changes []replica.Change) error {
			_, err := look()
			return err
		})
		if errors.Is(err, replica.ErrTooOld) {
			index, err = look()
		}
	}
	if !errors.Is(err, errDone) {
		g.t.Fatalf("wait until %s: %v", what, err)
	}
}

// finished waits for the end of a job.
func (g *grid) finished(id ledger.JobID) (j ledger.Job) {
	g.t.Helper()
	g.await("the job has ended", func(tx ledger.Tx) bool {
		var err error
		if j, err = ledger.FindJob(tx, id); err != nil {
			g.t.Fatal(err)
		}
		return j.Finished != 0
	})
	return j
}

// leases returns the node's leases.
func (g *grid) leases() (list []ledger.Lease) {
	g.t.Helper()
	if _, err := g.book.View(func(tx ledger.Tx) (err error) {
		list, err = ledger.LeasesOf(tx, self, 0, 1<<20)
		return err
	}); err != nil {
		g.t.Fatal(err)
	}
	return list
}

// stored is a result as it lies in the content store.
type stored struct {
	result.Header
	stdout, stderr string
}

// results reads the results of the last attempts at a job's tasks that have one.
// Each object must hold those of the run that names it.
func (g *grid) results(id ledger.JobID) map[uint32]stored {
	g.t.Helper()
	all := map[uint32]stored{}
	var outputs []ledger.Output
	if _, err := g.book.View(func(tx ledger.Tx) (err error) {
		outputs, err = ledger.Outputs(tx, id, 0, 1<<20)
		return err
	}); err != nil {
		g.t.Fatal(err)
	}
	for _, o := range outputs {
		object, err := g.store.Open(o.Digest, true)
		if err != nil {
			g.t.Fatal(err)
		}
		r, n := result.NewReader(object), uint32(0)
		for ; ; n++ {
			h, stdout, stderr, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				g.t.Fatal(err)
			}
			if !o.Tasks.Has(h.Index) {
				g.t.Errorf("the result of task %d is in the object of tasks %s", h.Index, o.Tasks)
			}
			out, errOut := readAll(g.t, stdout), readAll(g.t, stderr)
			if had, ok := all[h.Index]; !ok || had.Attempt < h.Attempt {
				all[h.Index] = stored{h, out, errOut}
			}
		}
		if n != o.Tasks.Count() {
			g.t.Errorf("%d results in the object of tasks %s", n, o.Tasks)
		}
		object.Close()
	}
	return all
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// attempt is what the fake sandbox runs.
type attempt struct {
	ctx, notice    context.Context
	index, attempt int
	spec           task.Spec
	streams        worker.Streams
}

// box is a sandbox that runs a function.
type box struct {
	dir string
	// run is what a task does; nil exits at once.
	run func(a attempt) task.Outcome
	// series stands for RunSeries with more than one task; nil runs them.
	series func(tasks []worker.Task, ended func(int, task.Outcome), back func(from, to int))
	// refuse is the error of Prepare, which waits until ready is closed; nil is at once.
	refuse error
	ready  <-chan struct{}
	// preparing, if set, gets an element from each Prepare that begins to wait.
	preparing chan struct{}

	mu       sync.Mutex
	prepared map[[32]byte]int
	// longest is the length of the longest series.
	longest int
}

func (b *box) Prepare(ctx context.Context, _ string, module [32]byte, open func() (io.ReadCloser, error)) (worker.Image, error) {
	if b.ready != nil {
		if b.preparing != nil {
			b.preparing <- struct{}{}
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return worker.Image{}, ctx.Err()
		}
	}
	r, err := open()
	if err != nil {
		return worker.Image{}, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(content, moduleBytes) {
		return worker.Image{}, fmt.Errorf("module is %q: %w", content, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prepared[module]++
	return worker.Image{Hash: module}, b.refuse
}

func (b *box) InputDir(tenant string) (string, error) {
	dir := filepath.Join(b.dir, tenant)
	return dir, os.MkdirAll(dir, 0o700)
}

func (b *box) RunSeries(ctx context.Context, _ string, image worker.Image, tasks []worker.Task, ended func(int, task.Outcome), back func(from, to int)) {
	b.mu.Lock()
	b.longest = max(b.longest, len(tasks))
	b.mu.Unlock()
	if b.series != nil && len(tasks) > 1 {
		b.series(tasks, ended, back)
		return
	}
	for i := range tasks {
		if i > 0 && ctx.Err() != nil {
			ended(i, task.Outcome{Kind: task.Cancelled, Message: "cancelled"})
			continue
		}
		ended(i, b.runTask(ctx, image, tasks[i]))
	}
}

func (b *box) runTask(ctx context.Context, image worker.Image, t worker.Task) task.Outcome {
	if image.Hash != content.Sum(moduleBytes) {
		return task.Outcome{Kind: task.Refused, Message: "wrong image"}
	}
	if b.run == nil {
		return exit(0)
	}
	a := attempt{ctx: ctx, spec: t.Spec, streams: t.Streams, notice: t.Notice}
	a.index, a.attempt = number(t.Spec, "DUGNAD_TASK_INDEX="), number(t.Spec, "DUGNAD_TASK_ATTEMPT=")
	return b.run(a)
}

func number(spec task.Spec, name string) int {
	for _, e := range spec.Env {
		if text, ok := strings.CutPrefix(e, name); ok {
			n, err := strconv.Atoi(text)
			if err == nil {
				return n
			}
		}
	}
	return -1
}

// exit is the outcome of a guest that has burnt 7 fuel and exits.
func exit(code uint32) task.Outcome {
	return task.Outcome{Kind: task.Exited, ExitCode: code, Usage: task.Usage{Fuel: 7, MemoryPeakBytes: 2 << 30, WallTime: time.Second / 2}}
}

// cancelled waits until the attempt is cancelled.
func (a attempt) cancelled() task.Outcome {
	<-a.ctx.Done()
	return task.Outcome{Kind: task.Cancelled, Message: "cancelled", Usage: task.Usage{Fuel: 3}}
}

// faulty is a way to the ledger that may be cut.
type faulty struct {
	Ledger
	mu sync.Mutex
	// before and after say whether a command fails before or after the ledger
	// had it; nil is never.
	before, after func(c ledger.Command) error
	seen          []ledger.Command
}

var errAway = errors.New("leader is away")

func (f *faulty) set(before, after func(c ledger.Command) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// count returns how many commands of the type of c have been proposed.
func (f *faulty) count(is func(c ledger.Command) bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.seen {
		if is(c) {
			n++
		}
	}
	return n
}

func (f *faulty) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.seen = append(f.seen, c)
	f.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return ledger.Result{}, 0, err
		}
	}
	r, index, err := f.Ledger.Do(ctx, c)
	if err == nil && after != nil {
		err = after(c)
	}
	return r, index, err
}
