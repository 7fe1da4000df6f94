package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/p2p/content"
)

// patience bounds a wait; it is no measure of speed.
const patience = 2 * time.Minute

func testConfig(dir string) Config {
	c := Default(dir)
	c.Host.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	c.Host.AllowLoopback, c.Host.MDNS, c.Host.PortMap = true, false, false
	c.Offer = capacity.Offer{Slots: 2, MemoryBytes: 1 << 30}
	return c
}

func openNode(ctx context.Context, t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestTwoNodes: two nodes in one process share a ledger and an object, and stop
// while they are asked.
func TestTwoNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	if _, err := Open(ctx, testConfig(filepath.Join(dir, "empty"))); !errors.Is(err, ErrNeverJoined) {
		t.Errorf("a folder in no grid: %v, want %v", err, ErrNeverJoined)
	}
	first := testConfig(filepath.Join(dir, "first"))
	first.Found = true
	founder := openNode(ctx, t, first)
	if _, err := Open(ctx, first); !errors.Is(err, ErrInUse) {
		t.Errorf("a second node on a folder: %v, want %v", err, ErrInUse)
	}
	second := testConfig(filepath.Join(dir, "second"))
	joinNetworkOnly(ctx, t, second, invite(ctx, t, founder))
	member := openNode(ctx, t, second)
	s := member.Status()
	if want := string(founder.Host().Self()); s.Ledger.Leader != want || s.Grid != founder.Status().Grid || len(s.Members) != 1 {
		t.Errorf("status %+v, want leader %s", s, want)
	}
	if _, err := member.Invite(ctx, control.Invitation{Role: "client", Seconds: 60, Uses: 1}); !errors.Is(err, errNoAuthority) {
		t.Errorf("an invitation by a worker: %v", err)
	}
	if err := founder.Expel(ctx, founder.Host().Self()); !errors.Is(err, errSelf) {
		t.Errorf("a founder that expels itself: %v", err)
	}
	share(ctx, t, founder, member)

	var asking sync.WaitGroup
	stop := make(chan struct{})
	for _, n := range []*Node{founder, member} {
		asking.Go(func() {
			c := control.NewClient(n.config.Dir)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if s, err := c.Status(ctx); err == nil && s.Node != string(n.Host().Self()) {
					t.Errorf("status of another node: %+v", s)
				}
			}
		})
	}
	if err := errors.Join(member.Close(), founder.Close(), member.Close()); err != nil {
		t.Error(err)
	}
	close(stop)
	asking.Wait()
}

func invite(ctx context.Context, t *testing.T, n *Node) *p2p.Invitation {
	t.Helper()
	text, err := n.Invite(ctx, control.Invitation{Role: "worker", Seconds: 3600, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	v, err := p2p.ParseInvitation(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// joinNetworkOnly leaves the folder as a process does that ends before it has
// joined the ledger.
func joinNetworkOnly(ctx context.Context, t *testing.T, c Config, v *p2p.Invitation) {
	t.Helper()
	c.Host.Dir, c.Host.Invitation = c.Dir, v
	h, err := p2p.Open(ctx, c.Host)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// share puts an object on one node and gets it on the other.
func share(ctx context.Context, t *testing.T, from, to *Node) {
	t.Helper()
	want := bytes.Repeat([]byte("object"), 1<<18)
	put, err := from.PutObject(ctx, bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	h, err := content.ParseHash(put.Hash)
	if err != nil {
		t.Fatal(err)
	}
	o, err := to.OpenObject(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("object has %d bytes, want %d: %v", len(got), len(want), err)
	}
}
