package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/task"
)

// fakeRunner stands for the sandbox: attempt decides how each attempt goes.
type fakeRunner struct {
	attempt    func(ctx context.Context, spec task.Spec, s streams) task.Outcome
	prepareErr error

	mu     sync.Mutex
	module []byte
	config runnerConfig
	specs  []task.Spec
	closed int
}

func (f *fakeRunner) open(_ context.Context, cfg runnerConfig) (runner, error) {
	f.config = cfg
	return f, nil
}

func (f *fakeRunner) Prepare(_ context.Context, module []byte, _ func(time.Duration)) error {
	f.module = module
	return f.prepareErr
}

func (f *fakeRunner) Run(ctx context.Context, spec task.Spec, s streams) task.Outcome {
	f.mu.Lock()
	f.specs = append(f.specs, spec)
	f.mu.Unlock()
	if f.attempt == nil {
		return task.Outcome{Kind: task.Exited}
	}
	return f.attempt(ctx, spec, s)
}

func (f *fakeRunner) Close() error {
	f.closed++
	return nil
}

// testRun runs dugnad with a fake runner in a folder of its own, which holds
// the module m.wasm and the file in.txt.
type testRun struct {
	runner fakeRunner
	stdin  string
	env    []string
	ctx    context.Context
	dir    string

	stdout, stderr bytes.Buffer
}

func newTestRun(t *testing.T) *testRun {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"m.wasm": "module", "in.txt": "input"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &testRun{ctx: t.Context(), dir: dir, env: []string{"HOME=" + filepath.Join(dir, "home"), "COLOUR=red"}}
}

// run replaces @ in args by the folder.
func (r *testRun) run(args ...string) int {
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", r.dir)
	}
	a := &app{open: r.runner.open, Stdio: Stdio{In: strings.NewReader(r.stdin), Out: &r.stdout, Err: &r.stderr, Environ: r.env}}
	return a.run(r.ctx, append([]string{"dugnad"}, args...))
}

func TestExitCodes(t *testing.T) {
	stack := []task.Frame{{Function: "inner"}, {Function: "outer"}}
	tests := []struct {
		name    string
		outcome task.Outcome
		code    int
		stderr  string
	}{
		{"success", task.Outcome{Kind: task.Exited}, 0, ""},
		{"the guest's own", task.Outcome{Kind: task.Exited, ExitCode: 7}, 7, ""},
		{"too large for a process", task.Outcome{Kind: task.Exited, ExitCode: 256}, 255, "dugnad: m.wasm exited with 256, given as 255\n"},
		{"trap", task.Outcome{Kind: task.Trapped, Trap: &task.Trap{Kind: task.TrapUnreachable, Message: "unreachable"}, Stack: stack}, 122, "dugnad: m.wasm trapped: unreachable\n    at inner\n    at outer\n"},
		{
			"stack",
			task.Outcome{
				Kind: task.Trapped, Trap: &task.Trap{Kind: task.TrapStack, Message: "deep"}, LimitsHit: []task.LimitHit{{Name: "stack", Max: 16 << 20}},
				Stack: []task.Frame{{Function: "down"}, {Function: "down"}, {Function: "top"}, {Function: "… and more"}},
			},
			122, "dugnad: m.wasm trapped: its calls nest deeper than 16MiB of stack: raise it with --stack, or look for recursion without end\n" +
				"    at down (2 times)\n    at top\n    … and more\n",
		},
		{"fuel", task.Outcome{Kind: task.OutOfFuel}, 123, "dugnad: m.wasm ran out of fuel: it used up all 2G: raise it with --fuel\n"},
		{"deadline", task.Outcome{Kind: task.DeadlineExceeded}, 124, "dugnad: m.wasm was still running after its deadline of 1h: raise it with --timeout\n"},
		{"output", task.Outcome{Kind: task.OutputLimit, LimitsHit: []task.LimitHit{{Name: "output", Max: 1}}}, 121, "dugnad: m.wasm wrote more than 64MiB to stdout and stderr: raise it with --max-output\n"},
		{"scratch", task.Outcome{Kind: task.ScratchLimit}, 121, "dugnad: m.wasm filled its scratch space of 64MiB in 10000 files: raise it with --scratch or --scratch-files\n"},
		{"scratch bytes", task.Outcome{Kind: task.ScratchLimit, LimitsHit: []task.LimitHit{{Name: "scratch", Max: 1 << 20}}}, 121, "dugnad: m.wasm filled its scratch space of 1MiB: raise it with --scratch\n"},
		{"scratch files", task.Outcome{Kind: task.ScratchLimit, LimitsHit: []task.LimitHit{{Name: "scratch-files", Max: 1}}}, 121, "dugnad: m.wasm made 1 file, as many as its scratch space may hold: raise it with --scratch-files\n"},
		{"memory to start", task.Outcome{Kind: task.MemoryLimit}, 126, "dugnad: m.wasm needs more than 256MiB of memory to start: raise it with --memory\n"},
		{"refused", task.Outcome{Kind: task.Refused, Message: "no _start"}, 126, "dugnad: module m.wasm refused: no _start\n"},
		{"worker lost", task.Outcome{Kind: task.WorkerLost, Message: "killed"}, 125, "dugnad: m.wasm was running when its worker process died: killed\n"},
		{
			"out of memory as the language tells it",
			task.Outcome{Kind: task.Exited, ExitCode: 2, LimitsHit: []task.LimitHit{{Name: "memory", Max: 256 << 20}}},
			2, "dugnad: m.wasm asked for more than its memory limit of 256MiB: raise it with --memory\n",
		},
		{"a limit that did no harm", task.Outcome{Kind: task.Exited, LimitsHit: []task.LimitHit{{Name: "memory", Max: 1}}}, 0, ""},
	}
	covered := map[task.Kind]bool{task.Cancelled: true}
	for _, tt := range tests {
		covered[tt.outcome.Kind] = true
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			r.runner.attempt = func(context.Context, task.Spec, streams) task.Outcome { return tt.outcome }
			code := r.run("run", "--fuel", "2G", "@/m.wasm")
			if code != tt.code || r.stderr.String() != tt.stderr {
				t.Errorf("exit code %d, want %d\nstderr %q\n  want %q", code, tt.code, r.stderr.String(), tt.stderr)
			}
			if r.runner.closed != 1 {
				t.Errorf("the runner was closed %d times", r.runner.closed)
			}
		})
	}
	for _, k := range task.Kinds() {
		if !covered[k] {
			t.Errorf("kind %s has no row", k)
		}
	}
}

