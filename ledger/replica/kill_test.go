//go:build linux

package replica_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// BenchmarkLeaderKilled kills the leader's process, with production's timings,
// and measures until another member has had a command applied.
func BenchmarkLeaderKilled(b *testing.B) {
	for _, members := range []int{3, 5} {
		b.Run(fmt.Sprint("voters=", members), func(b *testing.B) {
			random := rand.New(rand.NewPCG(orSeed(41), 1))
			g := newProcessGrid(b, processConfig{VotersMax: members, Production: true})
			g.found(members, members)
			var took []time.Duration
			for range b.N {
				took = append(took, leaderKilled(g, random))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "median-ms")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
		})
	}
}

func leaderKilled(g *processGrid, random *rand.Rand) time.Duration {
	leader, _ := g.leader(0)
	other := (leader + 1 + random.IntN(len(g.members)-1)) % len(g.members)
	var index uint64
	g.must(other, "Read", ledgertest.Deadline, &index)
	command := ledger.Encode(ledger.Envelope{Now: bookStart, Body: &ledger.Tick{}})
	g.kill(leader)
	start := time.Now()
	var answer []byte
	g.must(other, "Propose", Proposal{command, ledgertest.Deadline}, &answer)
	took := time.Since(start)
	g.start(leader)
	g.must(leader, "Read", ledgertest.Deadline, &index)
	return took
}

// BenchmarkMillionQueued measures what a member takes whose book has 1,000,000
// queued tasks in 10,000 jobs of 1,000 tenants, and how long it is away when its
// process, or that of every member, is killed and started again.
func BenchmarkMillionQueued(b *testing.B) {
	const members = 3
	g := newProcessGrid(b, processConfig{VotersMax: members, Production: true})
	g.found(members, members)
	leader, _ := g.leader(0)
	queueMillion(g, leader)
	var resident, heap uint64
	for i := range members {
		var m Memory
		g.must(i, "Memory", false, &m)
		b.Logf("member %d, leader %v: %d MB resident, %d MB heap, %d MB of Go's", i, i == leader, m.Resident>>20, m.Heap>>20, m.System>>20)
		resident = max(resident, m.Resident)
		g.must(i, "Memory", true, &m)
		heap = max(heap, m.Heap)
	}
	follower := (leader + 1) % members
	var one, all []time.Duration
	var index uint64
	for range b.N {
		g.kill(follower)
		start := time.Now()
		g.start(follower)
		g.must(follower, "Read", ledgertest.Deadline, &index)
		one = append(one, time.Since(start))
		for i := range members {
			g.kill(i)
		}
		start = time.Now()
		for i := range members {
			g.start(i)
		}
		for i := range members {
			g.must(i, "Read", ledgertest.Deadline, &index)
		}
		all = append(all, time.Since(start))
		for i := range members {
			var m Memory
			g.must(i, "Memory", false, &m)
			b.Logf("member %d, started again: %d MB resident, %d MB heap", i, m.Resident>>20, m.Heap>>20)
		}
	}
	b.ReportMetric(float64(resident)/1e6, "resident-MB")
	b.ReportMetric(float64(heap)/1e6, "heap-MB")
	b.ReportMetric(slices.Max(one).Seconds(), "one-s")
	b.ReportMetric(slices.Max(all).Seconds(), "all-s")
}

// queueMillion proposes the tenants and their jobs at a member.
func queueMillion(g *processGrid, at int) {
	const tenants, jobs, clients = 1000, 10_000, 64
	do := func(c ledger.Command) {
		var answer []byte
		err := g.call(at, 2*ledgertest.Deadline, "Propose", Proposal{ledger.Encode(ledger.Envelope{Now: bookStart, Body: c}), ledgertest.Deadline}, &answer)
		if err != nil {
			g.t.Errorf("%T: %v", c, err)
			return
		}
		if r, err := ledger.DecodeResult(answer); err != nil || r.Code != ledger.CodeOK {
			g.t.Errorf("%T: %+v, %v", c, r, err)
		}
	}
	tenant := func(n int) ledger.TenantID { return ledger.TenantID(fmt.Sprint("tenant-", n%tenants)) }
	do(&ledger.PutModule{Module: bookModule, Bytes: 1})
	for _, part := range []struct {
		n       int
		command func(n int) ledger.Command
	}{
		{tenants, func(n int) ledger.Command { return &ledger.CreateTenant{Tenant: tenant(n), Weight: 1, BandMax: 7} }},
		{jobs, func(n int) ledger.Command {
			spec := loadedSpec(100)
			spec.Tenant = tenant(n)
			return &ledger.Submit{Job: loadedJob(n), Spec: spec}
		}},
	} {
		var next atomic.Int64
		var working sync.WaitGroup
		for range clients {
			working.Go(func() {
				for n := int(next.Add(1)) - 1; n < part.n; n = int(next.Add(1)) - 1 {
					do(part.command(n))
				}
			})
		}
		working.Wait()
	}
}
