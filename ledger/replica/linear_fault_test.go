package replica_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// faults is a random schedule of what befalls a cluster. It draws from a deck
// that has each kind once, so that a schedule that is long enough has them all.
type faults struct {
	t        testing.TB
	c        *ledgertest.Cluster
	members  int
	random   *rand.Rand
	messages *messages
	down     []int
	deck     []func() string
}

// oddsMax bounds how many of a hundred messages something befalls.
const oddsMax = 20

// slowMax bounds how much longer a write takes on a slow disk.
const slowMax = 20 * time.Millisecond

// errFull is what a full disk answers.
var errFull = fmt.Errorf("disk of the test is full: %w", replica.ErrNoRoom)

// next does one thing to the cluster and says what.
func (f *faults) next() string {
	if len(f.deck) == 0 {
		f.deck = []func() string{
			f.partition, f.block, f.isolateLeader, f.delay, f.cut, f.stop, f.restart, f.fill, f.slow, f.disturb, f.disturb, f.heal,
		}
		f.random.Shuffle(len(f.deck), func(i, k int) { f.deck[i], f.deck[k] = f.deck[k], f.deck[i] })
	}
	draw := f.deck[0]
	f.deck = f.deck[1:]
	return draw()
}

func (f *faults) name() string { return ledgertest.Name(f.random.IntN(f.members)) }

func (f *faults) partition() string {
	cut := 1 + f.random.IntN(f.members-1)
	var groups [2][]string
	for i, m := range f.random.Perm(f.members) {
		side := 0
		if i < cut {
			side = 1
		}
		groups[side] = append(groups[side], ledgertest.Name(m))
	}
	f.c.Network.Partition(groups[0], groups[1])
	return fmt.Sprint("partition ", groups)
}

func (f *faults) block() string {
	from, to := f.name(), f.name()
	f.c.Network.Block(from, to)
	return "block " + from + " to " + to
}

func (f *faults) isolateLeader() string {
	for i := range f.members {
		if r := f.c.Running(i); r != nil && r.Status().Leads {
			f.c.Network.Isolate(ledgertest.Name(i))
			return "isolate leader " + ledgertest.Name(i)
		}
	}
	return "no leader to isolate"
}

func (f *faults) delay() string {
	most := time.Duration(f.random.IntN(30)) * time.Millisecond
	f.c.Network.Delay("*", "*", most)
	return fmt.Sprint("delay up to ", most)
}

func (f *faults) cut() string {
	a, b := f.name(), f.name()
	f.c.Network.Cut(a, b)
	return "cut " + a + " from " + b
}

// stop stops a member, as long as a majority runs.
func (f *faults) stop() string {
	i := f.random.IntN(f.members)
	if len(f.down) >= (f.members-1)/2 || slices.Contains(f.down, i) {
		return f.restart()
	}
	f.down = append(f.down, i)
	f.c.Stop(i)
	return "stop " + ledgertest.Name(i)
}

// restart starts the member that is down longest, or stops one when all run.
func (f *faults) restart() string {
	if len(f.down) == 0 {
		return f.stop()
	}
	i := f.down[0]
	f.down = f.down[1:]
	if _, err := f.c.TryOpen(i); errors.Is(err, replica.ErrNoRoom) {
		f.down = append(f.down, i)
		return "no room to start " + ledgertest.Name(i)
	} else if err != nil {
		f.t.Fatal(err)
	}
	return "start " + ledgertest.Name(i)
}

// fill leaves a member's store, its log, or both without room.
func (f *faults) fill() string {
	i, parts := f.random.IntN(f.members), 1+f.random.IntN(3)
	text := "fill " + ledgertest.Name(i)
	if parts&1 != 0 {
		f.c.StoreDisk(i).Fail(errFull)
		text += " store"
	}
	if parts&2 != 0 {
		f.c.LogDisk(i).Fail(errFull)
		text += " log"
	}
	return text
}

// slow makes the disks of some members slow, perhaps of all.
func (f *faults) slow() string {
	text := "slow"
	for _, i := range f.random.Perm(f.members)[:1+f.random.IntN(f.members)] {
		store, log := f.duration(slowMax), f.duration(slowMax)
		f.c.StoreDisk(i).Slow(store)
		f.c.LogDisk(i).Slow(log)
		text += fmt.Sprintf(" %s %v %v", ledgertest.Name(i), store, log)
	}
	return text
}

func (f *faults) duration(most time.Duration) time.Duration {
	return time.Duration(1 + f.random.Int64N(int64(most))).Round(time.Millisecond)
}

// disturb has messages lost, doubled and late.
func (f *faults) disturb() string {
	odds := 1 + f.random.IntN(oddsMax)
	f.messages.disturb(odds)
	return fmt.Sprintf("disturb %d %% of the messages", odds)
}

func (f *faults) heal() string {
	f.c.Network.Heal()
	f.messages.disturb(0)
	for i := range f.members {
		for _, d := range []*ledgertest.Disk{f.c.StoreDisk(i), f.c.LogDisk(i)} {
			d.Fail(nil)
			d.Slow(0)
		}
	}
	return "heal"
}

// counts returns how many writes found no room, and how many were slow, in the
// stores and in the logs.
func (f *faults) counts() (n [4]uint64) {
	for i := range f.members {
		for k, d := range []*ledgertest.Disk{f.c.StoreDisk(i), f.c.LogDisk(i)} {
			failed, slowed := d.Counts()
			n[k] += failed
			n[2+k] += slowed
		}
	}
	return n
}

// finish has all members running, and waits until everything that a disk or the
// messages can do has happened, in the schedule or now. Then it heals them.
func (f *faults) finish(done func() bool) {
	f.t.Helper()
	f.heal()
	for _, i := range f.down {
		f.c.Open(i)
	}
	f.down = nil
	f.messages.disturb(oddsMax)
	i := f.c.Leader(f.members)
	f.c.LogDisk(i).Fail(errFull)
	f.c.StoreDisk((i + 1) % f.members).Fail(errFull)
	for k := range f.members {
		f.c.StoreDisk(k).Slow(time.Millisecond)
		f.c.LogDisk(k).Slow(time.Millisecond)
	}
	f.c.Until("every kind of fault has happened", func() bool {
		return len(f.messages.missing()) == 0 && done() && f.hurt()
	})
	f.heal()
	f.messages.settle()
	n := f.counts()
	f.t.Logf("no room for %d writes of stores and %d of logs, %d and %d were slow%v", n[0], n[1], n[2], n[3], f.messages)
}

// hurt reports whether writes of stores and logs have failed and have been slow.
func (f *faults) hurt() bool {
	for _, n := range f.counts() {
		if n == 0 {
			return false
		}
	}
	return true
}