// TestExitTable: the table in README.md and the one in --help are exitTable.
func TestExitTable(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRun(t)
	if code := r.run("run", "--help"); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if !strings.Contains(r.stdout.String(), exitHelp()) {
		t.Error("dugnad run --help does not show exitHelp")
	}
	var want strings.Builder
	for _, row := range exitTable() {
		fmt.Fprintf(&want, "| %s | %s |\n", row.code, row.meaning)
	}
	if !strings.Contains(string(readme), want.String()) {
		t.Errorf("README.md does not have this table:\n%s", want.String())
	}
}

func TestRunSpec(t *testing.T) {
	r := newTestRun(t)
	r.stdin = "typed"
	var got string
	r.runner.attempt = func(_ context.Context, _ task.Spec, s streams) task.Outcome {
		b, _ := io.ReadAll(s.In)
		got = string(b)
		fmt.Fprint(s.Out, "out")
		fmt.Fprint(s.Err, "err")
		return task.Outcome{Kind: task.Exited}
	}
	code := r.run("run", "@/m.wasm", "--fuel", "1M", "--memory", "1MiB", "--timeout", "9", "--max-output", "2KiB",
		"--scratch", "3KiB", "--scratch-files", "4", "--stack", "5KiB", "--open-files", "6", "--env", "A=1", "--env", "COLOUR",
		"--env", "A=2=3", "--input", "data=@/in.txt", "--real-clock", "--real-random", "--seed", "8", "--", "--flag", "x")
	want := task.Spec{
		Args:   []string{"m.wasm", "--flag", "x"},
		Env:    []string{"COLOUR=red", "A=2=3", "DUGNAD_TASK_INDEX=0", "DUGNAD_TASK_COUNT=1"},
		Inputs: []task.Input{{Name: "data", Path: filepath.Join(r.dir, "in.txt")}},
		Limits: task.Limits{
			Fuel: 1e6, MemoryBytes: 1 << 20, Timeout: 9 * time.Second, OutputBytes: 2 << 10,
			ScratchBytes: 3 << 10, ScratchFiles: 4, StackBytes: 5 << 10, OpenFiles: 6,
		},
		RealClock: true, RealRandom: true, Seed: 8,
	}
	if diff := cmp.Diff([]task.Spec{want}, r.runner.specs); diff != "" || code != 0 {
		t.Errorf("exit code %d, specs (-want +got):\n%s", code, diff)
	}
	if got != "typed" || r.stdout.String() != "out" || r.stderr.String() != "err" || string(r.runner.module) != "module" {
		t.Errorf("stdin %q, stdout %q, stderr %q, module %q", got, r.stdout.String(), r.stderr.String(), r.runner.module)
	}
	if diff := cmp.Diff([]string{filepath.Join(r.dir, "in.txt")}, r.runner.config.ReadOnly); diff != "" {
		t.Error(diff)
	}
}

