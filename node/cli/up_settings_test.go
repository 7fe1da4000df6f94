package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/control"
)

// TestUpFromFile: what a node gives and where it listens comes from a configuration
// file too, and what it offers is measured.
func TestUpFromFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "node")
	listen := []string{m.flags[2], m.flags[4]}
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf("listen:\n- %s\n- %s\nannounce: [/ip4/127.8.8.8/tcp/8]\nloopback: true\nslots: 2\noffer-memory: 3GiB\noffer-disk: 64MiB\n", listen[0], listen[1])
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, nil, m.dir, "--config", path).up(t)
	s := n.status(t, "offers what it has measured", func(s control.Status) bool {
		return len(s.Offers) == 1 && s.Offers[0].FuelRate > 0 && s.Offers[0].DiskBytes > 0
	})
	for _, a := range append(listen, "/ip4/127.8.8.8/tcp/8") {
		if !strings.Contains(s.Address, a) {
			t.Errorf("the address is %s, without %s", s.Address, a)
		}
	}
	if o := s.Offers[0]; o.Node != s.Node || o.Slots != 2 || o.MemoryBytes != 3<<30 || o.DiskBytes != 64<<20 {
		t.Errorf("offer %+v", o)
	}
	e := runDugnad(t, "status", "--node-dir", m.dir)
	if e.code != 0 || !strings.Contains(e.stdout, "2 slots") || !strings.Contains(e.stdout, "G fuel/s") || !strings.Contains(e.stdout, "3.0 GiB of memory, 64.0 MiB of disk") {
		t.Errorf("status: exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	n.stop(t)
	// It is measured once: the next start finds it.
	kept, err := os.ReadFile(filepath.Join(m.dir, "calibration.json"))
	if err != nil {
		t.Fatal(err)
	}
	rate := s.Offers[0].FuelRate
	n = startNode(t, nil, m.dir, "--config", path).up(t)
	n.status(t, "offers the same", func(s control.Status) bool { return len(s.Offers) == 1 && s.Offers[0].FuelRate == rate })
	if again, err := os.ReadFile(filepath.Join(m.dir, "calibration.json")); err != nil || string(again) != string(kept) {
		t.Errorf("measured again: %s, before %s, %v", again, kept, err)
	}
	n.stop(t)
}

// TestUpLogs: whatever libraries have to say comes in the node's own format.
func TestUpLogs(t *testing.T) {
	t.Parallel()
	m, quiet := newMachine(t, "talks"), newMachine(t, "quiet")
	talks := startNode(t, []string{"env", "GOLOG_LOG_LEVEL=debug"}, m.dir, m.flags...).up(t)
	n := quiet.up(t, "--join", talks.invite(t))
	talks.meets(t, n)
	talks.await(t, talks.errOut, 0, "logger=swarm2")
	talks.await(t, talks.errOut, 0, "logger=dht")
	n.stop(t)
	talks.end(t)
	for _, p := range []*nodeProcess{talks, n} {
		log, _ := p.errOut.read()
		for line := range strings.Lines(log) {
			if !strings.HasPrefix(line, "time=") || !strings.Contains(line, " level=") || !strings.Contains(line, " msg=") {
				t.Errorf("%s: a line of another format: %q", filepath.Base(p.dir), line)
			}
		}
		if p == n && (strings.Contains(log, "level=DEBUG") || strings.Contains(log, "logger=")) {
			t.Errorf("a library is heard:\n%s", log)
		}
	}
}
