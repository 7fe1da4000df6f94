package replica_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

func TestDeadVoterIsReplaced(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax, c.DeadAfter = 3, 300*time.Millisecond
	}})
	list := c.Found(5, 3)
	dead := -1
	for i, r := range list {
		if s := r.Status(); s.Voter && !s.Leads {
			dead = i
		}
	}
	c.Stop(dead)
	leader := list[c.Leader(5)]
	c.Until("another member votes", func() bool {
		votes := map[string]bool{}
		for _, m := range leader.Members() {
			votes[m.ID] = m.Voter
		}
		return c.Voters(leader) == 3 && !votes[ledgertest.Name(dead)]
	})
	_, index := add(t, leader, 1, 1, "k")
	// It comes back, learns that it votes no longer, and follows.
	back := c.Open(dead)
	if err := back.Wait(within(t), index); err != nil {
		t.Fatal(err)
	}
	c.Until("it follows", func() bool { s := back.Status(); return s.Depth > 0 && s.Attached })
	if _, index = add(t, back, 2, 1, "k"); index == 0 {
		t.Error("no index")
	}
}

func TestMembersLeave(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	list := c.Found(4, 3)
	// The leader, then another voter, then whoever is left but one.
	for left := 4; left > 1; left-- {
		leader := c.Leader(4)
		if err := list[leader].Leave(within(t)); err != nil {
			t.Fatal(err)
		}
		c.Stop(leader)
		next := list[c.Leader(4)]
		add(t, next, uint64(left), 1, "k")
		c.Until("the member is forgotten", func() bool { return len(next.Members()) == left-1 })
		want := 1
		if left-1 >= 3 {
			want = 3
		}
		c.Until("the voters are right", func() bool {
			i := c.Leader(4)
			return list[i].Status().Leads && c.Voters(list[i]) == want
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := list[c.Leader(4)].Leave(ctx); !errors.Is(err, replica.ErrNotMember) {
		t.Errorf("the last member leaves: %v", err)
	}
}

// TestResign: a leader that is about to be closed leaves another one behind; who
// cannot hand over goes on.
func TestResign(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	list := c.Found(3, 3)
	leader := c.Leader(3)
	for i, r := range list {
		if i == leader {
			continue
		}
		if err := r.Resign(); err != nil || !list[leader].Status().Leads {
			t.Errorf("a follower: %v, leader %+v", err, list[leader].Status())
		}
	}
	if err := list[leader].Resign(); err != nil {
		t.Fatal(err)
	}
	c.Stop(leader)
	list[leader] = nil
	c.Until("another leads", func() bool {
		for _, r := range list {
			if r != nil && r.Status().Leads {
				return true
			}
		}
		return false
	})
	alone := ledgertest.NewCluster(t, ledgertest.ClusterConfig{}).Found(1, 1)[0]
	if err := alone.Resign(); err != nil || !alone.Status().Leads {
		t.Errorf("the only voter: %v, %+v", err, alone.Status())
	}
}

func TestFoundAndJoinOnce(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	list := c.Found(2, 1)
	for _, r := range list {
		if err := r.Found(within(t)); !errors.Is(err, replica.ErrMember) {
			t.Errorf("found: %v", err)
		}
		if err := r.Join(within(t), []string{"m0"}); !errors.Is(err, replica.ErrMember) {
			t.Errorf("join: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Open(2).Join(ctx, []string{"nobody"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("join nobody: %v", err)
	}
}

func TestErrorsSayWhatHappened(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.CommandBytesMax = 1000 }})
	list := c.Found(3, 3)
	add(t, list[0], 1, 1, "k")
	if _, _, err := list[0].Propose(within(t), make([]byte, 1001)); !errors.Is(err, replica.ErrTooLarge) {
		t.Errorf("large command: %v", err)
	}
	leader := c.Leader(3)
	command := ledgertest.ToyCommand{Client: 1, Seq: 2, Op: ledgertest.ToyAdd, Key: "k"}.Encode()
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for i := range 3 {
		c.Network.Isolate(ledgertest.Name(i))
	}
	if _, _, err := list[leader].Propose(short(), command); !errors.Is(err, replica.ErrUncertain) {
		t.Errorf("propose at a leader alone: %v", err)
	}
	c.Until("nobody leads", func() bool { return !list[leader].Status().Leads })
	c.Network.Cut("*", "*")
	fresh := ledgertest.ToyCommand{Client: 5, Seq: 1, Op: ledgertest.ToyAdd, Key: "other"}.Encode()
	if _, _, err := list[leader].Propose(short(), fresh); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("propose without a leader: %v", err)
	}
	if _, err := list[leader].Read(short(), func(ledger.Tx) error { return nil }); !errors.Is(err, replica.ErrNoLeader) {
		t.Errorf("read without a leader: %v", err)
	}
	if got := value(t, list[leader], "k"); got == 0 {
		t.Error("view shows nothing")
	}
	c.Network.Heal()
	// The same bytes again: applied once, whatever became of the first time.
	if sum, _ := add(t, list[(leader+1)%3], 1, 2, "k"); sum != 2 {
		t.Errorf("sum is %d", sum)
	}
	r := list[0]
	c.Stop(0)
	if err := r.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, _, err := r.Propose(within(t), command); !errors.Is(err, replica.ErrClosed) {
		t.Errorf("propose after close: %v", err)
	}
	if _, err := r.View(func(ledger.Tx) error { return nil }); !errors.Is(err, replica.ErrClosed) {
		t.Errorf("view after close: %v", err)
	}
}

// older is a machine that does not know commands on keys that begin with "new".
type older struct{ ledgertest.Toy }

func (o older) Apply(tx ledger.Tx, index uint64, command []byte) ([]byte, error) {
	if bytes.HasPrefix(command[18:], []byte("new")) {
		return nil, ledger.ErrUnknownCommand
	}
	return o.Toy.Apply(tx, index, command)
}

func TestUnknownCommandStopsTheReplicaAndLosesNothing(t *testing.T) {
	old := true
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		if old && c.ID == "m1" {
			c.Machine = older{}
		}
	}})
	list := c.Found(3, 3)
	_, before := add(t, list[0], 1, 1, "k")
	_, index := add(t, list[0], 1, 2, "new")
	select {
	case <-list[1].Stopped():
	case <-within(t).Done():
		t.Fatal("it did not stop")
	}
	if err := list[1].Err(); !errors.Is(err, replica.ErrStopped) || !errors.Is(err, ledger.ErrUnknownCommand) || !strings.Contains(err.Error(), "entry") {
		t.Errorf("error is %v", err)
	}
	if _, _, err := list[1].Propose(within(t), nil); !errors.Is(err, replica.ErrStopped) {
		t.Errorf("propose: %v", err)
	}
	if err := list[1].Wait(within(t), index); !errors.Is(err, replica.ErrStopped) {
		t.Errorf("wait: %v", err)
	}
	if got := value(t, list[1], "k"); got != 1 {
		t.Errorf("it shows %d", got)
	}
	if at := list[1].Applied(); at < before || at >= index {
		t.Errorf("it has applied %d, the unknown command is %d", at, index)
	}
	// The others go on; a newer version of the machine goes on where it stopped.
	_, last := add(t, list[2], 1, 3, "k")
	old = false
	c.Stop(1)
	again := c.Open(1)
	if err := again.Wait(within(t), last); err != nil {
		t.Fatal(err)
	}
	if got := value(t, again, "new"); got != 1 {
		t.Errorf("it shows %d", got)
	}
}

