package replica_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"

	"github.com/dugnad/dugnad/ledger"
)

// sum returns a SHA-256 over all keys and values in order.
func sum(tx ledger.Tx) ([sha256.Size]byte, error) {
	h := sha256.New()
	err := tx.Scan(nil, nil, func(key, value []byte) bool {
		part(h, key)
		part(h, value)
		return true
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

func part(h hash.Hash, b []byte) {
	h.Write(binary.AppendUvarint(nil, uint64(len(b))))
	h.Write(b)
}

const (
	second = ledger.Time(1_000_000_000)
	// bookStart is when the commands of tests begin.
	bookStart = 1_767_225_600 * second
)

var bookModule = ledger.ModuleID{31: 1}

// worker is a tenant with a node of its own: it submits jobs and runs them, so
// that it knows what its part of the book must say. It has one command under way
// at a time, which it repeats until the outcome is known.
type worker struct {
	random *rand.Rand
	// propose has a command applied, however many tries it takes.
	propose func(command []byte) (result []byte, err error)
	id      [16]byte
	seq     uint64
	tenant  ledger.TenantID
	node    ledger.NodeID
	// acked counts the commands that were acknowledged.
	acked int
	jobs  map[ledger.JobID]ledger.Tally
	fuel  uint64
}

// newWorker returns a worker whose every decision follows from seed and number.
func newWorker(seed, number uint64, propose func(command []byte) ([]byte, error)) *worker {
	w := &worker{
		random: rand.New(rand.NewPCG(seed, number)), propose: propose, id: [16]byte{'w'},
		tenant: ledger.TenantID(fmt.Sprint("worker-", number)), node: ledger.NodeID(fmt.Sprint("node-", number)),
		jobs: map[ledger.JobID]ledger.Tally{},
	}
	binary.BigEndian.PutUint64(w.id[8:], number)
	return w
}

// do has a command applied, of which everything must be accepted.
func (w *worker) do(c ledger.Command) (ledger.Result, error) {
	w.seq++
	answer, err := w.propose(ledger.Encode(ledger.Envelope{Client: w.id, Seq: w.seq, Now: bookStart + ledger.Time(w.seq), Body: c}))
	if err != nil {
		return ledger.Result{}, err
	}
	w.acked++
	r, err := ledger.DecodeResult(answer)
	if err != nil {
		return r, err
	}
	bad := r.Code != ledger.CodeOK
	for _, item := range r.Items {
		bad = bad || item.Code != ledger.CodeOK
	}
	if bad {
		return r, fmt.Errorf("%s: command %d, %T %+v, was answered with %+v", w.tenant, w.seq, c, c, r)
	}
	return r, nil
}

// found makes the worker's tenant, node and module.
func (w *worker) found() error {
	for _, c := range []ledger.Command{
		&ledger.CreateTenant{Tenant: w.tenant, Weight: 1, BandMax: 7},
		&ledger.RegisterNode{Node: w.node, Capacity: ledger.Resources{MemoryBytes: ledger.AmountMax, FuelRate: ledger.AmountMax, Slots: ledger.NodeSlotsMax}},
		&ledger.PutModule{Module: bookModule, Bytes: 1},
	} {
		if _, err := w.do(c); err != nil {
			return err
		}
	}
	return nil
}

// round takes one job from its submission to its end, or to where it is
// cancelled.
func (w *worker) round() error {
	const fuelMax = 1000
	n := uint32(1 + w.random.IntN(3000))
	job := ledger.JobID{0: w.id[15], 1: w.id[14]}
	binary.BigEndian.PutUint64(job[8:], uint64(len(w.jobs))+1)
	spec := ledger.JobSpec{
		Tenant: w.tenant, Module: bookModule, Count: n, Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1},
		FuelMax: fuelMax, Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 3}, LossGraceNanos: 30e9, Payload: []byte(w.tenant),
	}
	if _, err := w.do(&ledger.Submit{Job: job, Spec: spec}); err != nil {
		return err
	}
	w.jobs[job] = ledger.Tally{ledger.TaskQueued: n}
	place := &ledger.Place{}
	for start := uint32(0); start < n; {
		count := min(n-start, uint32(1+w.random.IntN(1000)))
		place.Placements = append(place.Placements, ledger.Placement{
			Job: job, Start: start, Count: count, Node: w.node, Slots: min(count, 8), Expiry: bookStart + 1000*3600*second,
		})
		start += count
	}
	granted, err := w.do(place)
	if err != nil {
		return err
	}
	begin := &ledger.Begin{Node: w.node}
	for _, item := range granted.Items {
		begin.Epochs = append(begin.Epochs, item.Epoch)
	}
	if _, err := w.do(begin); err != nil {
		return err
	}
	return w.settle(job, place.Placements, begin.Epochs)
}

// settle reports how the leases of a job went, one lease a command.
func (w *worker) settle(job ledger.JobID, leases []ledger.Placement, epochs []ledger.Epoch) error {
	var tally ledger.Tally
	for i, l := range leases {
		good := uint32(w.random.IntN(int(l.Count) + 1))
		fuel := uint64(w.random.IntN(1000))
		var runs []ledger.Run
		if good > 0 {
			runs = append(runs, ledger.Run{First: l.Start, Count: good, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: fuel}, Digest: [32]byte{1}})
			w.fuel += fuel
		}
		if bad := l.Count - good; bad > 0 {
			runs = append(runs, ledger.Run{First: l.Start + good, Count: bad, State: ledger.TaskFailed, Terminal: true, Usage: ledger.Usage{Fuel: 1}})
			w.fuel++
		}
		if _, err := w.do(&ledger.Report{Node: w.node, Leases: []ledger.LeaseReport{{Epoch: epochs[i], Runs: runs}}}); err != nil {
			return err
		}
		tally[ledger.TaskSucceeded] += good
		tally[ledger.TaskFailed] += l.Count - good
	}
	w.jobs[job] = tally
	_, err := w.do(&ledger.Tick{})
	return err
}

// verify compares the book with what the worker was told.
func (w *worker) verify(tx ledger.Tx) error {
	t, err := ledger.FindTenant(tx, w.tenant)
	if err != nil {
		return err
	}
	if t.FuelUsed != w.fuel || t.FuelReserved != 0 || t.Queued != 0 || t.Jobs != 0 {
		return fmt.Errorf("%s reported %d fuel and has nothing open, the book says %+v", w.tenant, w.fuel, t)
	}
	jobs, err := ledger.JobsOf(tx, w.tenant, ledger.JobID{}, len(w.jobs)+1)
	if err != nil {
		return err
	}
	if len(jobs) != len(w.jobs) {
		return fmt.Errorf("%s submitted %d jobs, the book has %d", w.tenant, len(w.jobs), len(jobs))
	}
	for _, j := range jobs {
		if j.Tasks != w.jobs[j.ID] || j.Leases != 0 {
			return fmt.Errorf("%s: job %s is %v with %d leases, should be %v", w.tenant, j.ID, j.Tasks, j.Leases, w.jobs[j.ID])
		}
	}
	return nil
}
