package replica_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// TestDyingLeaderIsReplacedAtOnce has the leader's listener outlive its other
// connections by a moment, as a killed process's may: who dials then gets a
// connection, and no answer. The heartbeat timeout is longer than the test.
func TestDyingLeaderIsReplacedAtOnce(t *testing.T) {
	const leader = "m0"
	var dying atomic.Bool
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		if c.ID == leader {
			return
		}
		c.HeartbeatTimeout = 90 * time.Second
		dial, left := c.Dial, new(atomic.Int64)
		left.Store(2)
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			if address != leader || !dying.Load() || left.Add(-1) < 0 {
				return dial(ctx, address)
			}
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 1024))
				far.Close()
			}()
			return near, nil
		}
	}})
	list := c.Found(3, 3)
	add(t, list[0], 1, 1, "k")
	dying.Store(true)
	c.Stop(0)
	if sum, _ := add(t, list[1], 1, 2, "k"); sum != 2 {
		t.Errorf("sum is %d", sum)
	}
}
