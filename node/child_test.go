package node

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/executor"
	"github.com/dugnad/dugnad/node/pool"
	"github.com/dugnad/dugnad/node/scheduler"
	"github.com/dugnad/dugnad/p2p"
)

// childVariable makes this test's binary a node: its value is childSettings.
const childVariable = "DUGNAD_TEST_NODE"

// childSettings is what a node in a process of its own is told.
type childSettings struct {
	Dir, Name, Version, Invitation string
	Listen                         []string
	Found                          bool
	// Lease is how long leases last, and workers wait for another process; 0 is as
	// long as in production.
	Lease time.Duration
	// Disk gives it a file system of its own in Dir, whose size can be changed.
	Disk bool
}

// childMain runs a node that does what it reads from stdin, a command on a line,
// until that ends. On stdout it says what was reached.
func childMain(settings string) int {
	var s childSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // bounds opening
	defer cancel()
	if err := s.run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (s *childSettings) run(ctx context.Context, in io.Reader, out io.Writer) error {
	c := testConfig(s.Dir)
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, words...)
	}
	if s.Disk {
		if err := s.mount(0, diskBytes); err != nil {
			return err
		}
	}
	g := &gate{say: func(at step, key string) { say("held", at, key) }}
	c.Host.Name, c.Host.Listen, c.Found, c.Version = s.Name, s.Listen, s.Found, s.Version
	c.Offer.Slots, c.Offer.MemoryBytes = childSlots, childMemoryBytes
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	c.alter = func(part any) {
		hasten(part)
		s.lengthen(part)
		g.alter(part)
	}
	var err error
	if s.Invitation != "" {
		if c.Invitation, err = p2p.ParseInvitation(s.Invitation); err != nil {
			return err
		}
	}
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	say("up", n.self())
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch f := strings.Fields(lines.Text()); f[0] {
		case "hold":
			g.hold(step(f[1]), f[2])
			say("holds", f[1], f[2])
		case "release":
			g.release()
		case "let":
			g.let(step(f[1]), f[2])
		case "metric":
			value, err := sumOf(n, f[2])
			say("metric", f[1], value, err)
		case "disk":
			say("disk", f[1], f[2], s.resize(f[1] == "full"))
		case "digest":
			index, digest, err := digestOf(n)
			say("digest", f[1], index, digest, err)
		case "count":
			say("count", f[1], countOf(n, f[1]))
		}
	}
	g.release()
	return n.Close()
}

// countOf returns a counter of a node, or -1.
func countOf(n *Node, name string) float64 {
	families, _ := n.registry.Gather() // what is missing is -1
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

// lengthen has leases last as long as a slow machine may need.
func (s *childSettings) lengthen(part any) {
	if s.Lease == 0 {
		return
	}
	switch c := part.(type) {
	case *scheduler.Config:
		c.Lease = s.Lease
	case *executor.Config:
		c.Lease = s.Lease
	case *pool.Config:
		c.OrphanMax = s.Lease
	}
}

// What a child offers is more than a test has held at the same time.
const (
	childSlots       = 16
	childMemoryBytes = 16 << 30
)

// sumOf adds up what a metric of a node counts.
func sumOf(n *Node, name string) (sum float64, err error) {
	families, err := n.registry.Gather()
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum, err
}

// digestOf verifies a node's copy of the ledger and returns the hash of all that is
// in it.
func digestOf(n *Node) (index uint64, digest string, err error) {
	h := sha256.New()
	index, err = n.book.View(func(tx ledger.Tx) error {
		if err := ledger.Check(tx); err != nil {
			return err
		}
		return tx.Scan(nil, nil, func(key, value []byte) bool {
			fmt.Fprintf(h, "%d %d %s%s", len(key), len(value), key, value)
			return true
		})
	})
	return index, fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}
