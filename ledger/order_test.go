package ledger_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func orderNumber(n int) (id ledger.OrderID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// TestEndingOrderIsBounded ends a daemon on more nodes than one command stops.
func TestEndingOrderIsBounded(t *testing.T) {
	const nodes = 600
	d := newDriver(t)
	d.found()
	d.do(&ledger.CreateOrder{Order: orderNumber(1), Kind: ledger.OrderDaemon, Spec: plainSpec(1)})
	for i := 0; i < nodes; {
		c := &ledger.Fire{}
		for ; i < nodes && len(c.Firings) < ledger.FiringsMax; i++ {
			node := ledger.NodeID(fmt.Sprint("n", i))
			d.do(&ledger.RegisterNode{Node: node, Capacity: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1}, Labels: own(node)})
			c.Firings = append(c.Firings, ledger.Firing{Order: orderNumber(1), Node: node})
		}
		d.do(c)
	}
	// All run, so that none is gone as soon as it is stopped.
	seats, err := ledger.Seats(d.Memory, orderNumber(1), "", nodes)
	if err != nil {
		t.Fatal(err)
	}
	place := &ledger.Place{}
	for _, s := range seats {
		place.Placements = append(place.Placements, ledger.Placement{Job: s.Job, Count: 1, Node: s.Node, Slots: 1, Expiry: d.now + 60*second})
	}
	d.do(place)
	d.check()
	n, r := d.written(&ledger.SetOrderState{Order: orderNumber(1), State: ledger.OrderEnded})
	if n > keysMax || !r.More {
		t.Errorf("ending an order of %d jobs writes %d keys, more is due: %v", nodes, n, r.More)
	}
	d.check()
	d.ticks()
	d.check()
	d.now += 100 * second
	d.ticks()
	d.check()
	o, err := ledger.FindOrder(d.Memory, orderNumber(1))
	if err != nil || o.Open != 0 || o.Killed != nodes || o.Finished == 0 {
		t.Errorf("order is %+v, %v", o, err)
	}
	d.now += ledger.RetentionNanos
	d.ticks()
	d.check()
	if _, err := ledger.FindOrder(d.Memory, orderNumber(1)); err == nil {
		t.Error("the order is still there")
	}
	if m, _ := ledger.FindModule(d.Memory, ledger.ModuleID{1}); m.References != 0 {
		t.Errorf("module is %+v", m)
	}
}

// TestOrderLimits reaches each of the limits of orders.
func TestOrderLimits(t *testing.T) {
	d := newDriver(t)
	d.found()
	create := func(n int) ledger.Result {
		return d.try(&ledger.CreateOrder{Order: orderNumber(n), Schedule: "@hourly", Overlap: ledger.OverlapQueue, Spec: plainSpec(1)})
	}
	for n := range ledger.OrdersMax {
		if r := create(n); r.Code != ledger.CodeOK {
			t.Fatalf("order %d: %+v", n, r)
		}
	}
	if r := create(ledger.OrdersMax); r.Code != ledger.CodeQuotaOrders || r.Max != ledger.OrdersMax {
		t.Errorf("one order too many: %+v", r)
	}
	d.do(&ledger.SetOrderState{Order: orderNumber(7), State: ledger.OrderEnded})
	if r := create(ledger.OrdersMax); r.Code != ledger.CodeOK {
		t.Errorf("after one has ended: %+v", r)
	}
	for n := range ledger.OrderJobsMax + 1 {
		d.now += second
		want := ledger.CodeOK
		if n == ledger.OrderJobsMax {
			want = ledger.CodeRunLimit
		}
		if r := d.try(&ledger.Fire{Firings: []ledger.Firing{{Order: orderNumber(1), At: d.now}}}); r.Items[0].Code != want {
			t.Fatalf("run %d: %s, want %s", n, r.Items[0].Code, want)
		}
	}
	d.check()
	o, err := ledger.FindOrder(d.Memory, orderNumber(1))
	if err != nil || len(o.Runs) != ledger.RunsKept || o.Refused != 1 || o.LastAt != d.now {
		t.Errorf("order is %+v, %v", o, err)
	}
	if r := d.try(&ledger.Fire{Firings: make([]ledger.Firing, ledger.FiringsMax+1)}); r.Code != ledger.CodeTooMany {
		t.Errorf("too many firings: %+v", r)
	}
	if r := d.do(&ledger.Fire{Firings: []ledger.Firing{{Order: orderNumber(2), At: d.now, Missed: ledger.MissedMax}}}); r.Code != ledger.CodeOK {
		t.Errorf("%+v", r)
	}
	if r := d.try(&ledger.Fire{Firings: []ledger.Firing{{Order: orderNumber(3), At: d.now, Missed: ledger.MissedMax + 1}}}); r.Items[0].Code != ledger.CodeInvalid {
		t.Errorf("%+v", r)
	}
}

// TestDaemonBackOff has a daemon's job fail again and again, and then last.
func TestDaemonBackOff(t *testing.T) {
	d := newDriver(t)
	d.found()
	d.do(&ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}, Labels: own("n1")})
	d.do(&ledger.CreateOrder{Order: orderNumber(1), Kind: ledger.OrderDaemon, Spec: plainSpec(1)})
	fire := &ledger.Fire{Firings: []ledger.Firing{{Order: orderNumber(1), Node: "n1"}}}
	seat := func() ledger.Seat {
		seats, err := ledger.Seats(d.Memory, orderNumber(1), "", 10)
		if err != nil || len(seats) != 1 {
			t.Fatal(seats, err)
		}
		return seats[0]
	}
	var waits []int
	for i := range 12 {
		d.do(fire)
		if i == 10 {
			d.now += ledger.DaemonBackoffMaxNanos
		}
		d.do(&ledger.Cancel{Job: seat().Job})
		waits = append(waits, int((seat().NotBefore-d.now)/second))
		if r := d.try(fire); r.Items[0].Code != ledger.CodeRunEarly {
			t.Errorf("at once: %s", r.Items[0].Code)
		}
		d.now = seat().NotBefore
	}
	if got := fmt.Sprint(waits); got != "[1 2 4 8 16 32 64 128 256 300 1 2]" {
		t.Errorf("waits %s", got)
	}
	d.check()
}
