package ledger_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// rich makes a state with records in every table.
func rich(d *driver) {
	d.Helper()
	d.found("n1", "n2", "n3")
	spec := plainSpec(100)
	spec.Payload, spec.QueueNanos, spec.TotalNanos = []byte("payload"), 1e12, 1e13
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: spec})
	d.do(&ledger.Submit{Job: jobNumber(2), Spec: spec})
	d.do(&ledger.Submit{Job: jobNumber(3), Spec: plainSpec(1)})
	after := plainSpec(5)
	after.After = []ledger.JobID{jobNumber(1)}
	d.do(&ledger.Submit{Job: jobNumber(4), Spec: after})
	d.do(&ledger.Place{Placements: []ledger.Placement{
		{Job: jobNumber(1), Start: 0, Count: 40, Node: "n1", Slots: 4, Expiry: d.now + 60*second},
		{Job: jobNumber(1), Start: 40, Count: 20, Node: "n2", Slots: 4, Expiry: d.now + 60*second},
		{Job: jobNumber(3), Start: 0, Count: 1, Node: "n2", Slots: 1, Expiry: d.now + 60*second},
	}})
	d.do(&ledger.Begin{Node: "n1", Epochs: []ledger.Epoch{1}})
	d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{
		{First: 0, Count: 3, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 3}, Digest: [32]byte{1}},
		{First: 5, Count: 1, State: ledger.TaskFailed},
		{First: 7, Count: 1, State: ledger.TaskFailed},
		{First: 9, Count: 1, State: ledger.TaskRefused},
	}}}})
	d.do(&ledger.Report{Node: "n2", Leases: []ledger.LeaseReport{{Epoch: 3, Runs: []ledger.Run{{First: 0, Count: 1, State: ledger.TaskSucceeded}}}}})
	charged(d)
	d.do(&ledger.Revoke{ID: [32]byte{1}, Until: d.now + 60*second, Tenant: "acme"})
	d.do(&ledger.PutSecret{Tenant: "acme", Name: "TOKEN", ID: [16]byte{1}, Keys: []ledger.SecretKey{{Node: "n1", Sealed: []byte("key")}}, Value: []byte("sealed")})
	d.do(&ledger.PutCustodian{Node: "n1", Card: []byte("card")})
	d.do(&ledger.NoteReasons{Notes: []ledger.Note{{Job: jobNumber(2), Reasons: []ledger.Reason{{What: "memory"}}}}})
	d.index++
	client := ledger.Encode(ledger.Envelope{Client: [16]byte{1}, Seq: 1, Now: d.now, Body: &ledger.Tick{}})
	if d.keep {
		d.log = append(d.log, client)
	}
	if _, err := ledger.Apply(d.Memory, d.index, client); err != nil {
		d.Fatal(err)
	}
}

// charged has a job with receipts of two days, and another day's of which the modules are
// still to be forgotten.
func charged(d *driver) {
	d.Helper()
	key := keyOf("n4")
	now := d.now
	d.now += 86_400 * second
	d.do(&ledger.RegisterNode{Node: "n4", Capacity: ledger.Resources{MemoryBytes: 1 << 30, FuelRate: 1 << 30, Slots: 9}, Key: [32]byte(key.Public().(ed25519.PublicKey))})
	d.do(&ledger.Place{Placements: []ledger.Placement{{Job: jobNumber(2), Count: 9, Node: "n4", Slots: 1, Expiry: d.now + 200_000*second}}})
	for task := range uint32(2) {
		d.now += 86_400 * second
		r := &ledger.Report{Node: "n4", Costs: 1, Leases: []ledger.LeaseReport{{Epoch: 4, Runs: []ledger.Run{
			{First: task, Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 5, EgressBytes: 6}, Digest: [32]byte{2}, StoredBytes: 7},
		}}}}
		if err := r.Sign(func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil }); err != nil {
			d.Fatal(err)
		}
		d.do(r)
	}
	d.now = now
}

// standing makes orders with jobs that have not ended, and one that has ended with
// more of them than one command stops.
func standing(d *driver) {
	d.Helper()
	spec := plainSpec(2)
	spec.Payload = []byte("payload")
	cron, daemon, ended := ledger.OrderID{1}, ledger.OrderID{2}, ledger.OrderID{3}
	d.do(&ledger.CreateOrder{Order: cron, Schedule: "@daily", Overlap: ledger.OverlapQueue, Spec: spec})
	d.do(&ledger.CreateOrder{Order: daemon, Kind: ledger.OrderDaemon, Spec: spec})
	d.do(&ledger.CreateOrder{Order: ended, Schedule: "@daily", Spec: spec})
	d.now += 2 * second
	d.do(&ledger.Fire{Firings: []ledger.Firing{{Order: cron, At: d.now - 1}, {Order: cron, At: d.now}, {Order: daemon, Node: "n1"}, {Order: daemon, Node: "n2"}}})
	d.do(&ledger.SetOrderState{Order: ended, State: ledger.OrderEnded})
}

// TestCheckFinds takes away every single key of a state, and puts another one in
// its place: Check must notice.
func TestCheckFinds(t *testing.T) {
	d := newDriver(t)
	rich(d)
	standing(d)
	d.check()
	// Records that stand for themselves: nothing says that there must be one.
	alone := map[byte]bool{'B': true, 'R': true, 'O': true, 'b': true, 'U': true}
	var keys [][]byte
	tables := map[byte]bool{}
	_ = d.Scan(nil, nil, func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		tables[key[0]] = true
		return true
	})
	for _, table := range []byte("mtnMJSBPLCOERAcQTlKDosbkjidvuayYU") {
		if !tables[table] {
			t.Errorf("the state has no key in table %q", table)
		}
	}
	for _, key := range keys {
		what, _ := ledger.Describe(key, nil)
		value, _ := d.Get(key)
		value = append([]byte(nil), value...)
		_ = d.Delete(key)
		if err := ledger.Check(d.Memory); err == nil && !alone[key[0]] && what != "node n3" {
			t.Errorf("nothing is wrong without %s", what)
		}
		other := append([]byte(nil), key...)
		other[len(other)-1] ^= 0x40
		// Who has put something out, or which module has cost something, nobody else says.
		if was, _ := d.Get(other); was == nil && key[0] != 'O' && key[0] != 'a' {
			_ = d.Set(other, value)
			if err := ledger.Check(d.Memory); err == nil {
				t.Errorf("nothing is wrong with %s under another key", what)
			}
			_ = d.Delete(other)
		}
		_ = d.Set(key, value)
	}
	d.check()
}
