package replica_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// stalled waits until a member says that it has no room.
func stalled(c *ledgertest.Cluster, r *replica.Replica) {
	c.Until("the member stalls", func() bool { return errors.Is(r.Status().Stalled, replica.ErrNoRoom) })
}

// TestFullStoreWaitsForRoom fills the store of a voter, or of a follower: the
// others go on, and it goes on where it was when there is room.
func TestFullStoreWaitsForRoom(t *testing.T) {
	for _, of := range []string{"voter", "follower"} {
		t.Run(of, func(t *testing.T) {
			c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
				c.VotersMax, c.DeadAfter = 3, time.Hour
			}})
			list := c.Found(4, 3)
			full := -1
			for i, r := range list {
				if s := r.Status(); !s.Leads && s.Voter == (of == "voter") {
					full = i
				}
			}
			r, other := list[full], list[(full+1)%4]
			_, before := add(t, other, 1, 1, "k")
			if err := r.Wait(within(t), before); err != nil {
				t.Fatal(err)
			}
			c.StoreDisk(full).Fail(replica.ErrNoRoom)
			_, last := add(t, other, 1, 2, "k")
			stalled(c, r)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := r.Wait(ctx, last); !errors.Is(err, replica.ErrNoRoom) || !errors.Is(err, context.Canceled) {
				t.Errorf("wait: %v", err)
			}
			if got := value(t, r, "k"); got != 1 || r.Applied() != before {
				t.Errorf("it shows %d at %d", got, r.Applied())
			}
			if sum, _ := add(t, r, 1, 3, "k"); sum != 3 {
				t.Errorf("proposed through it the sum is %d", sum)
			}
			c.StoreDisk(full).Fail(nil)
			if err := r.Wait(within(t), last); err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Errorf("error is %v", err)
			}
			c.Until("the stall is over", func() bool { return r.Status().Stalled == nil })
		})
	}
}

// TestFullLeaderMakesWay fills a leader's store, or its log: another one leads,
// nothing is lost, and the old one goes on when there is room.
func TestFullLeaderMakesWay(t *testing.T) {
	for _, of := range []string{"store", "log"} {
		t.Run(of, func(t *testing.T) {
			c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.DeadAfter = time.Hour }})
			list := c.Found(3, 3)
			leader := c.Leader(3)
			add(t, list[leader], 1, 1, "k")
			fail := c.StoreDisk(leader).Fail
			if of == "log" {
				fail = c.LogDisk(leader).Fail
			}
			fail(replica.ErrNoRoom)
			if sum, _ := add(t, list[leader], 1, 2, "k"); sum != 2 {
				t.Errorf("sum is %d", sum)
			}
			if now := c.Leader(3); now == leader {
				t.Error("it still leads")
			}
			sum, last := add(t, list[(leader+1)%3], 1, 3, "k")
			if sum != 3 {
				t.Errorf("sum is %d", sum)
			}
			fail(nil)
			if err := list[leader].Wait(within(t), last); err != nil {
				t.Fatal(err)
			}
			if got := value(t, list[leader], "k"); got != 3 {
				t.Errorf("it has %d", got)
			}
		})
	}
}

// TestFullAlone fills the disk of a grid of one: commands are refused with the
// cause, what was acknowledged stays, and room is all that it takes.
func TestFullAlone(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	r := c.Found(1, 1)[0]
	add(t, r, 1, 1, "k")
	command := ledgertest.ToyCommand{Client: 1, Seq: 2, Op: ledgertest.ToyAdd, Key: "k"}.Encode()
	c.LogDisk(0).Fail(replica.ErrNoRoom)
	ctx, cancel := context.WithCancel(context.Background())
	refused := make(chan error)
	go func() {
		_, _, err := r.Propose(ctx, command)
		refused <- err
	}()
	stalled(c, r)
	cancel()
	if err := <-refused; !errors.Is(err, replica.ErrNoRoom) || !errors.Is(err, context.Canceled) {
		t.Errorf("propose: %v", err)
	}
	if got := value(t, r, "k"); got != 1 {
		t.Errorf("it has %d", got)
	}
	c.LogDisk(0).Fail(nil)
	if sum, _ := add(t, r, 1, 3, "k"); sum != 2 {
		t.Errorf("sum is %d", sum)
	}
}

// TestFullMemberCloses closes members that wait for room in their store or log.
func TestFullMemberCloses(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax, c.DeadAfter = 3, time.Hour
	}})
	list := c.Found(4, 3)
	for i := range list {
		c.StoreDisk(i).Fail(replica.ErrNoRoom)
	}
	// It is committed, and nobody can say so.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		command := ledgertest.ToyCommand{Client: 1, Seq: 1, Op: ledgertest.ToyAdd, Key: "k"}
		_, _, err := list[0].Propose(ctx, command.Encode())
		done <- err
	}()
	for _, r := range list {
		if r.Status().Voter {
			stalled(c, r)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, replica.ErrUncertain) {
		t.Errorf("propose: %v", err)
	}
	for i := range list {
		c.LogDisk(i).Fail(replica.ErrNoRoom)
	}
	for i := range list {
		c.Stop(i)
		c.StoreDisk(i).Fail(nil)
		c.LogDisk(i).Fail(nil)
	}
	for i := range list {
		c.Open(i)
	}
	if sum, _ := add(t, c.Running(1), 1, 1, "k"); sum != 1 {
		t.Errorf("sum is %d", sum)
	}
}

// TestFullVoterIsReplaced takes the vote from a member that has no room for long.
func TestFullVoterIsReplaced(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax, c.DeadAfter = 3, 300*time.Millisecond
	}})
	list := c.Found(4, 3)
	full := -1
	for i, r := range list {
		if s := r.Status(); s.Voter && !s.Leads {
			full = i
		}
	}
	c.StoreDisk(full).Fail(replica.ErrNoRoom)
	add(t, list[c.Leader(4)], 1, 1, "k")
	c.Until("another member votes", func() bool {
		leader := list[c.Leader(4)]
		for _, m := range leader.Members() {
			if m.ID == ledgertest.Name(full) && m.Voter {
				return false
			}
		}
		return c.Voters(leader) == 3
	})
	c.StoreDisk(full).Fail(nil)
	_, last := add(t, list[c.Leader(4)], 1, 2, "k")
	if err := list[full].Wait(within(t), last); err != nil {
		t.Fatal(err)
	}
}
