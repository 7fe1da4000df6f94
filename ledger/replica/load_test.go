//go:build linux

package replica_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/machine"
)

// loaded is the leader of three voters in one process, over TCP, on disk and
// with production's timings, whose book has a tenant, a module and 1,000 nodes.
type loaded struct {
	*testing.B
	leader *replica.Replica
}

const (
	loadedNodes = 1000
	loadedSlots = ledger.NodeSlotsMax
)

func newLoaded(b *testing.B) *loaded {
	b.Helper()
	tcp := onLoopback(b)
	c := ledgertest.NewCluster(b, ledgertest.ClusterConfig{Machine: machine.Ledger{}, Open: onDisk(b, true), Configure: func(c *replica.Config) {
		tcp(c)
		production(c)
	}})
	list := c.Found(3, 3)
	l := &loaded{b, list[c.Leader(3)]}
	l.do(&ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 7})
	l.do(&ledger.PutModule{Module: bookModule, Bytes: 1})
	l.parallel(16, loadedNodes, func(_, n int) {
		l.do(&ledger.RegisterNode{Node: loadedNode(n), Capacity: ledger.Resources{MemoryBytes: ledger.AmountMax, FuelRate: ledger.AmountMax, Slots: loadedSlots}})
	})
	return l
}

// loadedNode names a node with as many bytes as its key's text has.
func loadedNode(n int) ledger.NodeID {
	return ledger.NodeID(fmt.Sprintf("12D3KooW%044d", n%loadedNodes))
}

func loadedJob(n int) (id ledger.JobID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

func loadedSpec(count uint32) ledger.JobSpec {
	return ledger.JobSpec{
		Tenant: "acme", Module: bookModule, Count: count, Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1},
		FuelMax: 1000, Retry: ledger.Retry{AttemptsMax: 3, LossesMax: 3, BackoffNanos: 1e9, BackoffMaxNanos: 60e9}, LossGraceNanos: 30e9,
	}
}

// do has a command applied, of which everything must be accepted.
func (l *loaded) do(c ledger.Command) ledger.Result {
	answer, _, err := l.leader.Propose(context.Background(), ledger.Encode(ledger.Envelope{Now: bookStart, Body: c}))
	if err != nil {
		l.Error(err)
		return ledger.Result{}
	}
	r, err := ledger.DecodeResult(answer)
	if err != nil || r.Code != ledger.CodeOK {
		l.Errorf("%T: %+v, %v", c, r, err)
	}
	for _, item := range r.Items {
		if item.Code != ledger.CodeOK {
			l.Errorf("%T: %+v", c, item)
		}
	}
	return r
}

// parallel calls do total times, from n clients, and returns how long each took.
func (l *loaded) parallel(n, total int, do func(client, number int)) []time.Duration {
	took := make([]time.Duration, total)
	var next atomic.Int64
	var clients sync.WaitGroup
	for client := range n {
		clients.Go(func() {
			for i := int(next.Add(1)) - 1; i < total && !l.Failed(); i = int(next.Add(1)) - 1 {
				start := time.Now()
				do(client, i)
				took[i] = time.Since(start)
			}
		})
	}
	clients.Wait()
	slices.Sort(took)
	return took
}

// measure runs do b.N times, from n clients, and reports how long each took,
// and what it cost all three voters together.
func (l *loaded) measure(n int, do func(client, number int)) {
	before := processorTime(l)
	l.ResetTimer()
	took := l.parallel(n, l.N, do)
	l.StopTimer()
	l.ReportMetric(float64((processorTime(l)-before).Microseconds())/float64(l.N), "cpu-us/op")
	l.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	l.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// processorTime is what this process has used so far.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLedger measures the real state machine behind three voters.
func BenchmarkLedger(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("what=submit/clients=%d", clients), func(b *testing.B) {
			l := newLoaded(b)
			l.measure(clients, func(_, n int) { l.do(&ledger.Submit{Job: loadedJob(n), Spec: loadedSpec(100)}) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
	for _, clients := range []int{16, 64} {
		b.Run(fmt.Sprintf("what=place/clients=%d", clients), func(b *testing.B) { benchmarkPlace(newLoaded(b), clients) })
		b.Run(fmt.Sprintf("what=ranges/clients=%d", clients), func(b *testing.B) { benchmarkRanges(newLoaded(b), clients) })
	}
}

// placementsPerCommand is how many placements a scheduler puts in a command.
const placementsPerCommand = 16

// benchmarkPlace places single tasks. Each client has a job of its own.
func benchmarkPlace(l *loaded, clients int) {
	for client := range clients {
		l.do(&ledger.Submit{Job: loadedJob(client), Spec: loadedSpec(ledger.CountMax)})
	}
	starts := make([]uint32, clients)
	l.measure(clients, func(client, n int) {
		c := &ledger.Place{}
		for i := range placementsPerCommand {
			c.Placements = append(c.Placements, ledger.Placement{
				Job: loadedJob(client), Start: starts[client], Count: 1, Node: loadedNode(n*placementsPerCommand + i), Slots: 1, Expiry: bookStart + 3600*second,
			})
			starts[client]++
		}
		l.do(c)
	})
	l.ReportMetric(float64(l.N*placementsPerCommand)/l.Elapsed().Seconds(), "placements/s")
}

// benchmarkRanges takes tasks from placement to their end: a command places
// ranges of 100 on 16 nodes, each of which reports its lease with two runs.
func benchmarkRanges(l *loaded, clients int) {
	const rangeTasks = 100
	for client := range clients {
		l.do(&ledger.Submit{Job: loadedJob(client), Spec: loadedSpec(ledger.CountMax)})
	}
	starts := make([]uint32, clients)
	l.measure(clients, func(client, n int) {
		c := &ledger.Place{}
		for i := range placementsPerCommand {
			c.Placements = append(c.Placements, ledger.Placement{
				Job: loadedJob(client), Start: starts[client], Count: rangeTasks, Node: loadedNode(n*placementsPerCommand + i), Slots: 8, Expiry: bookStart + 3600*second,
			})
			starts[client] += rangeTasks
		}
		for i, item := range l.do(c).Items {
			p := c.Placements[i]
			l.do(&ledger.Report{Node: p.Node, Leases: []ledger.LeaseReport{{Epoch: item.Epoch, Runs: []ledger.Run{
				{First: p.Start, Count: rangeTasks / 2, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 1000}},
				{First: p.Start + rangeTasks/2, Count: rangeTasks / 2, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: 1000}},
			}}}})
		}
	})
	l.ReportMetric(float64(l.N*placementsPerCommand*rangeTasks)/l.Elapsed().Seconds(), "tasks/s")
}
