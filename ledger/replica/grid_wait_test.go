//go:build linux

package replica_test

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// found makes a grid of n new members and waits until voters of them vote.
func (g *processGrid) found(n, voters int) {
	g.t.Helper()
	for range n {
		g.add(nil)
	}
	g.must(0, "Found", struct{}{}, &struct{}{})
	g.join(1, n)
	g.until("voters are chosen", func() bool { return g.status(0).Voters == voters })
}

// join has members from first to end-1 join member 0's grid.
func (g *processGrid) join(first, end int) {
	g.t.Helper()
	var joining sync.WaitGroup
	for i := first; i < end; i++ {
		joining.Go(func() {
			if err := g.call(i, 2*ledgertest.Deadline, "Join", []string{g.members[0].config.Address}, &struct{}{}); err != nil {
				g.t.Errorf("join of %s: %v", g.members[i].config.ID, err)
			}
		})
	}
	joining.Wait()
}

// leader waits for a member that leads in a term above the given one.
func (g *processGrid) leader(above uint64) (leader int, term uint64) {
	g.t.Helper()
	g.until("a member leads", func() bool {
		for i := range g.members {
			if s := g.status(i); s.Leads && s.Term > above {
				leader, term = i, s.Term
				return true
			}
		}
		return false
	})
	return leader, term
}

// until waits until done, and fails the test when that takes too long.
func (g *processGrid) until(what string, done func() bool) {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * ledgertest.Deadline)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			for i := range g.members {
				g.t.Logf("%s: %+v", g.members[i].config.ID, g.status(i))
			}
			g.t.Fatalf("waited %v until %s", 2*ledgertest.Deadline, what)
		}
	}
}

// proposer proposes at random members until the outcome is known.
func (g *processGrid) proposer(random *rand.Rand) func(command []byte) ([]byte, error) {
	const within = 2 * time.Second
	return func(command []byte) (result []byte, err error) {
		for late := time.Now().Add(2 * ledgertest.Deadline); time.Now().Before(late); {
			// A late answer to an earlier try must not get into this one's.
			var answer []byte
			err = g.call(random.IntN(len(g.members)), within+time.Second, "Propose", Proposal{command, within}, &answer)
			if err == nil {
				g.acked.Add(1)
				return answer, nil
			}
		}
		return nil, err
	}
}

// acknowledge waits until n more commands were acknowledged.
func (g *processGrid) acknowledge(n int64) {
	g.t.Helper()
	at := g.acked.Load()
	g.until("commands are acknowledged", func() bool { return g.acked.Load() >= at+n })
}

// same waits until all members that run are at the same index, and compares
// their whole stores. Each has checked the ledger.
func (g *processGrid) same() (common Digest) {
	g.t.Helper()
	g.until("all members are at the same index", func() bool {
		var digests []Digest
		for i := range g.members {
			if g.members[i].calls == nil {
				continue
			}
			var d Digest
			g.must(i, "Digest", struct{}{}, &d)
			digests = append(digests, d)
		}
		for _, d := range digests {
			if d.Index != digests[0].Index {
				return false
			}
		}
		for _, d := range digests {
			if d != digests[0] {
				g.t.Fatalf("states at index %d differ", d.Index)
			}
		}
		common = digests[0]
		return true
	})
	return common
}
