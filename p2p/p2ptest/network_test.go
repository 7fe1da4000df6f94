package p2ptest

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/p2p"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func opener(c Config) func(*testing.T, int) []p2p.Network {
	return func(t *testing.T, count int) []p2p.Network {
		var out []p2p.Network
		for _, n := range New(t, c).AddMany(count) {
			out = append(out, n)
		}
		return out
	}
}

func TestMemory(t *testing.T) {
	TestNetwork(t, opener(Config{StreamsMax: 200}))
}

func TestMemoryWithLatency(t *testing.T) {
	TestNetwork(t, opener(Config{Latency: 100 * time.Microsecond, BufferBytes: 1 << 20}))
}

// bubble runs f in a synctest bubble with two nodes, b of which echoes.
func bubble(t *testing.T, c Config, f func(t *testing.T, n *Network, a, b *Node)) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t, c)
		a, b := n.Add("a", p2p.RoleClient), n.Add("b", p2p.RoleAdmin)
		b.Handle(suiteProtocol, echo)
		f(t, n, a, b)
	})
}

func TestLatency(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network, a, b *Node) {
		n.Latency("a", "b", 30*time.Millisecond)
		began := time.Now()
		s := dial(t, a, b)
		if took := time.Since(began); took != 60*time.Millisecond {
			t.Errorf("dialled in %v, want a round trip", took)
		}
		for range 3 {
			began = time.Now()
			write(t, s, []byte("ping"))
			read(t, s, []byte("ping"))
			if took := time.Since(began); took != 60*time.Millisecond {
				t.Errorf("echoed in %v, want a round trip", took)
			}
		}
	})
}

func TestRoles(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network, a, b *Node) {
		if _, ok := a.RoleOf("b"); ok {
			t.Error("a role is known before the first connection")
		}
		dial(t, a, b)
		if role, _ := a.RoleOf("b"); role != p2p.RoleAdmin {
			t.Errorf("b has role %d", role)
		}
		if role, _ := b.RoleOf("a"); role != p2p.RoleClient {
			t.Errorf("a has role %d", role)
		}
	})
}

// TestPartition holds up what is under way in one direction, in the other, and
// in both, and sees it arrive afterwards.
func TestPartition(t *testing.T) {
	for name, cut := range map[string]func(n *Network){
		"Forth": func(n *Network) { n.Block("a", "b") },
		"Back":  func(n *Network) { n.Block("b", "a") },
		"Both":  func(n *Network) { n.Partition([]p2p.NodeID{"a"}, []p2p.NodeID{"b"}) },
		"Node":  func(n *Network) { n.Cut("b") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Latency: time.Millisecond}, func(t *testing.T, n *Network, a, b *Node) {
				s := dial(t, a, b)
				write(t, s, []byte("before"))
				read(t, s, []byte("before"))
				write(t, s, []byte("during"))
				cut(n)
				s.SetReadDeadline(time.Now().Add(time.Hour))
				if _, err := s.Read(make([]byte, 1)); !timedOut(err) {
					t.Errorf("read across the partition: %v", err)
				}
				s.SetReadDeadline(time.Time{})
				n.Heal()
				n.Restore("b")
				read(t, s, []byte("during"))
			})
		})
	}
}

func TestBrokenAfter(t *testing.T) {
	bubble(t, Config{BrokenAfter: 5 * time.Second}, func(t *testing.T, n *Network, a, b *Node) {
		downs := make(chan bool, 4)
		defer a.Notify(func(_ p2p.NodeID, up bool) { downs <- !up })()
		s := dial(t, a, b)
		write(t, s, []byte("x"))
		read(t, s, []byte("x"))
		n.Cut("b")
		began := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrBroken) || time.Since(began) != 5*time.Second {
			t.Errorf("read across the partition: %v after %v", err, time.Since(began))
		}
		if <-downs || !<-downs {
			t.Error("want up, then down")
		}
		if _, err := a.Open(t.Context(), "b", suiteProtocol); !errors.Is(err, ErrUnreachable) {
			t.Errorf("open across the partition: %v", err)
		}
		time.AfterFunc(time.Second, func() { n.Restore("b") })
		dial(t, a, b)
		if got := a.Connected(); !slices.Equal(got, []p2p.NodeID{"b"}) {
			t.Errorf("connected to %v", got)
		}
	})
}

func TestBlockedOpenWaits(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network, a, b *Node) {
		n.Block("b", "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := a.Open(ctx, "b", suiteProtocol); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("open across the partition: %v", err)
		}
		time.AfterFunc(time.Second, func() { n.Unblock("b", "a") })
		dial(t, a, b)
	})
}

func TestBreak(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network, a, b *Node) {
		s := dial(t, a, b)
		n.Break("a", "b")
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrBroken) {
			t.Errorf("read from a lost connection: %v", err)
		}
		s = dial(t, a, b)
		write(t, s, []byte("again"))
		read(t, s, []byte("again"))
	})
}

func TestNodeComesBack(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network, a, b *Node) {
		s := dial(t, a, b)
		b.Close()
		if _, err := io.ReadAll(s); !errors.Is(err, ErrBroken) {
			t.Errorf("read from a node that is closed: %v", err)
		}
		if _, err := a.Open(t.Context(), "b", suiteProtocol); !errors.Is(err, ErrUnreachable) {
			t.Errorf("open to a node that is closed: %v", err)
		}
		n.Add("b", p2p.RoleWorker).Handle(suiteProtocol, echo)
		s = dial(t, a, b)
		write(t, s, []byte("back"))
		read(t, s, []byte("back"))
	})
}
