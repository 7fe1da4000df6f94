package scheduler

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLedger is a Ledger in memory that applies commands as they come.
type memoryLedger struct {
	testing.TB
	// commit is how long a command takes.
	commit time.Duration
	// fail, when it is set, is asked before a command is applied.
	fail func(c ledger.Command) error

	mu      sync.Mutex
	memory  *ledgertest.Memory
	index   uint64
	history []news
	more    chan struct{}
	status  replica.Status
	changed chan struct{}
	kinds   map[string]int
	// tooOld ends a Watch once.
	tooOld bool
}

func newMemoryLedger(t testing.TB) *memoryLedger {
	return &memoryLedger{
		TB: t, memory: ledgertest.NewMemory(), more: make(chan struct{}), changed: make(chan struct{}),
		status: replica.Status{Leads: true, Term: 1}, kinds: map[string]int{},
	}
}

func (m *memoryLedger) View(f func(tx ledger.Tx) error) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index, f(m.memory)
}

func (m *memoryLedger) Read(_ context.Context, f func(tx ledger.Tx) error) (uint64, error) {
	return m.View(f)
}

func (m *memoryLedger) Status() replica.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *memoryLedger) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// elect makes the member the leader of the next term, or not.
func (m *memoryLedger) elect(leads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Leads = leads
	m.status.Term++
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memoryLedger) Watch(ctx context.Context, prefix []byte, from uint64, visit func(uint64, []replica.Change) error) error {
	for {
		m.mu.Lock()
		records, more, tooOld := m.history, m.more, m.tooOld
		m.tooOld = false
		m.mu.Unlock()
		if tooOld {
			return replica.ErrTooOld
		}
		for _, r := range records[from:] { // each command has a record
			from = r.index
			changes := slices.DeleteFunc(slices.Clone(r.changes), func(c replica.Change) bool { return !bytes.HasPrefix(c.Key, prefix) })
			if err := visit(r.index, changes); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *memoryLedger) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	if m.commit > 0 {
		select {
		case <-time.After(m.commit):
		case <-ctx.Done():
			return ledger.Result{}, 0, context.Cause(ctx)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds[fmt.Sprintf("%T", c)]++
	if m.fail != nil {
		if err := m.fail(c); err != nil {
			return ledger.Result{}, 0, err
		}
	}
	r := m.apply(c)
	return r, m.index, nil
}

func (m *memoryLedger) apply(c ledger.Command) ledger.Result {
	tx := m.memory.Begin()
	m.index++
	b, err := ledger.Apply(tx, m.index, ledger.Encode(ledger.Envelope{Now: stamp(time.Now()), Body: c}))
	if err != nil {
		m.Errorf("%T: %v", c, err)
	}
	n := news{index: m.index}
	for _, key := range tx.Changed() {
		value, _ := tx.Get(key)
		n.changes = append(n.changes, replica.Change{Index: m.index, Key: key, Value: bytes.Clone(value), Deleted: value == nil})
	}
	if err := tx.Commit(); err != nil {
		m.Error(err)
	}
	m.history = append(m.history, n)
	close(m.more)
	m.more = make(chan struct{})
	r, err := ledger.DecodeResult(b)
	if err != nil {
		m.Error(err)
	}
	return r
}

// count returns how many commands of a type were proposed.
func (m *memoryLedger) count(c ledger.Command) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kinds[fmt.Sprintf("%T", c)]
}

// handBoard is a board that is written by hand.
type handBoard struct {
	mu     sync.Mutex
	offers map[p2p.NodeID]capacity.Entry
}

func (b *handBoard) List() []capacity.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []capacity.Entry
	for _, e := range b.offers {
		if e.Until.After(time.Now()) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b capacity.Entry) int { return bytes.Compare([]byte(a.Node), []byte(b.Node)) })
	return list
}

// grid is a ledger with nodes that make offers, and a scheduler.
type grid struct {
	*memoryLedger
	board    *handBoard
	registry *prometheus.Registry
	config   Config
	*Scheduler
	nodes, jobs int
	// silent are the nodes that make no offers.
	silent map[int]bool
}

const (
	mib  = 1 << 20
	beat = 10 * time.Second
)

