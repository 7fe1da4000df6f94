package rpc_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// networks are what the benchmarks compare. process is two processes; the
// others are one.
func networks(b *testing.B, name string) (from p2p.Network, to p2p.NodeID) {
	serve := func(from, to p2p.Network) (p2p.Network, p2p.NodeID) {
		openBench(b, to)
		return from, to.Self()
	}
	switch name {
	case "memory":
		nodes := p2ptest.New(b, p2ptest.Config{}).AddMany(2)
		return serve(nodes[0], nodes[1])
	case "socket":
		return serve(newTCPNetwork(b), newTCPNetwork(b))
	case "quic":
		return serve(hosts(b, quicAddress))
	case "processes-tcp":
		return process(b, tcpAddress)
	default:
		return process(b, quicAddress)
	}
}

// BenchmarkCall sends 200 bytes and gets 200 back.
func BenchmarkCall(b *testing.B) {
	for _, name := range []string{"memory", "socket", "quic", "processes-tcp", "processes-quic"} {
		for _, at := range []struct {
			name     string
			inFlight int
		}{{"Alone", 1}, {"InFlight64", 64}, {"InFlight1000", 1000}} {
			b.Run(name+"/"+at.name, func(b *testing.B) {
				from, to := networks(b, name)
				benchmarkCall(b, from, to, at.inFlight)
			})
		}
	}
}

func benchmarkCall(b *testing.B, from p2p.Network, to p2p.NodeID, inFlight int) {
	client := openBench(b, from)
	request := make([]byte, 200)
	call := func() time.Duration {
		began := time.Now()
		if _, err := client.Call(context.Background(), to, "echo", request); err != nil {
			b.Error(err)
		}
		return time.Since(began)
	}
	call()
	took := make([]time.Duration, b.N)
	var at atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	b.ReportAllocs()
	for range inFlight {
		all.Go(func() {
			for i := at.Add(1); i <= int64(b.N); i = at.Add(1) {
				took[i-1] = call()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func openBench(b *testing.B, n p2p.Network) *rpc.Endpoint {
	e, err := rpc.Open(b.Context(), benchConfig(n))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	return e
}

func benchConfig(n p2p.Network) rpc.Config {
	c := rpc.Default()
	c.Network = n
	c.Methods = []rpc.Method{{
		Name: "echo", Allow: p2p.RoleClient, RequestBytesMax: 1 << 10, ResponseBytesMax: 1 << 10,
		Handler: func(_ context.Context, r rpc.Request) ([]byte, error) { return r.Body, nil },
	}}
	return c
}
