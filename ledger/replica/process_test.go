//go:build linux

package replica_test

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// crew is workers that work for a grid of processes.
type crew struct {
	grid    *processGrid
	workers []*worker
	stop    chan struct{}
	running sync.WaitGroup
}

// hire sets workers to work.
func (g *processGrid) hire(seed uint64, first, n int) *crew {
	c := &crew{grid: g, stop: make(chan struct{})}
	for i := range n {
		number := uint64(first + i)
		w := newWorker(seed, number, g.proposer(rand.New(rand.NewPCG(seed, 100+number))))
		c.workers = append(c.workers, w)
		c.running.Go(func() { work(g.t, w, c.stop) })
	}
	return c
}

// dismiss waits until all have ended their jobs.
func (c *crew) dismiss() {
	close(c.stop)
	c.running.Wait()
}

// verify compares a backup by member i with what the workers were told.
func (c *crew) verify(i int) {
	t := c.grid.t
	t.Helper()
	var index uint64
	c.grid.must(i, "Read", ledgertest.Deadline, &index)
	name := filepath.Join(t.TempDir(), "backup")
	c.grid.must(i, "Backup", name, &index)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := openStore(t, t.TempDir())
	if _, err := s.Restore(f); err != nil {
		t.Fatal(err)
	}
	if err := s.View(func(tx ledger.Tx) (err error) {
		for _, w := range c.workers {
			err = errors.Join(err, w.verify(tx))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestProcessesKilled kills processes, the leader's among them, and stops one
// for a while, under workers that use any of them.
func TestProcessesKilled(t *testing.T) {
	t.Parallel()
	const members, kills, acksBetween = 5, 8, 25
	seed := orSeed(21)
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	g := newProcessGrid(t, processConfig{VotersMax: members})
	g.found(members, members)
	crew := g.hire(seed, 1, 4)
	for round := range kills / 2 {
		// Two at once, one of them the leader every other time. One stays away
		// for longer; there is always a majority.
		order := random.Perm(members)
		leader, term := g.leader(0)
		if round%2 == 0 {
			for i := range order {
				if order[i] == leader {
					order[0], order[i] = order[i], order[0]
				}
			}
		}
		t.Logf("%d acknowledged, term %d, leader %d: kill %v", g.acked.Load(), term, leader, order[:2])
		g.kill(order[0])
		g.kill(order[1])
		g.start(order[1])
		g.acknowledge(acksBetween)
		g.start(order[0])
		g.acknowledge(acksBetween)
	}
	leader, term := g.leader(0)
	g.signal(leader, syscall.SIGSTOP)
	next, _ := g.leader(term)
	g.acknowledge(acksBetween)
	var before, after uint64
	g.must(next, "Read", ledgertest.Deadline, &before)
	g.signal(leader, syscall.SIGCONT)
	// It still believes that it leads, and has to find out before it answers.
	if g.must(leader, "Read", ledgertest.Deadline, &after); after < before {
		t.Errorf("the leader of before reads at %d, its successor had read at %d", after, before)
	}
	g.until("the leader of before knows of its successor", func() bool { return g.status(leader).Term > term })
	crew.dismiss()
	for i := range g.members {
		var index uint64
		g.must(i, "Read", ledgertest.Deadline, &index)
	}
	g.same()
	crew.verify(leader)
	t.Logf("%d commands were acknowledged", g.acked.Load())
}

// TestProcessesLostForGood takes a backup and founds another grid with it, then
// loses a majority of the first one and goes on with what is left.
func TestProcessesLostForGood(t *testing.T) {
	t.Parallel()
	const members, voters = 5, 3
	seed := orSeed(22)
	t.Logf("seed %d", seed)
	g := newProcessGrid(t, processConfig{VotersMax: voters})
	g.found(members, voters)
	first, second := g.hire(seed, 1, 2), g.hire(seed, 3, 2)
	g.acknowledge(60)
	first.dismiss()
	backup := filepath.Join(t.TempDir(), "backup")
	var index uint64
	g.must(members-1, "Read", ledgertest.Deadline, &index)
	g.must(members-1, "Backup", backup, &index)
	kept := first.photograph()
	g.acknowledge(20)
	second.dismiss()
	t.Run("restore", func(t *testing.T) { restoredGrid(t, seed, backup, kept) })

	g.same()
	var survivors []int
	for i, lost := len(g.members)-1, 0; i >= 0; i-- {
		if s := g.status(i); s.Voter && lost < voters-1 {
			lost++
			continue
		}
		survivors = append(survivors, i)
	}
	for i := range g.members {
		g.kill(i)
	}
	recoverTwice(t, g.members[survivors[0]].config)
	for _, i := range survivors {
		g.start(i)
	}
	g.until("three vote", func() bool { return g.status(survivors[0]).Voters == voters })
	third := g.hire(seed, 5, 1)
	g.acknowledge(20)
	third.dismiss()
	g.same()
	for _, crew := range []*crew{first, second, third} {
		crew.verify(survivors[1])
	}
}

// photograph keeps what the workers know now.
func (c *crew) photograph() (list []*worker) {
	for _, w := range c.workers {
		kept := *w
		kept.jobs = maps.Clone(w.jobs)
		list = append(list, &kept)
	}
	return list
}

// restoredGrid founds a grid with a backup, and works with it.
func restoredGrid(t *testing.T, seed uint64, backup string, kept []*worker) {
	g := newProcessGrid(t, processConfig{VotersMax: 3})
	founder := g.add(func(c *processConfig) { c.ID, c.Backup = "founder", backup })
	g.members[founder].config.Backup = ""
	g.add(nil)
	g.add(nil)
	g.until("the founder leads", func() bool { return g.status(founder).Leads })
	g.join(1, 3)
	g.until("three vote", func() bool { return g.status(founder).Voters == 3 })
	crew := g.hire(seed, 9, 1)
	g.acknowledge(20)
	crew.dismiss()
	crew.workers = append(crew.workers, kept...)
	crew.verify(2)
	g.same()
}

// recoverTwice does what the operator does with the data of a survivor.
func recoverTwice(t *testing.T, c processConfig) {
	t.Helper()
	for range 2 {
		s, config, err := c.replicaConfig()
		if err != nil {
			t.Fatal(err)
		}
		config.Log = nil
		ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
		err = replica.Recover(ctx, config)
		cancel()
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProcessesUnderNoise throws bytes at the members' listeners while they
// work, and leaves connections half open.
func TestProcessesUnderNoise(t *testing.T) {
	t.Parallel()
	const members, rounds = 3, 40
	seed := orSeed(23)
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	g := newProcessGrid(t, processConfig{VotersMax: members})
	g.found(members, members)
	crew := g.hire(seed, 1, 2)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range rounds {
		for i := range members {
			c, err := net.Dial("tcp", g.members[i].config.Address)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
			// The member may hang up in the middle: that is its right.
			_, _ = c.Write(noise(random))
			if random.IntN(2) == 0 {
				c.Close()
			}
		}
		g.acknowledge(2)
	}
	crew.dismiss()
	g.same()
	crew.verify(0)
}

// noise returns random bytes behind nothing, half a hello, or a whole one for
// any protocol.
func noise(random *rand.Rand) []byte {
	hello := []byte{1, byte(random.IntN(6)), 0}
	for _, text := range []string{"stranger", "127.0.0.1:1"} {
		hello = append(append(hello, byte(len(text))), text...)
	}
	b := binary.LittleEndian.AppendUint32([]byte("dugnadl"), uint32(len(hello)))
	b = append(b, hello...)
	switch random.IntN(4) {
	case 0:
		b = nil
	case 1:
		return b[:random.IntN(len(b))]
	}
	tail := make([]byte, random.IntN(300))
	for i := range tail {
		tail[i] = byte(random.Uint32())
	}
	if random.IntN(2) == 0 && len(tail) > 4 {
		binary.LittleEndian.PutUint32(tail, uint32(len(tail)-4)) // a frame
	}
	return append(b, tail...)
}