// TestBrokenStoreStopsOneMember breaks the store of the leader, or of a follower:
// that one stops, and goes on when it is opened again.
func TestBrokenStoreStopsOneMember(t *testing.T) {
	for _, of := range []string{"leader", "follower"} {
		t.Run(of, func(t *testing.T) {
			c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
				c.VotersMax, c.DeadAfter = 3, time.Hour
			}})
			list := c.Found(4, 3)
			broken := c.Leader(4)
			if of == "follower" {
				for i, r := range list {
					if !r.Status().Voter {
						broken = i
					}
				}
			}
			other, fault := list[(broken+1)%4], errors.New("disk is broken")
			c.StoreDisk(broken).Fail(fault)
			if sum, _ := add(t, other, 1, 1, "k"); sum != 1 {
				t.Errorf("sum is %d", sum)
			}
			select {
			case <-list[broken].Stopped():
			case <-within(t).Done():
				t.Fatal("it does not stop")
			}
			if err := list[broken].Err(); !errors.Is(err, replica.ErrStopped) || !errors.Is(err, fault) {
				t.Errorf("error is %v", err)
			}
			c.StoreDisk(broken).Fail(nil)
			c.Stop(broken)
			_, last := add(t, other, 1, 2, "k")
			if err := c.Open(broken).Wait(within(t), last); err != nil {
				t.Fatal(err)
			}
		})
	}
}
