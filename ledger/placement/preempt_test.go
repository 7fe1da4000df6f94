package placement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// occupied is a grid with leases, by node.
type occupied struct {
	Input
	leases map[ledger.NodeID][]Tenure
}

func newOccupied(nodes int, capacity ledger.Resources) *occupied {
	o := &occupied{Input: Input{Now: now, Seed: 1, Params: Default()}, leases: map[ledger.NodeID][]Tenure{}}
	for i := range nodes {
		o.Nodes = append(o.Nodes, Node{
			Node: &ledger.Node{ID: nodeName(i), Capacity: capacity}, Offer: Offer{At: now, Free: capacity, DiskBytes: 1},
		})
	}
	o.Leases = func(id ledger.NodeID, below uint8) []Tenure {
		return slices.DeleteFunc(slices.Clone(o.leases[id]), func(t Tenure) bool { return t.Band >= below && t.Notice == 0 })
	}
	return o
}

// hold puts a lease on a node, unless it does not fit.
func (o *occupied) hold(node int, t Tenure) bool {
	n := &o.Nodes[node]
	take := t.Task.Times(t.Slots)
	if !take.Fits(n.Offer.Free) {
		return false
	}
	n.Reserved = n.Reserved.Plus(take)
	n.Offer.Free = n.Offer.Free.Minus(take)
	t.Epoch = ledger.Epoch(1000*node + len(o.leases[n.ID]) + 1)
	o.leases[n.ID] = append(o.leases[n.ID], t)
	return true
}

// ask adds a job that waits since a minute.
func (o *occupied) ask(band uint8, count uint32, task ledger.Resources) {
	o.Jobs = append(o.Jobs, Job{
		ID: ledger.JobID{byte(len(o.Jobs) + 1)}, Spec: &ledger.JobSpec{Tenant: "t", Band: band, Count: count, Task: task, FuelMax: 1},
		Pending: []ledger.Pending{{Tasks: ledger.Tasks(0, count)}}, Since: now - 60e9,
	})
	slices.SortStableFunc(o.Jobs, func(a, b Job) int { return int(b.Spec.Band) - int(a.Spec.Band) })
}

func wide(n uint32) ledger.Resources { return ledger.Resources{MemoryBytes: uint64(n), Slots: n} }

// names returns the epochs that a plan gives notice to.
func names(out Output) (epochs []ledger.Epoch) {
	for _, p := range out.Preemptions {
		for _, l := range p.Leases {
			epochs = append(epochs, l.Epoch)
		}
	}
	return epochs
}

// TestPreemptWhom: the lowest band gives way first, of that what has run least, no more
// than needed, and nobody where that is not enough, or room comes soon.
func TestPreemptWhom(t *testing.T) {
	task := wide(1)
	at := func(seconds ledger.Time) ledger.Time { return now - seconds*1e9 }
	for _, test := range []struct {
		name string
		held []Tenure // on a node of four slots
		band uint8
		need ledger.Resources
		want []ledger.Epoch
	}{
		{"the lowest band", []Tenure{{Band: 1, Slots: 2, Task: task, Granted: at(1)}, {Band: 0, Slots: 2, Task: task, Granted: at(99)}}, 2, task, []ledger.Epoch{2}},
		{"the youngest", []Tenure{{Slots: 2, Task: task, Granted: at(50)}, {Slots: 2, Task: task, Granted: at(10)}}, 2, task, []ledger.Epoch{2}},
		{"the least work", []Tenure{{Slots: 1, Task: task, Granted: at(50)}, {Slots: 3, Task: task, Granted: at(40)}}, 2, task, []ledger.Epoch{1}},
		{"two when one is not enough", []Tenure{{Slots: 2, Task: task, Granted: at(50)}, {Slots: 2, Task: task, Granted: at(10)}}, 2, wide(3), []ledger.Epoch{2, 1}},
		{"none that is needless", []Tenure{{Slots: 1, Task: task, Granted: at(1)}, {Slots: 3, Task: task, Granted: at(50)}}, 2, wide(3), []ledger.Epoch{2}},
		{"not the same band", []Tenure{{Band: 2, Slots: 4, Task: task, Granted: at(1)}}, 2, task, nil},
		{"nor a higher one", []Tenure{{Band: 3, Slots: 4, Task: task, Granted: at(1)}}, 2, task, nil},
		{"none in vain", []Tenure{{Band: 2, Slots: 2, Task: task, Granted: at(1)}, {Band: 0, Slots: 2, Task: task, Granted: at(1)}}, 2, wide(3), nil},
		{"none twice within a minute", []Tenure{{Slots: 4, Task: task, Granted: at(1), Preempted: at(59)}}, 2, task, nil},
		{"but later", []Tenure{{Slots: 4, Task: task, Granted: at(1), Preempted: at(60)}}, 2, task, []ledger.Epoch{1}},
		{"none while one gives way", []Tenure{{Slots: 2, Task: task, Granted: at(9), Notice: at(-5), Preempted: at(5)}, {Slots: 2, Task: task, Granted: at(1)}}, 2, wide(2), nil},
		{"none for band 0", []Tenure{{Slots: 4, Task: task, Granted: at(1)}}, 0, task, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOccupied(1, wide(4))
			for _, l := range test.held {
				if !o.hold(0, l) {
					t.Fatal("does not fit")
				}
			}
			o.ask(test.band, 1, test.need)
			if got := names(Plan(o.Input)); !slices.Equal(got, test.want) {
				t.Errorf("%v give way, want %v", got, test.want)
			}
		})
	}
}

