package p2p_test

import (
	"context"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// A Host is what the packages above take a network for, over either transport.
func TestHostIsANetwork(t *testing.T) {
	for _, transport := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		t.Run(transport, func(t *testing.T) {
			p2ptest.TestNetwork(t, func(t *testing.T, n int) []p2p.Network { return hosts(t, transport, n) })
		})
	}
}

// hosts opens a grid of n nodes.
func hosts(t *testing.T, transport string, n int) []p2p.Network {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var first *p2p.Host
	var out []p2p.Network
	for range n {
		cfg := p2p.Default()
		cfg.Dir, cfg.Listen, cfg.AllowLoopback = t.TempDir(), []string{transport}, true
		cfg.MDNS, cfg.PortMap = false, false
		var err error
		if first == nil {
			_, err = p2p.FoundGrid(cfg.Dir)
		} else {
			cfg.Invitation, err = first.Authority().Invite(p2p.RoleWorker, time.Now().Add(time.Hour), 1, []p2p.Contact{first.Contact()})
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := p2p.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		if first == nil {
			first = h
		}
		out = append(out, h)
	}
	return out
}
