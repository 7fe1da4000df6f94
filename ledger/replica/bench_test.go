package replica_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// onLoopback moves the members of a cluster from the network in memory to TCP.
func onLoopback(b *testing.B) func(*replica.Config) {
	var mu sync.Mutex
	addresses := map[string]string{}
	return func(c *replica.Config) {
		mu.Lock()
		defer mu.Unlock()
		l, err := net.Listen("tcp", orElse(addresses[c.ID], "127.0.0.1:0"))
		if err != nil {
			b.Fatal(err)
		}
		addresses[c.ID] = l.Addr().String()
		c.Listener, c.Address = l, l.Addr().String()
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// production gives the timings that members have outside tests.
func production(c *replica.Config) {
	d := replica.Default()
	c.HeartbeatTimeout, c.LeaseTimeout, c.CommitTimeout, c.RPCTimeout = d.HeartbeatTimeout, d.LeaseTimeout, d.CommitTimeout, d.RPCTimeout
	c.DeadAfter = d.DeadAfter
}

func BenchmarkPropose(b *testing.B) {
	for _, at := range []string{"leader", "voter"} {
		for _, concurrency := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("at=%s/concurrency=%d", at, concurrency), func(b *testing.B) {
				tcp := onLoopback(b)
				c := ledgertest.NewCluster(b, ledgertest.ClusterConfig{Open: onDisk(b, true), Configure: func(c *replica.Config) {
					tcp(c)
					production(c)
				}})
				list := c.Found(3, 3)
				r := list[c.Leader(3)]
				if at == "voter" {
					r = list[(c.Leader(3)+1)%3]
				}
				payload := string(make([]byte, 270))
				took := make([]time.Duration, b.N)
				var next atomic.Int64
				var clients sync.WaitGroup
				b.ResetTimer()
				for client := range concurrency {
					clients.Go(func() {
						for seq := uint64(1); ; seq++ {
							n := next.Add(1) - 1
							if n >= int64(b.N) {
								return
							}
							start := time.Now()
							command := ledgertest.ToyCommand{Client: uint64(client), Seq: seq, Op: ledgertest.ToyAdd, Key: fmt.Sprint("k", client), Value: payload}
							if _, _, err := r.Propose(context.Background(), command.Encode()); err != nil {
								b.Error(err)
								return
							}
							took[n] = time.Since(start)
						}
					})
				}
				clients.Wait()
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
				b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	tcp := onLoopback(b)
	c := ledgertest.NewCluster(b, ledgertest.ClusterConfig{Open: onDisk(b, true), Configure: func(c *replica.Config) {
		tcp(c)
		production(c)
	}})
	list := c.Found(3, 3)
	r := list[(c.Leader(3)+1)%3]
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := r.Read(context.Background(), nothing); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkFailover kills the leader and measures until another member has
// applied a command. With "crash" its connections end, as when its process is
// gone; with "silence" it can no longer be heard.
func BenchmarkFailover(b *testing.B) {
	for _, timing := range []string{"production", "short"} {
		for _, how := range []string{"crash", "silence"} {
			b.Run(fmt.Sprintf("timing=%s/how=%s", timing, how), func(b *testing.B) {
				var took []time.Duration
				for range b.N {
					took = append(took, failover(b, timing == "production", how == "crash"))
				}
				slices.Sort(took)
				b.ReportMetric(took[len(took)/2].Seconds(), "median-s")
				b.ReportMetric(took[len(took)-1].Seconds(), "worst-s")
			})
		}
	}
}

func failover(b *testing.B, long, crash bool) time.Duration {
	c := ledgertest.NewCluster(b, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		if long {
			production(c)
		}
	}})
	list := c.Found(3, 3)
	leader := c.Leader(3)
	r := list[(leader+1)%3]
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	command := func(seq uint64) []byte {
		return ledgertest.ToyCommand{Client: 1, Seq: seq, Op: ledgertest.ToyAdd, Key: "k"}.Encode()
	}
	if _, _, err := r.Propose(ctx, command(1)); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if crash {
		go c.Stop(leader)
	} else {
		c.Network.Isolate(ledgertest.Name(leader))
	}
	term := r.Status().Term
	c.Until("a command is applied in a later term", func() bool {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, _, err := r.Propose(short, command(2))
		return err == nil && r.Status().Term > term
	})
	took := time.Since(start)
	c.Close()
	return took
}

// BenchmarkTree grows a tree of 200 followers and reports what the leader sends
// for a change: to its voters, and to a constant number of followers.
func BenchmarkTree(b *testing.B) {
	const members = 203
	c := ledgertest.NewCluster(b, ledgertest.ClusterConfig{Configure: func(c *replica.Config) {
		c.VotersMax = 3
		production(c)
		c.HistoryBytesMax = 1 << 20
	}})
	list := c.Found(members, 3)
	leader := c.Leader(members)
	payload := string(make([]byte, 270))
	propose := func(seq uint64) {
		command := ledgertest.ToyCommand{Client: 1, Seq: seq, Op: ledgertest.ToySet, Key: "k", Value: payload}
		_, index, err := list[leader].Propose(context.Background(), command.Encode())
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range list {
			if err := r.Wait(within(b), index); err != nil {
				b.Fatal(err)
			}
		}
	}
	propose(1)
	sent := make([]uint64, members)
	for i := range sent {
		sent[i] = c.Network.Bytes(ledgertest.Name(leader), ledgertest.Name(i))
	}
	b.ResetTimer()
	for i := range b.N {
		propose(uint64(i) + 2)
	}
	b.StopTimer()
	depth := 0
	for _, r := range list {
		depth = max(depth, r.Status().Depth)
	}
	receivers := 0
	for i := range sent {
		if c.Network.Bytes(ledgertest.Name(leader), ledgertest.Name(i))-sent[i] > uint64(b.N*len(payload)) {
			receivers++
		}
	}
	b.ReportMetric(float64(receivers), "receivers/change")
	b.ReportMetric(float64(list[leader].Status().Children), "leader-followers")
	b.ReportMetric(float64(depth), "depth")
}
