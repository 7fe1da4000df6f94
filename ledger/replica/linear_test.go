package replica_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random schedules; 0 is the seeds that are always run")
	roundFlag = flag.Int("rounds", 12, "faults in a random schedule")
)

// TestLinearizable lets random clients loose on a cluster that random faults
// befall, and checks what they saw.
func TestLinearizable(t *testing.T) {
	seeds := []uint64{1, 4}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { linearizable(t, seed, nil) })
	}
}

func linearizable(t *testing.T, seed uint64, configure func(*ledgertest.ClusterConfig)) {
	const members, clients = 5, 6
	// paceMax bounds what happens between two faults: little to see an outage,
	// much to bring the log to be cut.
	const paceMax = 80
	m := newMessages(t, seed)
	config := ledgertest.ClusterConfig{Seed: seed, Configure: func(c *replica.Config) {
		c.Dial = m.dial(c.Dial)
		c.RPCTimeout = time.Second
		c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 50, 20, 50*time.Millisecond
	}}
	if configure != nil {
		configure(&config)
	}
	c := ledgertest.NewCluster(t, config)
	c.Found(members, members)
	t.Logf("seed %d", seed)
	h := newHistory()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for id := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(id)+100))
		running.Go(func() { h.client(t, c, id, members, random, stop) })
	}
	f := &faults{t: t, c: c, members: members, random: rand.New(rand.NewPCG(seed, 7)), messages: m}
	for range *roundFlag {
		t.Logf("%8v %s", time.Since(h.start).Round(time.Millisecond), f.next())
		h.await(1 + f.random.IntN(paceMax))
	}
	t.Logf("%8v finish", time.Since(h.start).Round(time.Millisecond))
	f.finish(func() bool { return h.recalled.Load() > 0 })
	close(stop)
	running.Wait()
	final := finalState(t, c, members)
	for key, values := range h.acked {
		for _, v := range values {
			if n := strings.Count(" "+final[key], " "+v); n != 1 {
				t.Errorf("acknowledged %q is %d times in %s", v, n, key)
			}
		}
	}
	switch result, info := porcupine.CheckOperationsVerbose(registerModel, h.ops, ledgertest.Deadline); result {
	case porcupine.Illegal:
		path := t.ArtifactDir() + "/history.html"
		t.Errorf("history of seed %d is not linearizable: see %s (%v)", seed, path, porcupine.VisualizePath(registerModel, info, path))
		explain(t, h.ops, final)
	case porcupine.Unknown:
		t.Errorf("history of %d operations was not checked in time", len(h.ops))
	}
	t.Logf("seed %d: %d operations, %d acknowledged ones were sent again", seed, len(h.ops), h.recalled.Load())
}

// TestLeaderKilledAgainAndAgain stops the leader while a client counts.
func TestLeaderKilledAgainAndAgain(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	c.Found(5, 5)
	stop := make(chan struct{})
	var counted uint64
	var running sync.WaitGroup
	running.Go(func() {
		for seq := uint64(1); ; seq++ {
			command := ledgertest.ToyCommand{Client: 1, Seq: seq, Op: ledgertest.ToyAdd, Key: "k"}.Encode()
			for i := 0; ; i++ {
				r := c.Running(i % 5)
				if r == nil {
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				result, _, err := r.Propose(ctx, command)
				cancel()
				if err == nil {
					counted = binary.BigEndian.Uint64(result)
					break
				}
				if !errors.Is(err, replica.ErrClosed) && !errors.Is(err, replica.ErrUncertain) && !errors.Is(err, replica.ErrNoLeader) {
					t.Errorf("propose: %v", err)
				}
			}
			if counted != seq {
				t.Errorf("sum is %d after %d commands", counted, seq)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 6 {
		leader := c.Leader(5)
		term := c.Running(leader).Status().Term
		c.Stop(leader)
		c.Until("another member leads", func() bool {
			next := c.Running(c.Leader(5))
			return next != nil && next.Status().Term > term
		})
		c.Open(leader)
	}
	close(stop)
	running.Wait()
	for i := range 5 {
		r := c.Running(i)
		c.Until("all members have counted", func() bool { return value(t, r, "k") == counted })
	}
}
