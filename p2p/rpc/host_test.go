package rpc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	quicAddress = "/ip4/127.0.0.1/udp/0/quic-v1"
	tcpAddress  = "/ip4/127.0.0.1/tcp/0"
	// childVariable has the test binary run childMain, with its value as the
	// address to listen on.
	childVariable = "DUGNAD_RPC_TEST_CHILD"
)

func hostConfig(dir, address string) p2p.Config {
	c := p2p.Default()
	c.Dir, c.Listen, c.AllowLoopback = dir, []string{address}, true
	c.MDNS, c.DHT, c.PortMap, c.HolePunch, c.Relay = false, false, false, false, false
	return c
}

// found opens the first host of a grid, and returns an invitation to it.
func found(t testing.TB, address string) (*p2p.Host, string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := p2p.FoundGrid(dir); err != nil {
		t.Fatal(err)
	}
	h := openHost(t, hostConfig(dir, address))
	invitation, err := h.Authority().Invite(p2p.RoleClient, time.Now().Add(time.Hour), 1, []p2p.Contact{h.Contact()})
	if err != nil {
		t.Fatal(err)
	}
	text, err := invitation.Text()
	if err != nil {
		t.Fatal(err)
	}
	return h, text
}

// join opens a host that joins by the invitation.
func join(t testing.TB, address, invitation string) *p2p.Host {
	t.Helper()
	c := hostConfig(t.TempDir(), address)
	var err error
	if c.Invitation, err = p2p.ParseInvitation(invitation); err != nil {
		t.Fatal(err)
	}
	return openHost(t, c)
}

func openHost(t testing.TB, c p2p.Config) *p2p.Host {
	t.Helper()
	h, err := p2p.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// hosts returns a client and the founder of its grid.
func hosts(t testing.TB, address string) (client, founder p2p.Network) {
	f, invitation := found(t, address)
	return join(t, address, invitation), f
}

// childMain answers echo calls in a process of its own: it writes an invitation
// to stdout, and ends with stdin.
func childMain(ctx context.Context, address string) error {
	dir, err := os.MkdirTemp("", "dugnad-rpc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := p2p.FoundGrid(dir); err != nil {
		return err
	}
	c := hostConfig(dir, address)
	h, err := p2p.Open(ctx, c)
	if err != nil {
		return err
	}
	defer h.Close()
	e, err := rpc.Open(ctx, benchConfig(h))
	if err != nil {
		return err
	}
	defer e.Close()
	invitation, err := h.Authority().Invite(p2p.RoleClient, time.Now().Add(time.Hour), 1, []p2p.Contact{h.Contact()})
	if err != nil {
		return err
	}
	text, err := invitation.Text()
	if err != nil {
		return err
	}
	fmt.Println(h.Self(), text)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// process starts a child, and returns a host that joined it, and the child's
// id.
func process(b *testing.B, address string) (p2p.Network, p2p.NodeID) {
	b.Helper()
	child := exec.Command(os.Args[0]) // ends with its stdin
	child.Env = append(os.Environ(), childVariable+"="+address)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		if err := child.Wait(); err != nil {
			b.Error(err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	id, invitation, _ := strings.Cut(strings.TrimSpace(line), " ")
	return join(b, address, invitation), p2p.NodeID(id)
}
