package replica_test

import (
	"math/rand/v2"

	"github.com/dugnad/dugnad/ledger"
)

// chaos draws commands, most of them possible and some not, for a few tenants,
// nodes and jobs that are nobody else's.
type chaos struct {
	random *rand.Rand
	now    ledger.Time
	// view shows a state, which may be an old one.
	view func(f func(tx ledger.Tx) error) error
}

var (
	chaosTenants = []ledger.TenantID{"alder", "birch"}
	chaosNodes   = []ledger.NodeID{"n1", "n2", "n3"}
	chaosCounts  = []uint32{1, 3, 64, 65, 200, 8192, 20000}
)

func pick[T any](c *chaos, list []T) T   { return list[c.random.IntN(len(list))] }
func (c *chaos) n(low, high int) int     { return low + c.random.IntN(high-low+1) }
func (c *chaos) job() ledger.JobID       { return ledger.JobID{0: 255, 15: byte(c.n(1, 24))} }
func (c *chaos) module() ledger.ModuleID { return ledger.ModuleID{30: 1, 31: byte(c.n(1, 2))} }

func (c *chaos) later(seconds int) ledger.Time { return c.now + second*ledger.Time(c.n(0, seconds)) }

// founding returns the commands that make most of the others possible.
func (c *chaos) founding() (list []ledger.Command) {
	for _, t := range chaosTenants {
		list = append(list, &ledger.CreateTenant{Tenant: t, Weight: 1, BandMax: 3})
	}
	for _, n := range chaosNodes {
		list = append(list, &ledger.RegisterNode{Node: n, Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 50}})
	}
	for i := range byte(2) {
		list = append(list, &ledger.PutModule{Module: ledger.ModuleID{30: 1, 31: i + 1}, Bytes: 10})
	}
	return list
}

// command draws one, and moves the time on now and then.
func (c *chaos) command() (ledger.Command, error) {
	if c.random.IntN(4) == 0 {
		c.now += second * ledger.Time(pick(c, []int{1, 2, 5, 30}))
	}
	switch node := pick(c, chaosNodes); c.random.IntN(20) {
	case 0:
		return &ledger.SetQuota{Tenant: pick(c, chaosTenants), Weight: 1, BandMax: 3, Quota: ledger.Quota{QueuedTasks: uint64(c.n(0, 1)) * 60_000}}, nil
	case 1:
		return &ledger.RegisterNode{Node: node, Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: uint32(c.n(1, 64))}}, nil
	case 2:
		return &ledger.SetNodeState{Node: node, State: ledger.NodeState(c.n(0, 4))}, nil
	case 3:
		return &ledger.PutModule{Module: c.module(), Bytes: 10, Holder: node}, nil
	case 4, 5, 6:
		return c.submit(), nil
	case 7:
		return &ledger.Cancel{Job: c.job()}, nil
	case 8, 9, 10, 11:
		return c.place()
	case 12, 13:
		epochs, err := c.epochs(node)
		return &ledger.Begin{Node: node, Epochs: epochs}, err
	case 14:
		epochs, err := c.epochs(node)
		return &ledger.Renew{Node: node, Epochs: epochs, Expiry: c.later(60)}, err
	case 15:
		epochs, err := c.epochs(node)
		return &ledger.Release{Node: node, Epochs: epochs, Cause: ledger.CauseReleased}, err
	case 16, 17, 18:
		return c.report(node)
	default:
		return &ledger.Tick{}, nil
	}
}

func (c *chaos) submit() ledger.Command {
	spec := ledger.JobSpec{
		Tenant: pick(c, chaosTenants), Module: c.module(), Count: pick(c, chaosCounts), Band: uint8(c.n(0, 4)),
		Task: ledger.Resources{MemoryBytes: 10, FuelRate: 5, Slots: 1}, FuelMax: 10,
		Retry:      ledger.Retry{AttemptsMax: uint32(c.n(1, 3)), LossesMax: uint32(c.n(0, 2)), BackoffNanos: int64(c.n(0, 2)) * 1e9, BackoffMaxNanos: 5e9},
		QueueNanos: int64(c.n(0, 1)) * 100e9, TotalNanos: int64(c.n(0, 1)) * 200e9, LossGraceNanos: int64(c.n(0, 1)) * 20e9, AfterAny: c.n(0, 1) == 1,
	}
	for range c.n(0, 2) {
		spec.After = append(spec.After, c.job())
	}
	if c.n(0, 3) == 0 {
		spec.Payload = []byte("payload")
	}
	return &ledger.Submit{Job: c.job(), Spec: spec}
}

func (c *chaos) place() (ledger.Command, error) {
	p := &ledger.Place{}
	err := c.view(func(tx ledger.Tx) error {
		queue, err := ledger.Queue(tx, ledger.QueueLimit{Ranges: 20})
		for _, q := range queue {
			if q.Job.ID[0] != 255 {
				continue // a worker's
			}
			for _, r := range q.Ranges {
				count := uint32(c.n(1, pick(c, []int{70, 10000})))
				p.Placements = append(p.Placements, ledger.Placement{
					Job: q.Job.ID, Start: r.Tasks.First + uint32(c.n(0, 20)/20), Count: count, Node: pick(c, chaosNodes),
					Slots: min(count, uint32(c.n(1, 20))), Expiry: c.later(60),
				})
			}
		}
		return err
	})
	return p, err
}

// leases returns leases of a node, and now and then one that does not exist.
func (c *chaos) leases(node ledger.NodeID) (list []ledger.Lease, err error) {
	err = c.view(func(tx ledger.Tx) error {
		list, err = ledger.LeasesOf(tx, node, 0, 100)
		return err
	})
	if c.n(0, 9) == 0 {
		list = append(list, ledger.Lease{Node: node, Epoch: ledger.Epoch(c.n(0, 50)), Tasks: ledger.Tasks(0, 9)})
	}
	return list, err
}

func (c *chaos) epochs(node ledger.NodeID) (epochs []ledger.Epoch, err error) {
	leases, err := c.leases(node)
	for _, l := range leases {
		if c.n(0, 2) > 0 {
			epochs = append(epochs, l.Epoch)
		}
	}
	return epochs, err
}

func (c *chaos) report(node ledger.NodeID) (ledger.Command, error) {
	leases, err := c.leases(node)
	report := &ledger.Report{Node: node}
	for _, l := range leases {
		part := ledger.LeaseReport{Epoch: l.Epoch}
		for range c.n(0, 4) {
			run := ledger.Run{
				First: l.Tasks.First + uint32(c.n(0, int(l.Tasks.End-l.Tasks.First))), Count: uint32(c.n(1, 40)),
				State: ledger.TaskState(c.n(int(ledger.TaskSucceeded), int(ledger.TaskRefused))), Terminal: c.n(0, 3) == 0,
			}
			if c.n(0, 1) == 0 {
				run.First, run.Count = l.Open.First, max(l.Open.Count(), 1)
			}
			run.Usage.Fuel = uint64(c.n(0, 12*int(run.Count)))
			run.Digest[0] = byte(c.n(0, 1))
			part.Runs = append(part.Runs, run)
		}
		report.Leases = append(report.Leases, part)
	}
	return report, err
}
