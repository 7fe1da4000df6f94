//go:build linux

package replica_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// soakVariable gives how long TestNoFalseElection takes, as a duration.
const soakVariable = "DUGNAD_SOAK"

// spinVariable makes a process one that only takes time.
const spinVariable = "DUGNAD_REPLICA_SPIN"

// TestSpin is no test: other tests start it to keep a core busy.
func TestSpin(t *testing.T) {
	if os.Getenv(spinVariable) == "" {
		t.Skip("other tests start this as a process")
	}
	for spins := uint64(0); ; spins++ {
		if spins == 1<<63 {
			return
		}
	}
}

// burn keeps n cores busy until the end of the test.
func burn(t testing.TB, n int) {
	t.Helper()
	for range n {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSpin$")
		cmd.Env = append(os.Environ(), spinVariable+"=1", "GOMAXPROCS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // it says that it was killed
		})
	}
}

// TestNoFalseElection runs three processes with production's timings beside as
// many that spin as there are cores, and expects the first leader to stay.
func TestNoFalseElection(t *testing.T) {
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skip("set " + soakVariable + " to a duration")
	}
	takes, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	const members = 3
	g := newProcessGrid(t, processConfig{VotersMax: members, Production: true})
	g.found(members, members)
	leader, term := g.leader(0)
	burn(t, runtime.NumCPU())
	crew := g.hire(orSeed(31), 1, 2)
	terms := []uint64{term}
	end := time.After(takes)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-end:
			running = false
		case <-tick.C:
		}
		for i := range members {
			var p Place
			if err := g.call(i, 30*time.Second, "Status", struct{}{}, &p); errors.Is(err, errSilent) {
				t.Logf("%s did not answer for 30 s", g.members[i].config.ID)
			} else if err != nil {
				t.Fatal(err)
			}
			if p.Term != 0 && !slices.Contains(terms, p.Term) {
				t.Errorf("%s is in term %d, the leader was %d", g.members[i].config.ID, p.Term, leader)
				terms = append(terms, p.Term)
			}
		}
	}
	crew.dismiss()
	t.Logf("%v with %d spinning processes: terms %v, %d commands acknowledged", takes, runtime.NumCPU(), terms, g.acked.Load())
	g.same()
	crew.verify(0)
}
