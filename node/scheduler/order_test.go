package scheduler

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/calendar"
)

// standingOrder creates an order of one task at the times of a schedule.
func (g *grid) standingOrder(n byte, schedule, zone string, overlap ledger.Overlap, catchUp ledger.CatchUp) ledger.OrderID {
	g.Helper()
	id := ledger.OrderID{15: n}
	g.mustDo(&ledger.CreateOrder{Order: id, Schedule: schedule, Zone: zone, Overlap: overlap, CatchUp: catchUp, Spec: spec(1)})
	return id
}

func (g *grid) order(id ledger.OrderID) (o ledger.Order) {
	g.Helper()
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		o, err = ledger.FindOrder(tx, id)
		return errors.Join(err, ledger.Check(tx))
	}); err != nil {
		g.Fatal(err)
	}
	return o
}

// runs says when an order has run, and what became of it.
func (g *grid) runs(id ledger.OrderID) (text []string) {
	g.Helper()
	for _, r := range g.order(id).Runs {
		line := moment(r.At).UTC().Format("02 15:04")
		if r.Code != ledger.CodeOK {
			line += " " + r.Code.String()
		}
		text = append(text, line)
	}
	return text
}

func (g *grid) expectRuns(id ledger.OrderID, want ...string) {
	g.Helper()
	if got := g.runs(id); !slices.Equal(got, want) {
		g.Errorf("runs %q, want %q", got, want)
	}
}

// TestOrderRuns: an order runs at its times and at no other, whoever leads.
func TestOrderRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.add(1, 4)
		g.open()
		id := g.standingOrder(1, "*/2 * * * *", "UTC", ledger.OverlapSkip, ledger.CatchUpNone)
		g.wait(2*time.Minute - time.Millisecond)
		g.expectRuns(id)
		g.wait(time.Millisecond)
		g.expectRuns(id, "01 00:02")
		if j := g.job(ledger.RunJob(id, g.order(id).LastAt)); out(j) != 1 {
			t.Errorf("its job is %+v", j)
		}
		g.finish(0)
		g.elect(false)
		g.wait(time.Minute)
		g.elect(true)
		g.wait(time.Minute)
		g.expectRuns(id, "01 00:02", "01 00:04")
		g.elect(true)
		g.run(2 * time.Minute) // its job goes on
		g.expectRuns(id, "01 00:02", "01 00:04", "01 00:06 run_overlap")
		g.expect("fires", g.count(&ledger.Fire{}), 3)
		g.mustDo(&ledger.SetOrderState{Order: id, State: ledger.OrderPaused})
		g.wait(10 * time.Minute)
		g.mustDo(&ledger.SetOrderState{Order: id, State: ledger.OrderActive})
		g.finish(0)
		g.wait(2 * time.Minute)
		g.expectRuns(id, "01 00:02", "01 00:04", "01 00:06 run_overlap", "01 00:18")
		g.mustDo(&ledger.SetOrderState{Order: id, State: ledger.OrderEnded})
		g.wait(10 * time.Minute)
		g.expect("fires", g.count(&ledger.Fire{}), 4)
		g.expect("made", g.metric("runs_total", "ok"), 3)
		g.expect("skipped", g.metric("runs_total", "run_overlap"), 1)
	})
}

// TestCatchUp: what passes while nobody leads is made up for as the order says.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.open()
		none := g.standingOrder(1, "*/10 * * * *", "UTC", ledger.OverlapSkip, ledger.CatchUpNone)
		one := g.standingOrder(2, "*/10 * * * *", "UTC", ledger.OverlapSkip, ledger.CatchUpOne)
		all := g.standingOrder(3, "*/10 * * * *", "UTC", ledger.OverlapSkip, ledger.CatchUpAll)
		often := g.standingOrder(4, "* * * * *", "UTC", ledger.OverlapAllow, ledger.CatchUpAll)
		g.elect(false)
		g.wait(35 * time.Minute)
		g.elect(true)
		g.wait(time.Second)
		g.expectRuns(none)
		g.expectRuns(one, "01 00:30")
		g.expectRuns(all, "01 00:10", "01 00:20", "01 00:30")
		g.expect("minutes", int(g.order(often).Made), 35)
		// Those that are made up for come one after another.
		for i, want := range []ledger.JobState{ledger.JobActive, ledger.JobWaiting, ledger.JobWaiting} {
			at := ledger.Time(time.Date(2000, 1, 1, 0, 10*(i+1), 0, 0, time.UTC).UnixNano())
			if j := g.job(ledger.RunJob(all, at)); j.State != want {
				t.Errorf("the run of minute %d is %s, want %s", 10*(i+1), j.State, want)
			}
		}
		g.wait(5 * time.Minute)
		g.expectRuns(none, "01 00:40")
		g.expectRuns(one, "01 00:30", "01 00:40 run_overlap")
		for id, want := range map[ledger.OrderID]uint64{none: 3, one: 2, all: 0} {
			if o := g.order(id); o.Missed != want {
				t.Errorf("order %s has missed %d, want %d", id, o.Missed, want)
			}
		}
		// More than is made up for: the latest are.
		g.mustDo(&ledger.SetOrderState{Order: often, State: ledger.OrderEnded})
		last := g.standingOrder(5, "* * * * *", "UTC", ledger.OverlapAllow, ledger.CatchUpAll)
		g.elect(false)
		g.wait(5*time.Hour - time.Second)
		g.elect(true)
		g.wait(0)
		if o := g.order(last); o.Made != catchUpMax+2 || o.Missed < catchUpMax || o.Refused != 0 {
			t.Errorf("after five hours: %+v", o)
		}
	})
}

