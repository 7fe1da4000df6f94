//go:build linux

package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// childEnv names the attempt that a re-executed test binary makes in a jail.
const childEnv = "DUGNAD_JAIL_TEST_ATTEMPT"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(attemptMain(name))
	}
	os.Exit(m.Run())
}

// order is what the parent tells the jailed child.
type order struct {
	Policy  Policy
	Inside  string // a file that may be read
	Outside string // a file that may not
	Scratch string // a folder that may be written to, or empty
}

// report is what the jailed child answers.
type report struct {
	Report Report
	Errno  syscall.Errno // of the forbidden thing; 0 when it worked
	Error  string
}

// runJailed makes an attempt in a child and returns its answer; a child that
// dies gives an error and what it wrote to stderr.
func runJailed(t *testing.T, name string, o order) (report, string, error) {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = []string{childEnv + "=" + name, "GOTRACEBACK=none"}
	cmd.Stdin = strings.NewReader(string(data))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var r report
	if runErr == nil {
		if err := json.Unmarshal([]byte(stdout.String()), &r); err != nil {
			t.Fatalf("child answered %q, stderr %q: %v", stdout.String(), stderr.String(), err)
		}
	}
	return r, stderr.String(), runErr
}

// paths makes a file inside and one outside of what the policy allows.
func paths(t *testing.T) order {
	t.Helper()
	dir := t.TempDir()
	o := order{
		Inside:  filepath.Join(dir, "ro", "inside"),
		Outside: filepath.Join(dir, "outside"),
		Scratch: filepath.Join(dir, "rw"),
	}
	for _, d := range []string{filepath.Dir(o.Inside), o.Scratch} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{o.Inside, o.Outside, filepath.Join(o.Scratch, "old")} {
		if err := os.WriteFile(f, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Policy = Policy{ReadOnly: []string{filepath.Dir(o.Inside)}}
	return o
}

func TestForbidden(t *testing.T) {
	probe := Probe()
	if !probe.Seccomp {
		t.Skip(seccompMissing)
	}
	for name, a := range forbidden {
		for _, mode := range []string{"read-only", "read-write"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				if a.needsLandlock > probe.Landlock {
					t.Skip("Landlock ABI", a.needsLandlock, "is not to be had here")
				}
				o := paths(t)
				if mode == "read-write" {
					o.Policy.ReadWrite = []string{o.Scratch}
				}
				r, stderr, err := runJailed(t, name, o)
				if err != nil {
					t.Fatalf("child: %v: %s", err, stderr)
				}
				if r.Errno != syscall.EPERM && r.Errno != syscall.EACCES && r.Errno != syscall.ENOSYS {
					t.Errorf("not refused: errno %d (%v) %s", r.Errno, r.Errno, r.Error)
				}
			})
		}
	}
}

func TestOrdinaryWork(t *testing.T) {
	for name := range ordinary {
		t.Run(name, func(t *testing.T) {
			o := paths(t)
			o.Policy.ReadWrite = []string{o.Scratch}
			if name == "read" {
				o.Policy.ReadWrite = nil
			}
			r, stderr, err := runJailed(t, name, o)
			if err != nil {
				t.Fatalf("child: %v: %s", err, stderr)
			}
			if r.Error != "" {
				t.Error(r.Error)
			}
			probe := Probe()
			if r.Report.Seccomp != probe.Seccomp || r.Report.Landlock != probe.Landlock {
				t.Errorf("report %+v, probe %+v", r.Report, probe)
			}
		})
	}
}

// outOfMemory is how a Go program ends whose memory is refused: in the words of
// its heap, of what keeps the books of the heap, or of the race detector.
var outOfMemory = []string{"out of memory", "cannot allocate memory", "ThreadSanitizer failed to allocate"}

func TestLimits(t *testing.T) {
	tests := []struct {
		name, attempt string
		policy        Policy
		errno         syscall.Errno
		dies          []string // one of these is among its last words
	}{
		{name: "address space", attempt: "map 4 GiB", policy: Policy{AddressSpaceBytes: 3 << 30}, errno: syscall.ENOMEM},
		{name: "private memory", attempt: "map 4 GiB", policy: Policy{DataBytes: 1 << 30}, errno: syscall.ENOMEM},
		{name: "private memory leaves reservations alone", attempt: "reserve 4 GiB", policy: Policy{DataBytes: 1 << 30}},
		{name: "Go heap", attempt: "fill the heap", policy: Policy{DataBytes: 512 << 20}, dies: outOfMemory},
		{name: "open files", attempt: "open many files", policy: Policy{OpenFiles: 32}, errno: syscall.EMFILE},
		{name: "processor time", attempt: "burn", policy: Policy{CPUSeconds: 1}, dies: []string{"killed"}},
		{name: "file size", attempt: "write 2 MiB", policy: Policy{FileBytes: 1 << 20}, errno: syscall.EFBIG},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := paths(t)
			tt.policy.ReadOnly, tt.policy.ReadWrite = o.Policy.ReadOnly, []string{o.Scratch}
			o.Policy = tt.policy
			r, stderr, err := runJailed(t, tt.attempt, o)
			if tt.dies != nil {
				said := fmt.Sprint(err) + stderr
				if err == nil || !slices.ContainsFunc(tt.dies, func(word string) bool { return strings.Contains(said, word) }) {
					t.Errorf("child ended with %v and %q, want one of %q", err, stderr, tt.dies)
				}
				return
			}
			if err != nil {
				t.Fatalf("child: %v: %s", err, stderr)
			}
			if r.Errno != tt.errno {
				t.Errorf("errno %v (%s), want %v", r.Errno, r.Error, tt.errno)
			}
		})
	}
}

// TestListener: a process may accept on its listening socket, and ask who that is, but
// neither on another one nor anything else.
func TestListener(t *testing.T) {
	probe := Probe()
	if !probe.Seccomp {
		t.Skip(seccompMissing)
	}
	o := paths(t)
	o.Policy.Listener = 900 // which is no socket: the kernel says so when it is asked
	for attempt, want := range map[string]syscall.Errno{
		"accept on 900": syscall.EBADF, "peer of 900": syscall.EBADF,
		"accept on 0": syscall.EPERM, "kind of 900": syscall.EPERM, "listen on 900": syscall.EPERM,
	} {
		if r, stderr, err := runJailed(t, attempt, o); err != nil || r.Errno != want {
			t.Errorf("%s: %v (%s), want %v: %v %s", attempt, r.Errno, r.Error, want, err, stderr)
		}
	}
}

func TestLimitsCannotBeRaised(t *testing.T) {
	o := paths(t)
	o.Policy.OpenFiles = 32
	r, stderr, err := runJailed(t, "raise open files", o)
	if err != nil {
		t.Fatalf("child: %v: %s", err, stderr)
	}
	if r.Errno != syscall.EPERM {
		t.Errorf("errno %v, want EPERM", r.Errno)
	}
}

func TestMissingPath(t *testing.T) {
	if Probe().Landlock == 0 {
		t.Skip("no Landlock here")
	}
	o := paths(t)
	o.Policy.ReadOnly = []string{filepath.Join(o.Scratch, "no-such")}
	_, stderr, err := runJailed(t, "gc", o)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(stderr, ErrPath.Error()) {
		t.Errorf("got %v, %q", err, stderr)
	}
}

func TestReportNamesWhatIsMissing(t *testing.T) {
	for abi, want := range []int{1, 4, 4, 3, 2, 1, 0, 0} {
		if got := landlockMissing(abi); len(got) != want {
			t.Errorf("ABI %d: %d sentences, want %d: %q", abi, len(got), want, got)
		}
	}
}
