package ledger_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// grid is a driver with 1,000 nodes.
func grid(b *testing.B) (*driver, []ledger.NodeID) {
	b.Helper()
	d := newDriver(b)
	var nodes []ledger.NodeID
	for i := range 1000 {
		nodes = append(nodes, ledger.NodeID(fmt.Sprintf("12D3KooW%044d", i)))
	}
	d.found(nodes...)
	return d, nodes
}

// apply applies an encoded command.
func (d *driver) apply(command []byte) {
	if _, err := ledger.Apply(d.Memory, 1, command); err != nil {
		d.Fatal(err)
	}
}

func (d *driver) encode(c ledger.Command) []byte {
	return ledger.Encode(ledger.Envelope{Now: d.now, Body: c})
}

func BenchmarkSubmit(b *testing.B) {
	d, _ := grid(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.apply(d.encode(&ledger.Submit{Job: jobNumber(i), Spec: plainSpec(100)}))
	}
}

// BenchmarkLife takes single leases through their commands: 16 in each, of one
// task each, as the scheduler and the nodes send them.
func BenchmarkLife(b *testing.B) {
	const size = 16
	d, nodes := grid(b)
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: plainSpec(ledger.CountMax)})
	var start uint32
	var epoch ledger.Epoch
	for _, verb := range []string{"Place", "Begin", "Renew", "Report"} {
		b.Run(verb, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if verb != "Place" {
					b.StopTimer()
				}
				c := &ledger.Place{}
				node := nodes[int(start)%len(nodes)]
				report := &ledger.Report{Node: node}
				var epochs []ledger.Epoch
				for range size {
					c.Placements = append(c.Placements, ledger.Placement{Job: jobNumber(1), Start: start, Count: 1, Node: node, Slots: 1, Expiry: d.now + 3600*second})
					start++
					epoch++
					epochs = append(epochs, epoch)
					report.Leases = append(report.Leases, ledger.LeaseReport{Epoch: epoch, Runs: []ledger.Run{{First: start - 1, Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 5}}}})
				}
				place, done := d.encode(c), d.encode(report)
				d.apply(place)
				if verb == "Place" {
					b.StopTimer()
				}
				var command []byte
				switch verb {
				case "Begin":
					command = d.encode(&ledger.Begin{Node: node, Epochs: epochs})
				case "Renew":
					command = d.encode(&ledger.Renew{Node: node, Epochs: epochs, Expiry: d.now + 7200*second})
				case "Report":
					command = done
				}
				if verb != "Place" {
					b.StartTimer()
					d.apply(command)
					b.StopTimer()
				}
				if verb != "Report" {
					d.apply(done)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/lease")
		})
	}
}

// BenchmarkMillionTasks places and settles 1,000,000 tasks of 100 jobs in leases
// of 1,000 tasks, 16 in a command.
func BenchmarkMillionTasks(b *testing.B) {
	d, nodes := grid(b)
	job := 0
	for b.Loop() {
		leases := 0
		for range 100 {
			job++
			d.apply(d.encode(&ledger.Submit{Job: jobNumber(job), Spec: plainSpec(10_000)}))
			c := &ledger.Place{}
			for i := range uint32(10) {
				c.Placements = append(c.Placements, ledger.Placement{Job: jobNumber(job), Start: i * 1000, Count: 1000, Node: nodes[leases%1000], Slots: 8, Expiry: d.now + 3600*second})
				leases++
			}
			r := d.do(c)
			for i, item := range r.Items {
				d.apply(d.encode(&ledger.Report{Node: c.Placements[i].Node, Leases: []ledger.LeaseReport{{Epoch: item.Epoch, Runs: []ledger.Run{
					{First: uint32(i) * 1000, Count: 1000, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 1000}},
				}}}}))
			}
		}
	}
	b.ReportMetric(1e6*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// state is the one of the issue: 1,000,000 queued tasks in 10,000 jobs of 1,000
// tenants, and 1,000 nodes.
func state(b *testing.B) *driver {
	b.Helper()
	d, _ := grid(b)
	for i := range 1000 {
		d.apply(d.encode(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprintf("tenant-%d", i)), Weight: 1, BandMax: 7}))
	}
	for i := range 10_000 {
		spec := plainSpec(100)
		spec.Tenant = ledger.TenantID(fmt.Sprintf("tenant-%d", i%1000))
		d.apply(d.encode(&ledger.Submit{Job: jobNumber(i), Spec: spec}))
	}
	return d
}

func BenchmarkQueue(b *testing.B) {
	d := state(b)
	b.ReportMetric(float64(d.Len()), "keys")
	for _, limit := range []ledger.QueueLimit{{}, {Jobs: 1000, TenantJobs: 1, Ranges: 4}} {
		b.Run(fmt.Sprintf("Jobs%d", limit.Jobs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ledger.Queue(d.Memory, limit); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(d.Len()), "keys")
			b.ReportMetric(float64(d.Bytes()), "state-bytes")
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	d := state(b)
	for b.Loop() {
		d.check()
	}
}

// BenchmarkReceipt verifies the signature of a report: of a single task, and of as many
// as a busy node reports at once.
func BenchmarkReceipt(b *testing.B) {
	key := keyOf("n1")
	public := [32]byte(key.Public().(ed25519.PublicKey))
	for _, leases := range []int{1, 100} {
		r := &ledger.Report{Node: "n1", Costs: 6}
		for i := range leases {
			r.Leases = append(r.Leases, ledger.LeaseReport{Epoch: ledger.Epoch(i + 1), Runs: []ledger.Run{
				{Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 1e6, MemoryByteSeconds: 1e6, WallNanos: 1e6}, Digest: [32]byte{1}, StoredBytes: 100},
			}})
		}
		if err := r.Sign(func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil }); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("leases=%d", leases), func(b *testing.B) {
			for b.Loop() {
				if !r.SignedBy(public) {
					b.Fatal("the signature is not the node's")
				}
			}
		})
	}
}