func newGrid(t testing.TB) *grid {
	g := &grid{
		memoryLedger: newMemoryLedger(t), board: &handBoard{offers: map[p2p.NodeID]capacity.Entry{}},
		config: Default(), silent: map[int]bool{},
	}
	g.mustDo(&ledger.CreateTenant{Tenant: "t", Weight: 1, BandMax: ledger.BandTop})
	g.mustDo(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 100})
	return g
}

// open starts the scheduler.
func (g *grid) open() {
	g.registry = prometheus.NewRegistry()
	g.config.Ledger, g.config.Board, g.config.Registerer = g.memoryLedger, g.board, g.registry
	s, err := Open(g.Context(), g.config)
	if err != nil {
		g.Fatal(err)
	}
	g.Scheduler = s
	g.Cleanup(func() {
		if err := s.Close(); err != nil {
			g.Error(err)
		}
	})
}

func nodeID(i int) ledger.NodeID { return ledger.NodeID(fmt.Sprintf("n%03d", i)) }

func jobID(i int) (id ledger.JobID) {
	binary.BigEndian.PutUint32(id[:], uint32(i)+1)
	return id
}

func room(slots uint32) ledger.Resources {
	return ledger.Resources{MemoryBytes: uint64(slots) * 100 * mib, FuelRate: uint64(slots) * 1e9, Slots: slots, ScratchBytes: uint64(slots) * mib}
}

// add registers nodes, which make an offer at once.
func (g *grid) add(count int, slots uint32, labels ...ledger.Label) {
	for range count {
		g.mustDo(&ledger.RegisterNode{Node: nodeID(g.nodes), Capacity: room(slots), Labels: labels})
		g.nodes++
		g.offer(g.nodes-1, slots)
	}
}

// offer puts an offer of a node on the board.
func (g *grid) offer(i int, slots uint32) {
	all := room(slots)
	g.board.mu.Lock()
	defer g.board.mu.Unlock()
	now := time.Now()
	g.board.offers[p2p.NodeID(nodeID(i))] = capacity.Entry{
		Node: p2p.NodeID(nodeID(i)), At: now, Until: now.Add(3 * beat),
		Offer: capacity.Offer{MemoryBytes: all.MemoryBytes, FuelRate: all.FuelRate, Slots: slots, DiskBytes: 1 << 30},
	}
}

// deny is offer with four slots, for all but some tenants.
func (g *grid) deny(i int, tenants ...string) {
	g.offer(i, 4)
	g.board.mu.Lock()
	defer g.board.mu.Unlock()
	e := g.board.offers[p2p.NodeID(nodeID(i))]
	for _, t := range tenants {
		e.Offer.Labels = append(e.Offer.Labels, capacity.Label{Key: capacity.LabelTenantDenied, Value: t})
	}
	g.board.offers[e.Node] = e
}

// want is offer with four slots, and with a word of what its operator wants.
func (g *grid) want(i int, key, value string) {
	g.offer(i, 4)
	g.board.mu.Lock()
	defer g.board.mu.Unlock()
	e := g.board.offers[p2p.NodeID(nodeID(i))]
	e.Offer.Labels = []capacity.Label{{Key: key, Value: value}}
	g.board.offers[e.Node] = e
}

// beats repeats the offers of nodes that are not silent.
func (g *grid) beats() {
	g.board.mu.Lock()
	defer g.board.mu.Unlock()
	now := time.Now()
	for i := range g.nodes {
		if e, ok := g.board.offers[p2p.NodeID(nodeID(i))]; ok && !g.silent[i] {
			e.At, e.Until = now, now.Add(3*beat)
			g.board.offers[e.Node] = e
		}
	}
}

// wait lets time go by while nodes repeat their offers.
func (g *grid) wait(d time.Duration) {
	for d > 0 {
		step := min(d, 5*time.Second)
		<-time.After(step)
		d -= step
		g.beats()
	}
	synctest.Wait()
}