// TestPreemptAfter: a job waits for a moment first, and the planner says until when.
func TestPreemptAfter(t *testing.T) {
	o := newOccupied(1, wide(1))
	o.hold(0, Tenure{Slots: 1, Task: wide(1), Granted: now - 1e9})
	o.ask(1, 1, wide(1))
	o.Jobs[0].Since = now - 1e9
	if out := Plan(o.Input); len(out.Preemptions) > 0 || out.PreemptAt != now+1e9 {
		t.Errorf("%+v, again at %d", out.Preemptions, out.PreemptAt)
	}
}

// TestHold: what is free on a node that makes room for a band is not for lower ones.
func TestHold(t *testing.T) {
	o := newOccupied(1, wide(4))
	o.hold(0, Tenure{Slots: 2, Task: wide(1), Granted: now - 1e9, Notice: now + 1e9, Preempted: now})
	o.Nodes[0].Hold = 3
	o.ask(2, 1, wide(1))
	if out := Plan(o.Input); len(out.Placements) > 0 || len(out.Preemptions) > 0 {
		t.Errorf("a lower band gets %+v", out)
	}
	o.ask(3, 1, wide(1))
	if out := Plan(o.Input); len(out.Placements) != 1 || out.Placements[0].Job != (ledger.JobID{2}) {
		t.Errorf("the band itself does not: %+v", out)
	}
}

// TestPreemptRandom: whatever the grid, only lower bands give way, for a task that then
// fits and that nothing else would have helped; none twice within a minute, none needless.
func TestPreemptRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(low, high int, label string) int { return rapid.IntRange(low, high).Draw(t, label) }
		o := newOccupied(n(1, 4, "nodes"), wide(8))
		for range n(0, 20, "leases") {
			l := Tenure{Band: uint8(n(0, 3, "band")), Slots: uint32(n(1, 4, "slots")), Task: wide(uint32(n(1, 2, "size"))), Granted: now - ledger.Time(n(0, 100, "age"))*1e9}
			switch n(0, 3, "before") {
			case 0:
				l.Preempted = now - ledger.Time(n(0, 100, "preempted"))*1e9
			case 1:
				l.Notice, l.Preempted = now+1, now-1
			}
			o.hold(n(0, len(o.Nodes)-1, "node"), l)
		}
		for range n(1, 4, "jobs") {
			o.ask(uint8(n(0, 4, "band")), uint32(n(1, 5, "count")), wide(uint32(n(1, 8, "size"))))
		}
		checkPreemptions(t, o, Plan(o.Input))
	})
}

func checkPreemptions(t *rapid.T, o *occupied, out Output) {
	free, given := map[ledger.NodeID]ledger.Resources{}, map[ledger.Epoch]bool{}
	for i := range o.Nodes {
		free[o.Nodes[i].ID] = o.Nodes[i].Offer.Free
	}
	job := func(id ledger.JobID) *Job {
		return &o.Jobs[slices.IndexFunc(o.Jobs, func(j Job) bool { return j.ID == id })]
	}
	for _, p := range out.Placements {
		free[p.Node] = free[p.Node].Minus(job(p.Job).Spec.Task.Times(p.Slots))
	}
	for _, p := range out.Preemptions {
		j := job(p.Job)
		for node, was := range free {
			if j.Spec.Task.Fits(was) {
				t.Fatalf("a task of %+v fits on %s, and leases give way to it", j.Spec.Task, node)
			}
		}
		node := p.Leases[0].Node
		room := free[node]
		for _, l := range o.leases[node] {
			if l.Notice != 0 {
				room = room.Plus(l.Task.Times(l.Slots))
			}
		}
		var sizes []ledger.Resources
		for _, name := range p.Leases {
			l := o.leases[name.Node][slices.IndexFunc(o.leases[name.Node], func(l Tenure) bool { return l.Epoch == name.Epoch })]
			if name.Node != node || l.Band >= j.Spec.Band || l.Notice != 0 || given[l.Epoch] ||
				l.Preempted != 0 && now < l.Preempted+ledger.PreemptAgainNanos {
				t.Fatalf("%+v gives way to band %d", l, j.Spec.Band)
			}
			given[l.Epoch] = true
			sizes = append(sizes, l.Task.Times(l.Slots))
			room = room.Plus(sizes[len(sizes)-1])
		}
		// Others of the same plan may have made, or taken, room on the node before.
		if !j.Spec.Task.Fits(o.Nodes[0].Capacity) {
			t.Fatalf("leases give way to a task that no node could take")
		}
		if len(out.Preemptions) == 1 && !j.Spec.Task.Fits(room) {
			t.Fatalf("%v give way, and %+v fits not into %+v", p.Leases, j.Spec.Task, room)
		}
		if len(o.Jobs) != 1 || left(j, out.Placements) != 1 {
			continue // Other tasks have what leases with notice free already.
		}
		for _, size := range sizes {
			if j.Spec.Task.Fits(room.Minus(size)) {
				t.Fatalf("%v give way, one of them without need", p.Leases)
			}
		}
	}
}

// left returns how many tasks of a job a plan does not place.
func left(j *Job, placements []ledger.Placement) uint32 {
	n := j.Spec.Count
	for _, p := range placements {
		if p.Job == j.ID {
			n -= p.Count
		}
	}
	return n
}
