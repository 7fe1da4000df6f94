package ledger_test

import (
	"encoding/binary"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// driver applies commands to a ledger in memory.
type driver struct {
	testing.TB
	*ledgertest.Memory
	now   ledger.Time
	index uint64
	log   [][]byte // the commands so far, when keep is set
	keep  bool
}

func newDriver(tb testing.TB) *driver {
	return &driver{TB: tb, Memory: ledgertest.NewMemory(), now: second}
}

// do applies a command that must not be refused, and returns its result.
func (d *driver) do(c ledger.Command) ledger.Result {
	d.Helper()
	r := d.try(c)
	if r.Code != ledger.CodeOK {
		d.Fatalf("%T: %s %s, have %d, max %d", c, r.Code, r.What, r.Have, r.Max)
	}
	for i, item := range r.Items {
		if item.Code != ledger.CodeOK {
			d.Fatalf("%T: item %d: %s", c, i, item.Code)
		}
	}
	return r
}

func (d *driver) try(c ledger.Command) ledger.Result {
	d.Helper()
	d.index++
	command := ledger.Encode(ledger.Envelope{Now: d.now, Body: c})
	if d.keep {
		d.log = append(d.log, command)
	}
	answer, err := ledger.Apply(d.Memory, d.index, command)
	if err != nil {
		d.Fatalf("%T: %v", c, err)
	}
	r, err := ledger.DecodeResult(answer)
	if err != nil {
		d.Fatal(err)
	}
	return r
}

func (d *driver) check() {
	d.Helper()
	if err := ledger.Check(d.Memory); err != nil {
		d.Fatal(err)
	}
}

// ticks applies Ticks until nothing is due any more, and returns how many.
func (d *driver) ticks() int {
	d.Helper()
	for n := 1; ; n++ {
		before := d.Clone()
		if !d.do(&ledger.Tick{}).More {
			return n
		}
		if before.Sum() == d.Sum() {
			d.Fatal("a Tick says that more is due and does nothing")
		}
	}
}

func jobNumber(n int) (id ledger.JobID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// found makes a tenant, a module and nodes with much room.
func (d *driver) found(nodes ...ledger.NodeID) {
	d.Helper()
	d.do(&ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 7})
	d.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for _, n := range nodes {
		d.do(&ledger.RegisterNode{Node: n, Capacity: ledger.Resources{MemoryBytes: ledger.AmountMax, FuelRate: ledger.AmountMax, Slots: ledger.NodeSlotsMax}, Labels: own(n)})
	}
}

func plainSpec(count uint32) ledger.JobSpec {
	return ledger.JobSpec{
		Tenant: "acme", Module: ledger.ModuleID{1}, Count: count, Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1},
		FuelMax: 1000, Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 3, BackoffNanos: 1e9, BackoffMaxNanos: 60e9}, LossGraceNanos: 30e9,
	}
}

// own is the label that a node has of itself.
func own(n ledger.NodeID) []ledger.Label {
	return []ledger.Label{{Name: ledger.LabelNode, Value: string(n)}}
}
