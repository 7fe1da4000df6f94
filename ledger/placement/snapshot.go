package placement

import (
	"cmp"
	"errors"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// What Snapshot reads and keeps.
const (
	// modulesMax bounds the sizes of modules that are remembered. With more they
	// are read anew.
	modulesMax = 1 << 16
	// leasesEach bounds the leases that are read of one job; the slots of more are
	// reckoned from these. leasesMax bounds those of a pass: jobs whose turn does
	// not come keep what was read of them before.
	leasesEach = 256
	leasesMax  = 1024
)

// Snapshot makes inputs out of a ledger. It keeps what it has read of modules and
// leases, so that a pass reads only what has changed. The zero value is ready for
// use. It must not be used by two goroutines at a time.
type Snapshot struct {
	jobs    []Job
	nodes   []Node
	quotas  []Quota
	claims  []Claim
	ranks   []rank
	modules map[ledger.ModuleID]uint64
	// uses has the tenants that ever had a job in the queue.
	uses   map[ledger.TenantID]*use
	pass   uint64
	params Params
	all    total // what the nodes that are up have
	held   map[ledger.JobID]leases
	reads  int // leases that may still be read
	// bound has which nodes the secrets are for that a pass has come upon.
	bound map[boundKey][]ledger.NodeID
	// ready is since when ranges that avoid nodes are, as of the last Read, and wasReady
	// as of the one before.
	ready, wasReady map[tried]ledger.Time
}

// tried is a range that was given to a node before. What is placed of one goes from its
// front.
type tried struct {
	job             ledger.JobID
	end             uint32
	attempt, losses uint32
	cause           ledger.Cause
	last            ledger.NodeID
}

// leases is the slots that a job's leases held when it had that many events: each
// change to a lease adds one.
type leases struct {
	events  uint32
	running []Running
}

// Read returns an input with the jobs of the backlog's queue, its nodes, and the
// quotas and claims of the tenants that have jobs there. tell adds to each node what
// the ledger does not know: all of Node but the record. The seed is left to the
// caller, and so are ExpectedNanos where no task has ended yet, and SpreadMax.
//
// Jobs are in the order of band, then of the window of Params.AgeNanos in which
// they were queued.
//
// The view must be one that Backlog.Jobs allows. The input is valid until the
// next Read and the backlog's next change.
func (s *Snapshot) Read(tx ledger.Tx, b *ledger.Backlog, params Params, now ledger.Time, tell func(*Node)) (Input, error) {
	queue, err := b.Jobs(tx)
	if err != nil {
		return Input{}, err
	}
	s.begin(params)
	for _, n := range b.Nodes() {
		s.nodes = append(s.nodes, Node{Node: n})
		tell(&s.nodes[len(s.nodes)-1])
		if n.State == ledger.NodeUp {
			s.all.add(&n.Capacity)
		}
	}
	for i, q := range queue {
		if err := s.readTenant(tx, b, q.Spec.Tenant, now); err != nil {
			return Input{}, err
		}
		s.ranks = append(s.ranks, rank{int(q.Job.Band), int64(q.Job.Queued) / params.AgeNanos, i})
	}
	slices.SortFunc(s.ranks, rank.compare)
	for _, r := range s.ranks {
		if err := s.readJob(tx, queue[r.at], now); err != nil {
			return Input{}, err
		}
	}
	if len(s.held) > 2*len(queue) {
		s.forget(queue)
	}
	return Input{Now: now, Jobs: s.jobs, Nodes: s.nodes, Quotas: s.quotas, Claims: s.claims, Params: params}, nil
}

func (s *Snapshot) begin(params Params) {
	if s.uses == nil || len(s.modules) > modulesMax {
		s.modules = make(map[ledger.ModuleID]uint64)
	}
	if s.uses == nil {
		s.uses = make(map[ledger.TenantID]*use)
		s.held = make(map[ledger.JobID]leases)
		s.ready, s.wasReady = make(map[tried]ledger.Time), make(map[tried]ledger.Time)
	}
	s.ready, s.wasReady = s.wasReady, s.ready
	clear(s.ready)
	clear(s.jobs)
	clear(s.nodes)
	s.jobs, s.nodes, s.quotas, s.claims, s.ranks = s.jobs[:0], s.nodes[:0], s.quotas[:0], s.claims[:0], s.ranks[:0]
	s.reads, s.all, s.params = leasesMax, total{}, params
	clear(s.bound)
	s.pass++
}

// Hear takes in that a tenant's record has changed. It may be called when it has not.
func (s *Snapshot) Hear(t *ledger.Tenant, now ledger.Time) {
	if u := s.uses[t.ID]; u != nil {
		u.wait(now, &s.params)
		u.leased = amountsOf(&t.Leased)
	}
}

// readTenant adds a tenant's claim and quota, unless this pass has them.
func (s *Snapshot) readTenant(tx ledger.Tx, b *ledger.Backlog, id ledger.TenantID, now ledger.Time) error {
	if u := s.uses[id]; u != nil && u.pass == s.pass {
		return nil
	}
	t := b.Tenant(id)
	if t == nil {
		return nil
	}
	claim, err := s.Claim(tx, t, now)
	if err != nil {
		return err
	}
	s.uses[id].pass = s.pass
	s.claims = append(s.claims, claim)
	if quota, bounded := QuotaOf(t); bounded {
		s.quotas = append(s.quotas, quota)
	}
	return nil
}

// Claim returns a tenant's claim at a time after a Read. What it has used before it is
// first asked for is in its accounts, day by day.
func (s *Snapshot) Claim(tx ledger.Tx, t *ledger.Tenant, now ledger.Time) (Claim, error) {
	u := s.uses[t.ID]
	if u == nil {
		var err error
		if u, err = newUse(tx, t, now, &s.params); err != nil {
			return Claim{}, err
		}
		s.uses[t.ID] = u
	}
	s.Hear(t, now)
	return Claim{t.ID, t.Weight, t.Leased, u.recent.share(&s.all), u.past.share(&s.all)}, nil
}

// rank is a job's place in the order; at is its index in the queue.
type rank struct {
	band   int
	window int64
	at     int
}

func (r rank) compare(s rank) int {
	return cmp.Or(cmp.Compare(s.band, r.band), cmp.Compare(r.window, s.window), cmp.Compare(r.at, s.at))
}

// QuotaOf returns what a tenant may still lease, and whether that is bounded. Of
// its quotas only those of memory and of fuel per second are about leases: fuel,
// queued tasks and jobs are taken at submission, so that a task that waits has its
// fuel already.
func QuotaOf(t *ledger.Tenant) (Quota, bool) {
	if t == nil || t.Quota.MemoryBytes|t.Quota.FuelRate == 0 {
		return Quota{}, false
	}
	left := func(quota, taken uint64) uint64 {
		if quota == 0 {
			return Unbounded
		}
		return quota - min(quota, taken)
	}
	return Quota{t.ID, left(t.Quota.MemoryBytes, t.Leased.MemoryBytes), left(t.Quota.FuelRate, t.Rate)}, true
}

func (s *Snapshot) readJob(tx ledger.Tx, q *ledger.QueuedJob, now ledger.Time) error {
	j := Job{ID: q.Job.ID, Spec: q.Spec, Pending: q.Ranges, Since: q.Job.Queued, ExpectedNanos: expectedNanos(&q.Job)}
	var err error
	if j.ModuleBytes, err = s.moduleBytes(tx, q.Spec.Module); err != nil {
		return err
	}
	if j.Running, err = s.running(tx, q); err != nil {
		return err
	}
	if j.Bound, err = s.bounds(tx, q.Spec); err != nil {
		return err
	}
	j.Ready = s.readyOf(q, now)
	s.jobs = append(s.jobs, j)
	return nil
}

// bounds returns a job's secrets that are for some nodes only.
func (s *Snapshot) bounds(tx ledger.Tx, spec *ledger.JobSpec) (list []Bound, err error) {
	if len(spec.Secrets) > 0 && s.bound == nil {
		s.bound = make(map[boundKey][]ledger.NodeID)
	}
	for _, name := range spec.Secrets {
		k := boundKey{spec.Tenant, name}
		nodes, known := s.bound[k]
		if !known {
			if nodes, err = ledger.SecretNodes(tx, spec.Tenant, name); err != nil {
				return nil, err
			}
			s.bound[k] = nodes
		}
		if len(nodes) > 0 {
			list = append(list, Bound{name, nodes})
		}
	}
	return list, nil
}

// Bounds returns those of a job's secrets that are for some nodes only.
func Bounds(tx ledger.Tx, spec *ledger.JobSpec) ([]Bound, error) {
	var s Snapshot
	return s.bounds(tx, spec)
}

// readyOf returns Job.Ready: of ranges that avoid nodes, since when they were seen in the
// queue; nil when there are none.
func (s *Snapshot) readyOf(q *ledger.QueuedJob, now ledger.Time) (ready []ledger.Time) {
	for i := range q.Ranges {
		r := &q.Ranges[i]
		if len(r.Avoid) == 0 {
			continue
		}
		key := tried{q.Job.ID, r.Tasks.End, r.Attempt, r.Losses, r.Cause, r.Avoid[len(r.Avoid)-1]}
		at, known := s.wasReady[key]
		if !known {
			at = now
		}
		s.ready[key] = at
		if ready == nil {
			ready = make([]ledger.Time, len(q.Ranges))
		}
		ready[i] = at
	}
	return ready
}

// moduleBytes returns a module's size; zero when the ledger does not know it.
func (s *Snapshot) moduleBytes(tx ledger.Tx, id ledger.ModuleID) (uint64, error) {
	if n, ok := s.modules[id]; ok {
		return n, nil
	}
	m, err := ledger.FindModule(tx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s.modules[id] = m.Bytes
	return m.Bytes, nil
}

// expectedNanos returns the mean duration of a job's tasks that have ended, or
// zero.
func expectedNanos(j *ledger.Job) int64 {
	ended := uint64(0)
	for state := ledger.TaskSucceeded; state <= ledger.TaskRefused; state++ {
		ended += uint64(j.Tasks[state])
	}
	if ended <= uint64(j.Unlisted) {
		return 0
	}
	return int64(min(j.Usage.WallNanos/(ended-uint64(j.Unlisted)), 1<<62))
}

// running counts the slots of a job's leases.
func (s *Snapshot) running(tx ledger.Tx, q *ledger.QueuedJob) ([]Running, error) {
	id := q.Job.ID
	if q.Job.Leases == 0 {
		delete(s.held, id)
		return nil, nil
	}
	known, ok := s.held[id]
	if ok && known.events == q.Job.Events || s.reads <= 0 {
		return known.running, nil
	}
	list, err := ledger.JobLeases(tx, id, 0, 0, leasesEach)
	if err != nil {
		return nil, err
	}
	s.reads -= len(list)
	var running []Running
	for i := range list {
		l := &list[i]
		value := ""
		if label := q.Spec.SpreadLabel; label != "" {
			if at, ok := slices.BinarySearchFunc(s.nodes, l.Node, func(n Node, id ledger.NodeID) int { return cmp.Compare(n.ID, id) }); ok {
				value = spreadValue(&s.nodes[at], label)
			}
		}
		at := slices.IndexFunc(running, func(r Running) bool { return r.Value == value })
		if at < 0 {
			at = len(running)
			running = append(running, Running{Value: value})
		}
		running[at].Slots += l.Slots
	}
	for i := range running {
		running[i].Slots = uint32(min(uint64(running[i].Slots)*uint64(max(q.Job.Leases, uint32(len(list))))/uint64(len(list)), 1<<31))
	}
	s.held[id] = leases{q.Job.Events, running}
	return running, nil
}

// forget drops what is known of jobs that are not in the queue any more.
func (s *Snapshot) forget(queue []*ledger.QueuedJob) {
	held := make(map[ledger.JobID]leases, len(queue))
	for _, q := range queue {
		if l, ok := s.held[q.Job.ID]; ok {
			held[q.Job.ID] = l
		}
	}
	s.held = held
}
