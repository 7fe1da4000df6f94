package replica_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/hashicorp/raft"
)

func TestBackupAndRestore(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.VotersMax = 1 }})
	list := c.Found(2, 1)
	_, index := add(t, list[0], 1, 1, "k")
	if err := list[1].Wait(within(t), index); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	at, err := list[1].Backup(within(t), &backup)
	if err != nil || at < index {
		t.Fatalf("backup at %d: %v", at, err)
	}
	add(t, list[0], 1, 2, "k")

	fresh := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	config, _, err := fresh.Config(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Restore(within(t), config, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := replica.Restore(within(t), config, bytes.NewReader(backup.Bytes())); !errors.Is(err, replica.ErrMember) {
		t.Errorf("second restore: %v", err)
	}
	r := fresh.Open(0)
	if sum, next := add(t, r, 1, 2, "k"); sum != 2 || next <= at {
		t.Errorf("sum is %d at %d", sum, next)
	}
	for i := 1; i < 3; i++ {
		if err := fresh.Open(i).Join(within(t), []string{"m0"}); err != nil {
			t.Fatal(err)
		}
	}
	fresh.Until("three vote", func() bool { return fresh.Voters(r) == 3 })
	if got := value(t, fresh.Running(2), "k"); got != 2 {
		t.Errorf("a new member has %d", got)
	}
}

func TestRecoverAfterLosingTheMajority(t *testing.T) {
	for _, survivor := range []string{"voter", "follower"} {
		t.Run(survivor, func(t *testing.T) {
			c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.VotersMax = 3 }})
			list := c.Found(5, 3)
			_, last := add(t, list[0], 1, 1, "k")
			self := -1
			for i, r := range list {
				if err := r.Wait(within(t), last); err != nil {
					t.Fatal(err)
				}
				if s := r.Status(); !s.Leads && s.Voter == (survivor == "voter") {
					self = i
				}
			}
			// All stop; two voters never come back as they were.
			var others []int
			for i, r := range list {
				if i != self && !r.Status().Voter {
					others = append(others, i)
				}
			}
			for i := range list {
				c.Stop(i)
			}
			config, _, err := c.Config(self)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := replica.Recover(within(t), config); err != nil {
					t.Fatal(err)
				}
			}
			r := c.Open(self)
			if sum, _ := add(t, r, 1, 2, "k"); sum != 2 {
				t.Errorf("sum is %d", sum)
			}
			for _, i := range others {
				c.Open(i)
			}
			_, last = add(t, r, 1, 3, "k")
			for _, i := range others {
				if err := c.Running(i).Wait(within(t), last); err != nil {
					t.Fatal(err)
				}
				if got := value(t, c.Running(i), "k"); got != 3 {
					t.Errorf("%s has %d", ledgertest.Name(i), got)
				}
			}
			if len(others) == 2 {
				c.Until("three vote again", func() bool { return c.Voters(r) == 3 })
			}
		})
	}
}

func TestRecoverRefusesAStranger(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	config, _, err := c.Config(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Recover(within(t), config); !errors.Is(err, replica.ErrNotMember) {
		t.Errorf("recover: %v", err)
	}
	if has, err := raft.HasExistingState(config.RaftLog, config.RaftLog, raft.NewDiscardSnapshotStore()); has || err != nil {
		t.Errorf("it left something behind: %v, %v", has, err)
	}
}

// TestStateBehindTheLogIsRefused opens a member whose store has lost what its log
// no longer holds.
func TestStateBehindTheLogIsRefused(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 5, 1, 5*time.Millisecond
	}})
	r := c.Found(1, 1)[0]
	seq := uint64(0)
	c.Until("the log is cut", func() bool {
		seq++
		add(t, r, 1, seq, "k")
		first, err := c.Log(0).FirstIndex()
		return err == nil && first > 1
	})
	c.Stop(0)
	config, _, err := c.Config(0)
	if err != nil {
		t.Fatal(err)
	}
	config.Store = ledgertest.NewMemoryStore()
	if config.Listener, err = c.Network.Listen(config.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Open(within(t), config); !errors.Is(err, replica.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
	if sum, _ := add(t, c.Open(0), 1, seq+1, "k"); sum != seq+1 {
		t.Errorf("sum is %d", sum)
	}
}
