package replica_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// checkTree fails unless every member is attached, below its parent, within
// the fan-out.
func checkTree(t *testing.T, list []*replica.Replica, fanOut int) (depth int) {
	t.Helper()
	for i, r := range list {
		s := r.Status()
		if s.Children > fanOut {
			t.Errorf("%s feeds %d", ledgertest.Name(i), s.Children)
		}
		depth = max(depth, s.Depth)
	}
	return depth
}

func TestFollowersStreamInATree(t *testing.T) {
	const members, voters, fanOut = 50, 3, 4
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.FanOut, c.VotersMax = fanOut, voters
	}})
	list := c.Found(members, voters)
	var last uint64
	for seq := uint64(1); seq <= 20; seq++ {
		_, last = add(t, list[int(seq)%members], seq, 1, "k")
	}
	for i, r := range list {
		if err := r.Wait(within(t), last); err != nil {
			t.Fatalf("%s: %v", ledgertest.Name(i), err)
		}
		if got := value(t, r, "k"); got != 20 {
			t.Errorf("%s has %d", ledgertest.Name(i), got)
		}
	}
	if depth := checkTree(t, list, fanOut); depth > 10 {
		t.Errorf("tree is %d deep", depth)
	}

	// Members with children go; theirs find others, and miss nothing.
	gone := map[int]bool{}
	for i, r := range list {
		if s := r.Status(); s.Children > 0 && s.Depth > 0 && len(gone) < 5 {
			gone[i] = true
			c.Stop(i)
		}
	}
	if len(gone) == 0 {
		t.Fatal("no follower has children")
	}
	_, last = add(t, list[c.Leader(members)], 99, 1, "k")
	for i, r := range list {
		if gone[i] {
			continue
		}
		if err := r.Wait(within(t), last); err != nil {
			t.Fatalf("%s: %v", ledgertest.Name(i), err)
		}
	}
	// They come back and resume where they were.
	for i := range gone {
		if err := c.Open(i).Wait(within(t), last); err != nil {
			t.Fatalf("%s: %v", ledgertest.Name(i), err)
		}
	}
}

func TestFollowerTakesASnapshotWhenTooOld(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax, c.HistoryBytesMax = 1, 2000
	}})
	list := c.Found(3, 1)
	_, before := add(t, list[0], 1, 1, "k")
	if err := list[2].Wait(within(t), before); err != nil {
		t.Fatal(err)
	}
	c.Stop(2)
	var last uint64
	for seq := uint64(2); seq <= 60; seq++ {
		_, last = add(t, list[0], 1, seq, "k")
	}
	behind := c.Open(2)
	if err := behind.Wait(within(t), last); err != nil {
		t.Fatal(err)
	}
	if got := value(t, behind, "k"); got != 60 {
		t.Errorf("has %d", got)
	}
	// What it skipped it cannot tell.
	err := behind.Watch(within(t), nil, before, func(uint64, []replica.Change) error { return nil })
	if !errors.Is(err, replica.ErrTooOld) {
		t.Errorf("watch from %d: %v", before, err)
	}
}

// TestRestartKeepsTheRecentChanges restarts all members one after another, and
// then all at once: nobody takes the state as a whole, and a watch misses nothing.
func TestRestartKeepsTheRecentChanges(t *testing.T) {
	const members = 5
	registry := prometheus.NewRegistry()
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax, c.Registerer = 3, registry
	}})
	list := c.Found(members, 3)
	for i, r := range list {
		_, last := add(t, r, uint64(i), 1, "k")
		for _, other := range list {
			if err := other.Wait(within(t), last); err != nil {
				t.Fatal(err)
			}
		}
	}
	from := list[0].Applied()
	before := restored(t, registry)
	for i := range members {
		_, last := add(t, c.Running(i), uint64(i), 2, "k")
		for k := range members {
			if err := c.Running(k).Wait(within(t), last); err != nil {
				t.Fatal(err)
			}
		}
		c.Stop(i)
		add(t, c.Running((i+1)%members), uint64(100+i), 1, "k")
		c.Open(i)
	}
	_, last := add(t, c.Running(0), 200, 1, "k")
	for i := range members {
		if err := c.Running(i).Wait(within(t), last); err != nil {
			t.Fatal(err)
		}
	}
	if n := restored(t, registry); n != before {
		t.Errorf("%v states were taken as a whole", n-before)
	}
	enough, changes := errors.New("enough"), 0
	for i := range members {
		c.Stop(i)
	}
	for i := range members {
		c.Open(i)
	}
	for i := range members {
		changes = 0
		err := c.Running(i).Watch(within(t), ledgertest.ToyKey("k"), from, func(index uint64, seen []replica.Change) error {
			if changes += len(seen); index >= last {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || changes != 2*members+1 {
			t.Errorf("%s: %d changes, want %d: %v", ledgertest.Name(i), changes, 2*members+1, err)
		}
	}
}

// restored counts the states that members took as a whole.
func restored(t *testing.T, registry *prometheus.Registry) (n float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "dugnad_replica_snapshots_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "restored" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestWatchSeesEveryChangeAndResumesElsewhere(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.VotersMax = 1 }})
	list := c.Found(3, 1)
	from := list[2].Applied()
	var last uint64
	for seq := uint64(1); seq <= 10; seq++ {
		add(t, list[0], 1, seq, fmt.Sprint("other", seq))
		_, last = add(t, list[0], 2, seq, "k")
	}
	enough := errors.New("enough")
	var indices []uint64
	watch := func(r *replica.Replica, from, to uint64) (at uint64) {
		err := r.Watch(within(t), ledgertest.ToyKey("k"), from, func(index uint64, changes []replica.Change) error {
			at = index
			for _, change := range changes {
				if change.Index <= to && string(change.Key) == "key/k" {
					indices = append(indices, change.Index)
				}
			}
			if index >= to {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return at
	}
	if err := list[1].Wait(within(t), last); err != nil {
		t.Fatal(err)
	}
	var want []uint64
	if err := list[1].Watch(within(t), ledgertest.ToyKey("k"), from, func(index uint64, changes []replica.Change) error {
		for _, change := range changes {
			want = append(want, change.Index)
		}
		if index >= last {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if len(want) != 10 {
		t.Fatalf("%d changes, want 10", len(want))
	}
	half := want[4]
	watch(list[2], from, half)
	watch(list[0], half, last)
	if diff := cmp.Diff(want, indices); diff != "" {
		t.Errorf("changes differ (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := list[0].Watch(ctx, nil, last, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("watch that was cancelled: %v", err)
	}
}
