package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/control"
)

// hostileName does things to a terminal that prints it as it is.
const hostileName = "\x1b[2J\x1b]0;owned\x07 \u202eevil\u0301\u0301 日本語\r\n\x9b31m"

// topActivity is what a node with three jobs says, after so many seconds.
func topActivity(seconds float64) control.Activity {
	at := testTime.Add(time.Duration(seconds * float64(time.Second)))
	a := control.Activity{
		At: at, Node: nodePrefix + strings.Repeat("A", nodeIDDigits-len(nodePrefix)), Name: hostileName, Grid: "grid", State: "draining", Until: new(time.Time),
		Connected: 2, Members: 3, Slots: 4, MemoryBytes: 8 << 30, DiskBytes: 10 << 30, FuelRate: 4e9, CoreFuelRate: 1e9,
		SlotsUsed: 3, DiskBytesUsed: 1 << 30, ReceivedBytes: uint64(2048 * seconds), SentBytes: uint64(3 << 20 * seconds),
		Workers: []control.WorkerActivity{
			{Tenant: "acme", PID: 101, Tasks: 2, CPUSeconds: 1.5 * seconds, MemoryBytes: 300 << 20},
			{Tenant: "beta", PID: 202, Tasks: 1, CPUSeconds: 0.5 * seconds, MemoryBytes: 40 << 20, Adopted: true},
		},
		Queues: []control.Queue{
			{Tenant: "acme", Band: 5, Jobs: 100, More: true, Tasks: 5000, Oldest: testTime.Add(-time.Hour)},
			{Tenant: "beta", Jobs: 1, Tasks: 1, Oldest: testTime},
		},
	}
	*a.Until = testTime.Add(10 * time.Minute)
	for i, name := range []string{hostileName, "render", ""} {
		tenant := "acme"
		if i == 2 {
			tenant = "beta"
		}
		a.Jobs = append(a.Jobs, control.JobActivity{
			Job: fmt.Sprintf("%032x", i+1), Name: name, Tenant: tenant, Running: uint32(2 - i), Left: uint32(10 * i), Slots: 1, MemoryBytes: 256 << 20,
			Since: testTime.Add(-time.Duration(i) * time.Hour), Ended: uint64(i * 1000),
		})
	}
	a.Jobs[2].Running = 1
	return a
}

func topNodeSample() *nodeSample {
	was, is := topActivity(2), topActivity(4)
	return &nodeSample{Activity: is, Rates: ratesOf(&was, &is)}
}

func topGridSample() *gridSample {
	sample := func(fuel uint64) *gridSample {
		return &gridSample{
			At: testTime.Add(time.Duration(fuel) * time.Second),
			Nodes: []api.Node{
				{ID: "12D3Alpha", Name: hostileName, State: "up", Leader: true, Voter: true, Capacity: api.Resources{Slots: 4, MemoryBytes: 4 << 30, FuelRate: 1e9}, Reserved: api.Resources{Slots: 3, MemoryBytes: 1 << 30}, Leases: 2},
				{ID: "12D3Beta", Name: "barn", State: "unreachable", Capacity: api.Resources{Slots: 2}},
			},
			Jobs: []api.Job{
				{ID: jobA, Name: "render", Tenant: "acme", Count: 9, Tasks: api.Tasks{Running: 3, Queued: 4, Succeeded: 2}, Created: testTime, Usage: api.Usage{Fuel: fuel * 5e6}},
				{ID: jobB, Name: hostileName, Tenant: "beta", Count: 1, Tasks: api.Tasks{Queued: 1}, Created: testTime.Add(-time.Minute)},
			},
		}
	}
	out := sample(4)
	out.FuelRates = fuelRates(sample(2), out)
	return out
}

// TestTopFrames: what a terminal shows, by its size and the keys that were pressed.
func TestTopFrames(t *testing.T) {
	now := testTime.Add(4 * time.Second)
	var b strings.Builder
	for _, tt := range []struct {
		name          string
		sample        topSample
		columns, rows int
		keys          []string
		err           error
	}{
		{name: "node", sample: topNodeSample(), columns: 100, rows: 18},
		{name: "by name, turned round", sample: topNodeSample(), columns: 100, rows: 12, keys: []string{"left", "left", "left", "left", "left", "r"}},
		{name: "phone", sample: topNodeSample(), columns: 40, rows: 20},
		{name: "phone, few rows", sample: topNodeSample(), columns: 40, rows: 8, keys: []string{"down"}},
		{name: "next table", sample: topNodeSample(), columns: 60, rows: 9, keys: []string{"tab", ">"}},
		{name: "help", sample: topNodeSample(), columns: 60, rows: 14, keys: []string{"?"}},
		{name: "paused", sample: topNodeSample(), columns: 60, rows: 6, keys: []string{"p"}},
		{name: "no answer", sample: topNodeSample(), columns: 60, rows: 6, err: errors.New("the node is gone\x1b[2J")},
		{name: "nothing runs", sample: &nodeSample{Activity: control.Activity{Node: "n"}}, columns: 60, rows: 12},
		{name: "grid", sample: topGridSample(), columns: 90, rows: 14},
		{name: "grid on a phone", sample: topGridSample(), columns: 36, rows: 16},
		{name: "tiny", sample: topNodeSample(), columns: 10, rows: 2},
	} {
		m := &topModel{columns: tt.columns, rows: tt.rows}
		m.show(tt.sample.page(now), nil)
		if tt.err != nil {
			m.show(nil, tt.err)
		}
		for _, k := range tt.keys {
			if m.key(k) {
				t.Errorf("%s: %s quits", tt.name, k)
			}
		}
		fmt.Fprintf(&b, "== %s, %d x %d %q\n", tt.name, tt.columns, tt.rows, tt.keys)
		frame := m.frame()
		checkFrame(t, m, frame)
		for _, line := range frame {
			fmt.Fprintf(&b, "%c|%s\n", " _#!."[line.style], line.text)
		}
	}
	path := filepath.Join("testdata", "top.golden")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("frames differ from %s; go test ./node/cli -run TestTopFrames -rewrite accepts them (-want +got):\n%s", path, diff)
	}
}

