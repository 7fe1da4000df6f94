package replica_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within returns a context for what must not hang.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// add counts key up by client's command seq, and returns the sum and the index.
func add(t testing.TB, r *replica.Replica, client, seq uint64, key string) (sum, index uint64) {
	t.Helper()
	command := ledgertest.ToyCommand{Client: client, Seq: seq, Op: ledgertest.ToyAdd, Key: key}
	result, index, err := r.Propose(within(t), command.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint64(result), index
}

// value returns the sum in a member's own state.
func value(t testing.TB, r *replica.Replica, key string) (sum uint64) {
	t.Helper()
	if _, err := r.View(func(tx ledger.Tx) error {
		b, err := tx.Get(ledgertest.ToyKey(key))
		if len(b) == 8 {
			sum = binary.BigEndian.Uint64(b)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestAnyMemberProposesAndReads(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{})
	list := c.Found(5, 5)
	for i, r := range list {
		if sum, _ := add(t, r, uint64(i), 1, "k"); sum != uint64(i+1) {
			t.Fatalf("sum is %d after %d", sum, i+1)
		}
		for _, other := range list {
			var got uint64
			if _, err := other.Read(within(t), func(tx ledger.Tx) error {
				b, err := tx.Get(ledgertest.ToyKey("k"))
				got = binary.BigEndian.Uint64(b)
				return err
			}); err != nil || got != uint64(i+1) {
				t.Fatalf("read %d, %v after %d", got, err, i+1)
			}
		}
	}
	// A repetition, from elsewhere, has the same result and no effect.
	if sum, _ := add(t, list[3], 2, 1, "k"); sum != 3 {
		t.Fatalf("repetition gives %d", sum)
	}
	if sum, _ := add(t, list[4], 9, 1, "k"); sum != 6 {
		t.Fatalf("sum is %d", sum)
	}
}

// nothing is a view of nothing.
func nothing(ledger.Tx) error { return nil }

// TestTooManyConnectionsAreTurnedAway says why to the one that is too many, and
// takes it when another one has gone.
func TestTooManyConnectionsAreTurnedAway(t *testing.T) {
	const most = 3
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.ConnectionsMax = most }})
	c.Found(1, 1)
	dial := c.Network.Dial("stranger")
	var held []net.Conn
	for range most {
		conn, err := dial(within(t), "m0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	conn, err := dial(within(t), "m0")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "member is busy: 3 connections") {
		t.Errorf("answer is %q, %v", answer, err)
	}
	for _, conn := range append(held, conn) {
		conn.Close()
	}
	if err := c.Open(1).Join(within(t), []string{"m0"}); err != nil {
		t.Errorf("join: %v", err)
	}
}

// TestOthersHearOfACommitAtOnce lets the other voters learn of a commit from nothing
// but a notice: Raft itself would repeat itself after an hour.
func TestOthersHearOfACommitAtOnce(t *testing.T) {
	commit := 10 * time.Millisecond
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) { c.CommitTimeout = commit }})
	c.Found(3, 3)
	for i := range 3 {
		c.Stop(i)
	}
	commit = time.Hour
	var list []*replica.Replica
	for i := range 3 {
		list = append(list, c.Open(i))
	}
	for i := range 30 {
		_, index := add(t, list[i%3], 1, uint64(i+1), "k")
		for _, other := range list {
			if err := other.Wait(within(t), index); err != nil {
				t.Fatal(err)
			}
		}
	}
}