// TestUsage: a call that cannot be understood ends with 125 and one sentence
// that names what is wrong.
func TestUsage(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"rum"}, "did you mean run?"},
		{[]string{"run"}, "MODULE.wasm"},
		{[]string{"run", "-"}, "stdin"},
		{[]string{"run", "@/m.wasm", "more"}, `"more" is too much`},
		{[]string{"run", "@/m.wasm", "--memmory", "1M"}, "did you mean --memory?"},
		{[]string{"run", "@/m.wasm", "--fuel", "0"}, "--fuel"},
		{[]string{"run", "@/m.wasm", "--fuel", "2000P"}, "fuel is 2000000000000000000, at most"},
		{[]string{"run", "@/m.wasm", "--memory", "lots"}, "--memory"},
		{[]string{"run", "@/m.wasm", "--timeout", "-3s"}, "--timeout"},
		{[]string{"run", "@/m.wasm", "--timeout", "9000h"}, "timeout"},
		{[]string{"run", "@/m.wasm", "--env", "NONE"}, "NONE=VALUE"},
		{[]string{"run", "@/m.wasm", "--env", "=x"}, "NAME=value"},
		{[]string{"run", "@/m.wasm", "--input", "x"}, "NAME=PATH"},
		{[]string{"run", "@/m.wasm", "--input", "x=@/none"}, "no such file"},
		{[]string{"run", "@/m.wasm", "--input", "a/b=@/in.txt"}, "a/b"},
		{[]string{"run", "@/m.wasm", "--input", "x=@/in.txt", "--input", "x=@/in.txt"}, "twice"},
		{[]string{"run", "@/m.wasm", "--input", "x=/dev/null"}, "neither a file nor a folder"},
		{[]string{"run", "@/m.wasm", "--count", "2", "--stdin", "-"}, "cannot be shared by 2 tasks"},
		{[]string{"run", "@/m.wasm", "--count", "3000000000"}, "at most"},
		{[]string{"run", "@/m.wasm", "--count", "0"}, "--count"},
		{[]string{"run", "@/m.wasm", "--parallel", "1000"}, "at most 256"},
		{[]string{"run", "@/m.wasm", "--stdin", "@/none"}, "--stdin"},
		{[]string{"run", "@/m.wasm", "--output", "@/none/out"}, "--output"},
		{[]string{"run", "@/m.wasm", "--data-dir", "@/m.wasm"}, "--data-dir"},
		{[]string{"run", "@/m.wasm", "--config", "@/none.yaml"}, "none.yaml"},
		{[]string{"version", "extra"}, "extra"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := newTestRun(t)
			code := r.run(tt.args...)
			e := r.stderr.String()
			if code != exitFailure || !strings.HasPrefix(e, "dugnad: ") || !strings.Contains(e, tt.want) || strings.Count(e, "\n") != 1 {
				t.Errorf("exit code %d, stderr %q, want %q in one line", code, e, tt.want)
			}
			if r.stdout.Len() > 0 {
				t.Errorf("stdout %q", r.stdout.String())
			}
		})
	}
}

func TestSignalEndsRun(t *testing.T) {
	for _, flags := range [][]string{nil, {"--count", "100"}} {
		r := newTestRun(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		r.ctx = ctx
		r.runner.attempt = func(ctx context.Context, _ task.Spec, _ streams) task.Outcome {
			cancel(signalError{syscall.SIGINT})
			<-ctx.Done()
			return task.Outcome{Kind: task.Cancelled}
		}
		code := r.run(append([]string{"run", "@/m.wasm"}, flags...)...)
		if code != 130 || r.stderr.String() != "dugnad: stopped by interrupt\n" {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	}
}

func TestReadModuleGivesUp(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readModule(ctx, fifo, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// Let the reader's goroutine end.
	w, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}