// checkFrame checks what must hold for any frame: it has the terminal's size, and
// nothing in it does anything to the terminal.
func checkFrame(t *testing.T, m *topModel, frame []topLine) {
	t.Helper()
	if len(frame) != m.rows {
		t.Errorf("%d lines on a terminal of %d", len(frame), m.rows)
	}
	for _, line := range frame {
		if n := textCells(line.text); n > m.columns {
			t.Errorf("%q takes %d cells of %d", line.text, n, m.columns)
		}
		for _, r := range line.text {
			if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Mn, unicode.Me) {
				t.Errorf("%q has %U", line.text, r)
			}
		}
	}
}

// FuzzTop: whatever names a node shows, whatever is typed and whatever the size, a
// frame fits and does nothing to the terminal.
func FuzzTop(f *testing.F) {
	f.Add(hostileName, []byte("\x1b[A\x1b[5~\tjk<>rp?q\x1b\x1b[1;5Aé"), uint8(40), uint8(10))
	f.Add("\xff\xfe", []byte("\x1b[\x1bO\x1b"), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, name string, typed []byte, columns, rows uint8) {
		s := topNodeSample()
		s.Name, s.State, s.Jobs[0].Name, s.Jobs[1].Tenant, s.Queues[0].Tenant = name, name, name, name, name
		m := &topModel{columns: int(columns), rows: int(rows)}
		m.show(s.page(testTime), nil)
		for len(typed) > 0 {
			key, rest := readKey(typed)
			if len(rest) >= len(typed) {
				t.Fatalf("%q is not taken off", typed)
			}
			typed = rest
			if m.key(key) {
				break
			}
			checkFrame(t, m, m.frame())
		}
		checkFrame(t, m, m.frame())
	})
}

// TestTopRates: fuel is shared among the jobs of a tenant by what runs, and counters
// that begin anew are no negative rates.
func TestTopRates(t *testing.T) {
	r := topNodeSample().Rates
	want := nodeRates{
		Seconds: 2, Cores: 2, Fuel: 2e9, Received: 2048, Sent: 3 << 20, Workers: map[int]float64{101: 1.5, 202: 0.5},
		Jobs: map[string]float64{fmt.Sprintf("%032x", 1): 1e9, fmt.Sprintf("%032x", 2): 0.5e9, fmt.Sprintf("%032x", 3): 0.5e9},
	}
	if diff := cmp.Diff(want, *r); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	was, is := topActivity(100), topActivity(2)
	is.At = was.At.Add(2 * time.Second)
	if r := ratesOf(&was, &is); r.Received != 2048 || r.Workers[101] != 1.5 {
		t.Errorf("after a restart: %+v", r)
	}
}

// TestTopPlain: without a terminal a page is printed once, with --json there is an
// object in a line for each look.
func TestTopPlain(t *testing.T) {
	f := full(t)
	r := newTestRun(t)
	if code := r.run("top", "--api", f.url, "--interval", "100ms"); code != 0 || strings.Count(r.stdout.String(), "nodes 2/2 up\n") != 1 || strings.Contains(r.stdout.String(), "\x1b") {
		t.Errorf("exit code %d, %q, %q", code, r.stdout.String(), r.stderr.String())
	}
	r = newTestRun(t)
	code := r.run("top", "--json", "--count", "3", "--api", f.url, "--interval", "100ms")
	if lines := bytes.Split(bytes.TrimSpace(r.stdout.Bytes()), []byte("\n")); code != 0 || len(lines) != 3 || !bytes.Contains(lines[2], []byte(`"fuel_rates"`)) && !bytes.Contains(lines[2], []byte(`"nodes"`)) {
		t.Errorf("exit code %d, %q, %q", code, r.stdout.String(), r.stderr.String())
	}
	for _, tt := range []struct{ args, want string }{
		{"top --interval 1ms", "--interval is 1ms, at least 100ms"},
		{"top --node-dir @/none", "no node runs on this folder"},
		{"top --count -1", "--count"},
		{"top extra", "extra"},
	} {
		r := newTestRun(t)
		if code := r.run(strings.Fields(tt.args)...); code != 125 || !strings.Contains(r.stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d, stderr %q", tt.args, code, r.stderr.String())
		}
	}
}
