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

// TestUpEmptyJoin: an invitation without text, as a script's variable that was never set,
// founds no grid.
func TestUpEmptyJoin(t *testing.T) {
	for _, tt := range []struct {
		env  string
		args []string
	}{{"A=b", []string{"--join", ""}}, {"A=b", []string{"--join="}}, {"DUGNAD_JOIN=", nil}} {
		r := newTestRun(t)
		r.env = append(r.env, tt.env)
		code := r.run(append([]string{"up", "--node-dir", "@/node", "--loopback", "--listen", "/ip4/127.0.0.1/tcp/0"}, tt.args...)...)
		if _, err := os.Stat(filepath.Join(r.dir, "node", "grid.key")); code != exitFailure || !strings.Contains(r.stderr.String(), errEmptyJoin.Error()) || !os.IsNotExist(err) {
			t.Errorf("%s %q: exit code %d, %s, %v", tt.env, tt.args, code, r.stderr.String(), err)
		}
	}
}

// TestNoHome: without a home what needs no folder goes on, and what needs one says which
// flag names it.
func TestNoHome(t *testing.T) {
	f := newFakeGrid(t)
	for _, tt := range []struct{ args, says string }{
		{"run --grid always --api " + f.url + " @/m.wasm", ""},
		{"run --grid always @/m.wasm", "no node is named, and neither HOME nor XDG_DATA_HOME says where this machine's is: name one with --api or --node-dir"},
		{"run --grid never @/m.wasm", "name a folder with --data-dir"},
		{"run @/m.wasm", "name a folder with --data-dir"},
		{"job ls", "name one with --api or --node-dir"},
	} {
		r := newTestRun(t)
		r.env = nil
		if code := r.run(strings.Fields(tt.args)...); (code == 0) != (tt.says == "") || !strings.Contains(r.stderr.String(), tt.says) {
			t.Errorf("%s: exit code %d, %q, want %q", tt.args, code, r.stderr.String(), tt.says)
		}
	}
}
