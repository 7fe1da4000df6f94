package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/runtime/jail"
)

// system makes the files of a system below a folder.
func system(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// peers are members of which the last is so many seconds ahead.
func peers(offset float64, versions ...string) (list []control.Peer) {
	for _, v := range versions {
		list = append(list, control.Peer{Node: "n" + v, Name: "name of " + v, Version: v, ErrorSeconds: 0.1})
	}
	list[len(list)-1].OffsetSeconds = offset
	return list
}

func all(offset float64, n int) (list []control.Peer) {
	for range n {
		list = append(list, control.Peer{Node: "n", Version: "1", OffsetSeconds: offset, ErrorSeconds: 0.1})
	}
	return list
}

// TestFindings: each check is provoked to find what it looks for, and says what that
// means and what to do; and finds nothing where all is well.
func TestFindings(t *testing.T) {
	const slice = "sys/fs/cgroup/system.slice"
	limited := func(limit, value string) string {
		return system(t, map[string]string{
			"proc/self/cgroup":                 "4:cpu:/old\n0::/system.slice/dugnad.service\n",
			slice + "/dugnad.service/" + limit: "max\n", slice + "/" + limit: value + "\n",
		})
	}
	expelled := testTime
	disk := func(free uint64, sync time.Duration, rate float64) []check {
		return (&diskState{free: free, size: 1 << 40, sync: sync, rate: rate}).judge("/d")
	}
	for _, tt := range []struct {
		name        string
		got         check
		state, says string
	}{
		{"files", checkFiles(1 << 20), checkOK, "1048576"},
		{"few files", checkFiles(1024), checkWeak, "LimitNOFILE"},
		{"no files", checkFiles(100), checkFailed, "ulimit"},
		{"overcommit", checkOvercommit(system(t, map[string]string{"proc/sys/vm/overcommit_memory": "1\n"})), checkOK, "1"},
		{"no overcommit", checkOvercommit(system(t, map[string]string{"proc/sys/vm/overcommit_memory": "2\n"})), checkWeak, "vm.overcommit_ratio"},
		{"overcommit unknown", checkOvercommit(t.TempDir()), checkSkipped, "no such file"},
		{"processes", checkProcesses(limited("pids.max", "max")), checkOK, "not limited"},
		{"many processes", checkProcesses(limited("pids.max", "4000")), checkOK, "4000"},
		{"few processes", checkProcesses(limited("pids.max", "100")), checkWeak, "at most 100, by /" + slice},
		{"no groups", checkProcesses(t.TempDir()), checkOK, "not limited"},
		{"memory", checkMemory(limited("memory.max", "8589934592"), 4<<30), checkOK, "4.0 GiB are offered, the limit is 8.0 GiB"},
		{"memory unlimited", checkMemory(limited("memory.max", "max"), 4<<30), checkOK, "not limited"},
		{"little memory", checkMemory(limited("memory.max", "4294967296"), 4<<30), checkWeak, "by 512.0 MiB, or offer less"},
		{"memory of the container", checkMemory(system(t, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000"}), 4<<30), checkWeak, "--offer-memory"},
		{"room", disk(1<<40, 0, 1e9)[0], checkOK, "are free"},
		{"little room", disk(1<<30, 0, 1e9)[0], checkWeak, "--offer-disk"},
		{"no room", disk(1<<20, 0, 1e9)[0], checkFailed, "free some space"},
		{"quick disk", disk(1<<40, time.Millisecond, 1e9)[1], checkOK, "1.0 ms"},
		{"slow to be safe", disk(1<<40, time.Second, 1e9)[1], checkWeak, "--never-vote"},
		{"slow to write", disk(1<<40, 0, 1e6)[1], checkWeak, "1 MB/s"},
		{"no folder", checkDisk(filepath.Join(t.TempDir(), "none"))[0], checkWeak, "no such file"},
		{"clock", checkClock(all(0.05, 3)), checkOK, "the same as that of others, of whom 3"},
		{"clock within its error", checkClock([]control.Peer{{OffsetSeconds: 60, ErrorSeconds: 60}}), checkOK, "the same"},
		{"clock behind", checkClock(all(3, 3)), checkWeak, "2.9s behind"},
		{"clock far ahead", checkClock(all(-3600, 3)), checkFailed, "59m59.9s ahead of"},
		{"another's clock", checkClock(peers(600, "1", "2", "3")), checkWeak, "the clock of name of 3 (n3) is 10m0s ahead of"},
		{"no clock", checkClock([]control.Peer{{Problem: "busy"}}), checkSkipped, "no other member"},
		{"versions", checkVersions("1", all(0, 2)), checkOK, "1 on 3 nodes"},
		{"other versions", checkVersions("1", peers(0, "1", "2")), checkWeak, "1 on 2 nodes, 2 on 1 node; this node has 1"},
		{"unknown versions", checkVersions("1", []control.Peer{{Node: "n", Problem: "too busy"}}), checkWeak, "n: too busy"},
		{"alone", checkVersions("1", nil), checkSkipped, "no other member"},
		{"book", checkBook(control.Book{Index: 7}), checkOK, "index 7"},
		{"wrong book", checkBook(control.Book{Index: 7, Problem: "check: a lease too many"}), checkFailed, "at index 7: check: a lease too many"},
		{"accounts", checkAccounts([]control.Account{{Tenant: "a", Fuel: 5, FuelDays: 5}}), checkOK, "1 tenant"},
		{"wrong accounts", checkAccounts([]control.Account{{Tenant: "a", Fuel: 4, FuelDays: 5}}), checkFailed, "tenant a sum up to 5 fuel, altogether it has used 4"},
		{"leader", checkNode(&control.Status{Ledger: control.Ledger{Leader: "l", Applied: 3}})[0], checkOK, "at index 3, l leads"},
		{"no leader", checkNode(&control.Status{})[0], checkFailed, "no leader is known"},
		{"stalled", checkNode(&control.Status{Ledger: control.Ledger{Problem: "disk is full"}})[0], checkFailed, "disk is full"},
		{"expelled", checkNode(&control.Status{Expelled: &expelled})[0], checkFailed, "expelled at 2026-03-04"},
		{"landlock", checkJail(jail.Report{})[0], checkWeak, "landlock"},
		{"seccomp", checkJail(jail.Report{})[1], checkWeak, "CONFIG_SECCOMP_FILTER"},
		{"no_new_privs", checkJail(jail.Report{})[2], checkWeak, "prctl"},
		{"confinement", checkJail(jail.Report{Missing: []string{"no limit of x"}})[3], checkWeak, "no limit of x"},
	} {
		c := tt.got
		if text := strings.Join([]string{c.Detail, c.Means, c.Advice}, "; "); c.State != tt.state || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %s %q, want %s with %q", tt.name, c.State, text, tt.state, tt.says)
		}
		if bad := c.State == checkWeak || c.State == checkFailed; bad != (c.Means != "") || bad != (c.Advice != "") {
			t.Errorf("%s: %s means %q, to do %q", tt.name, c.State, c.Means, c.Advice)
		}
	}
}

// TestDoctorExits: what has failed makes the exit code 1, in text and JSON, and comes
// with advice: the real program, with few files, and on a damaged ledger.
func TestDoctorExits(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "founder")
	n := m.up(t)
	n.status(t, "leads", func(s control.Status) bool { return s.Ledger.Leads })
	d := doctor(t, m.dir)
	for name, state := range map[string]string{"book": checkOK, "accounts": checkOK, "ledger": checkOK, "versions": checkSkipped, "clock": checkSkipped, "memory": ""} {
		if c := d.find(name); len(c) != 1 || state != "" && c[0].State != state {
			t.Errorf("%s: %+v", name, c)
		}
	}
	n.stop(t)
	if d := doctor(t, m.dir); len(d.find("book")) != 1 || d.find("book")[0].State != checkOK {
		t.Errorf("stopped: %+v", d.find("book"))
	}
	damage(t, m.dir)
	cmd := dugnadCommand(t, nil, "doctor", "--json", "--node-dir", m.dir, "--data-dir", t.TempDir())
	out, err := cmd.Output()
	var ill diagnosis
	if wrong := json.Unmarshal(out, &ill); wrong != nil || cmd.ProcessState.ExitCode() != 1 || ill.OK {
		t.Fatalf("a damaged ledger: exit code %d, %s, %v", cmd.ProcessState.ExitCode(), out, errors.Join(err, wrong))
	}
	if c := ill.find("book"); len(c) != 1 || c[0].State != checkFailed || c[0].Means == "" || !strings.Contains(c[0].Advice, "join again") {
		t.Errorf("a damaged ledger: %+v", c)
	}
	few := dugnadCommand(t, []string{"sh", "-c", `ulimit -n 300; exec "$@"`, "sh"}, "doctor", "--node-dir", t.TempDir(), "--data-dir", t.TempDir())
	out, _ = few.Output()
	for _, want := range []string{"failed  open files      at most 300", "that means: a node cannot open", "to do: raise the limit"} {
		if few.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("few files: exit code %d, %s", few.ProcessState.ExitCode(), out)
		}
	}
}

// damage turns bits round in the largest table of a stopped node's ledger.
func damage(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, "ledger", "store"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".sst" {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatalf("no table in the ledger: %v", err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	for i := range min(len(b), 64) {
		b[i] ^= 0xff
	}
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