// TestLateIsOnTime: what is a little late, as when the leader changes, has not been
// missed.
func TestLateIsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		g.open()
		id := g.standingOrder(1, "@hourly", "UTC", ledger.OverlapSkip, ledger.CatchUpNone)
		g.wait(59 * time.Minute)
		g.elect(false)
		g.wait(2 * time.Minute)
		g.elect(true)
		g.wait(time.Second)
		g.expectRuns(id, "01 01:00")
	})
}

// TestClockChanges: an order goes by the clock of its zone.
func TestClockChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t)
		time.Sleep(time.Until(time.Date(2000, 3, 25, 0, 0, 0, 0, time.UTC)))
		id := g.standingOrder(1, "30 2 * * *", "Europe/Oslo", ledger.OverlapAllow, ledger.CatchUpNone)
		g.open()
		g.wait(60 * time.Hour)
		g.expectRuns(id, "25 01:30", "26 01:00", "27 00:30")
	})
}

// TestRunsOnce: leaders that come and go, and a ledger that does not answer or answers
// too late, lose no run and make none twice.
func TestRunsOnce(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runsOnce(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func runsOnce(t *testing.T, random *rand.Rand) {
	g := newGrid(t)
	g.open()
	made := map[ledger.OrderID]map[ledger.Time]int{}
	var ids []ledger.OrderID
	for i, schedule := range []string{"* * * * *", "*/7 * * * *", "3,5,30 */2 * * *", "59 23 * * *", "@hourly"} {
		ids = append(ids, g.standingOrder(byte(i+1), schedule, "Europe/Oslo", ledger.OverlapAllow, ledger.CatchUpAll))
		made[ids[i]] = map[ledger.Time]int{}
	}
	broken := errors.New("broken")
	faults := rand.New(rand.NewPCG(random.Uint64(), 2))
	g.memoryLedger.mu.Lock()
	g.fail = func(c ledger.Command) error {
		fire, ok := c.(*ledger.Fire)
		switch {
		case !ok:
		case faults.IntN(4) == 0:
			return broken
		case faults.IntN(4) == 0:
			// It is applied, and nobody is told.
			g.fired(made, fire, g.apply(c))
			return broken
		default:
			// Once before it is applied: as if another leader had proposed it.
			if faults.IntN(3) == 0 {
				g.fired(made, fire, g.apply(c))
			}
		}
		return nil
	}
	g.memoryLedger.mu.Unlock()
	began := time.Now()
	for range 40 {
		g.wait(time.Duration(random.IntN(600)) * time.Second)
		g.elect(random.IntN(3) > 0)
		for _, id := range ids {
			g.endOpen(id)
		}
	}
	g.elect(true)
	g.wait(2 * time.Minute)
	g.memoryLedger.mu.Lock()
	counted := maps.Clone(made)
	g.memoryLedger.mu.Unlock()
	for _, id := range ids {
		o := g.order(id)
		s, err := calendar.Parse(o.Schedule)
		if err != nil {
			t.Fatal(err)
		}
		zone, err := calendar.Zone(o.Zone)
		if err != nil {
			t.Fatal(err)
		}
		var want uint64
		for at := s.Next(began, zone); !at.After(time.Now()); at = s.Next(at, zone) {
			want++
		}
		if got := o.Made + o.Refused + o.Missed; got != want || o.Skipped != 0 {
			t.Errorf("%q: %d runs of %d: %+v", o.Schedule, got, want, o)
		}
		for at, n := range counted[id] {
			if n > 1 {
				t.Errorf("%q: the run of %s was made %d times", o.Schedule, at, n)
			}
		}
	}
}

// fired counts what a command has made.
func (g *grid) fired(made map[ledger.OrderID]map[ledger.Time]int, c *ledger.Fire, r ledger.Result) {
	for i, item := range r.Items {
		if f := c.Firings[i]; item.Code == ledger.CodeOK {
			made[f.Order][f.At]++
		}
	}
}

// endOpen ends the jobs of an order.
func (g *grid) endOpen(id ledger.OrderID) {
	for _, r := range g.order(id).Runs {
		if r.Code == ledger.CodeOK && r.Ended == 0 && !g.job(r.Job).State.Final() {
			g.mustDo(&ledger.Cancel{Job: r.Job})
		}
	}
}