func (g *grid) mustDo(c ledger.Command) ledger.Result {
	g.Helper()
	g.memoryLedger.mu.Lock()
	defer g.memoryLedger.mu.Unlock()
	r := g.apply(c)
	if r.Code != ledger.CodeOK {
		g.Fatalf("%T: %v %s", c, r.Code, r.What)
	}
	for _, item := range r.Items {
		if item.Code != ledger.CodeOK {
			g.Fatalf("%T: item %v", c, item.Code)
		}
	}
	return r
}

// spec is a job of tasks of one slot each.
func spec(count uint32) ledger.JobSpec {
	return ledger.JobSpec{
		Tenant: "t", Module: ledger.ModuleID{1}, Count: count, FuelMax: 1e9,
		Task:  ledger.Resources{MemoryBytes: 10 * mib, FuelRate: 1e9, Slots: 1},
		Retry: ledger.Retry{AttemptsMax: 5, LossesMax: 5},
	}
}

func (g *grid) submit(s ledger.JobSpec) ledger.JobID {
	g.Helper()
	id := jobID(g.jobs)
	g.jobs++
	g.mustDo(&ledger.Submit{Job: id, Spec: s})
	return id
}

// leases returns the leases of a node.
func (g *grid) leases(i int) (list []ledger.Lease) {
	g.Helper()
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		list, err = ledger.LeasesOf(tx, nodeID(i), 0, 1000)
		return errors.Join(err, ledger.Check(tx))
	}); err != nil {
		g.Fatal(err)
	}
	return list
}

// finish reports all tasks of a node's leases as succeeded.
func (g *grid) finish(i int) {
	g.Helper()
	for _, l := range g.leases(i) {
		n := l.Open.Count()
		g.mustDo(&ledger.Report{Node: nodeID(i), Leases: []ledger.LeaseReport{{
			Epoch: l.Epoch, Runs: []ledger.Run{{First: l.Open.First, Count: n, State: ledger.TaskSucceeded, Usage: ledger.Usage{WallNanos: uint64(n) * 30_000}}},
		}}})
	}
}

// renew renews the leases of the nodes that are not silent.
func (g *grid) renew() {
	g.Helper()
	for i := range g.nodes {
		if g.silent[i] {
			continue
		}
		var epochs []ledger.Epoch
		for _, l := range g.leases(i) {
			epochs = append(epochs, l.Epoch)
		}
		if len(epochs) > 0 {
			g.mustDo(&ledger.Renew{Node: nodeID(i), Epochs: epochs, Expiry: stamp(time.Now().Add(10 * time.Second))})
		}
	}
}

func (g *grid) job(id ledger.JobID) (j ledger.Job) {
	g.Helper()
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		j, err = ledger.FindJob(tx, id)
		return err
	}); err != nil {
		g.Fatal(err)
	}
	return j
}

// out counts the tasks that nodes have.
func out(j ledger.Job) int {
	return int(j.Tasks[ledger.TaskLeased] + j.Tasks[ledger.TaskRunning] + j.Tasks[ledger.TaskUnreachable])
}

func (g *grid) state(i int) ledger.NodeState {
	g.Helper()
	var n ledger.Node
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		n, err = ledger.FindNode(tx, nodeID(i))
		return err
	}); err != nil {
		g.Fatal(err)
	}
	return n.State
}

// metric returns a metric's value, the sum over its labels unless one is given.
func (g *grid) metric(name, label string) (sum int) {
	g.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "dugnad_scheduler_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			sum += int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	return sum
}

// passes returns how many plans were made.
func (g *grid) passes() int {
	g.Helper()
	return g.metric("passes_total", "")
}

// expect compares a number.
func (g *grid) expect(what string, got, want int) {
	g.Helper()
	if got != want {
		g.Errorf("%s: %d, want %d", what, got, want)
	}
}

// reasons returns the names of what is noted of a job, nil when nothing is.
func (g *grid) reasons(id ledger.JobID) (names []string) {
	g.Helper()
	if _, err := g.View(func(tx ledger.Tx) error {
		r, err := ledger.FindReasons(tx, id)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil
		}
		for _, c := range placement.ReadReasons(&r).Counts {
			names = append(names, fmt.Sprintf("%d %s", c.Nodes, c.Code))
		}
		return err
	}); err != nil {
		g.Fatal(err)
	}
	return names
}
