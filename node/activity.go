package node

import (
	"errors"
	"runtime"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/control"
)

const (
	// queueJobsMax bounds the waiting jobs that are counted for an operator, and
	// queueTenantMax those of one tenant in one band.
	queueJobsMax   = 1000
	queueTenantMax = 100
)

// Activity implements control.Node.
func (n *Node) Activity() (control.Activity, error) {
	traffic := n.host.Traffic()
	a := control.Activity{
		At: time.Now().UTC(), Node: string(n.self()), Name: n.config.Host.Name, Grid: n.host.Grid().String(),
		Leader: n.book.Status().Leader, DiskBytesUsed: uint64(max(n.store.BytesUsed(), 0)),
		ReceivedBytes: traffic.ReceivedBytes, SentBytes: traffic.SentBytes,
		Jobs: []control.JobActivity{}, Workers: []control.WorkerActivity{}, Queues: []control.Queue{},
	}
	for _, m := range n.host.Members() {
		if a.Members++; m.Connected {
			a.Connected++
		}
	}
	if room, err := n.store.Room(); err == nil {
		a.DiskBytes = a.DiskBytesUsed + uint64(max(room, 0))
	}
	if n.works() {
		a.Slots, a.MemoryBytes, a.FuelRate = n.config.Offer.Slots, n.config.Offer.MemoryBytes, n.rate.Load()
		a.CoreFuelRate = a.FuelRate / min(uint64(a.Slots), uint64(runtime.NumCPU()))
		a.SlotsUsed = n.Busy()
		n.addWork(&a)
	}
	_, err := n.book.View(func(tx ledger.Tx) error {
		is, err := ledger.FindNode(tx, n.self())
		switch {
		case err == nil:
			a.State, a.Until = is.State.String(), pointTime(is.Until)
		case !errors.Is(err, ledger.ErrNotFound):
			return err
		}
		a.Queues, err = queues(tx)
		return err
	})
	return a, err
}

// addWork adds what jobs and workers do.
func (n *Node) addWork(a *control.Activity) {
	for _, j := range n.executor.Activity() {
		a.Jobs = append(a.Jobs, control.JobActivity{
			Job: j.Job.String(), Name: j.Name, Tenant: string(j.Tenant), Module: "sha256:" + j.Module.String(), Band: j.Band,
			Leases: j.Leases, Since: j.Since.UTC(), Running: j.Running, Left: j.Left, Slots: j.Slots, MemoryBytes: j.MemoryBytes,
			Ended: j.Ended, Fuel: j.Fuel,
		})
	}
	for _, w := range n.pool.Activity() {
		a.Workers = append(a.Workers, control.WorkerActivity{
			Tenant: w.Tenant, PID: w.PID, Tasks: w.Series, Adopted: w.Adopted, CPUSeconds: w.CPU.Seconds(), MemoryBytes: w.MemoryBytes,
		})
	}
}

// queues sums up what waits, of each tenant and band in the order in which they go.
func queues(tx ledger.Tx) ([]control.Queue, error) {
	list, err := ledger.Queue(tx, ledger.QueueLimit{Jobs: queueJobsMax, TenantJobs: queueTenantMax, Ranges: 1})
	out := []control.Queue{}
	for i := range list {
		j := &list[i].Job
		last := len(out) - 1
		if last < 0 || out[last].Tenant != string(j.Tenant) || out[last].Band != j.Band {
			out = append(out, control.Queue{Tenant: string(j.Tenant), Band: j.Band, Oldest: time.Unix(0, int64(j.Queued)).UTC()})
			last++
		}
		q := &out[last]
		q.Jobs++
		q.Tasks += uint64(j.Tasks[ledger.TaskQueued])
		if at := time.Unix(0, int64(j.Queued)).UTC(); at.Before(q.Oldest) {
			q.Oldest = at
		}
		q.More = q.Jobs == queueTenantMax
	}
	if len(list) == queueJobsMax {
		out[len(out)-1].More = true
	}
	return out, err
}

// pointTime translates a time of the ledger; nil is none.
func pointTime(t ledger.Time) *time.Time {
	if t == 0 {
		return nil
	}
	at := time.Unix(0, int64(t)).UTC()
	return &at
}
