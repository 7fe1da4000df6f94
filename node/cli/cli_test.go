package cli

import (
	"bytes"
	"context"
	"encoding/json"
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
		{"fuel", task.Outcome{Kind: task.OutOfFuel}, 123, "dugnad: m.wasm ran out of fuel: it used up all 2G: raise it with --fuel\n"},
		{"deadline", task.Outcome{Kind: task.DeadlineExceeded}, 124, "dugnad: m.wasm was still running after its deadline of 1h: raise it with --timeout\n"},
		{"output", task.Outcome{Kind: task.OutputLimit, LimitsHit: []task.LimitHit{{Name: "output", Max: 1}}}, 121, "dugnad: m.wasm wrote more than 64MiB to stdout and stderr: raise it with --max-output\n"},
		{"scratch", task.Outcome{Kind: task.ScratchLimit}, 121, "dugnad: m.wasm filled its scratch space of 64MiB in 10000 files: raise it with --scratch or --scratch-files\n"},
		{"memory to start", task.Outcome{Kind: task.MemoryLimit}, 126, "dugnad: m.wasm needs more than 256MiB of memory to start: raise it with --memory\n"},
		{"refused", task.Outcome{Kind: task.Refused, Message: "no _start"}, 126, "dugnad: m.wasm was refused: no _start\n"},
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

func TestDataDir(t *testing.T) {
	t.Run("without a home", func(t *testing.T) {
		r := newTestRun(t)
		r.env = nil
		if code := r.run("run", "@/m.wasm"); code != exitFailure || !strings.Contains(r.stderr.String(), "--data-dir") {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	})
	t.Run("writable by others", func(t *testing.T) {
		r := newTestRun(t)
		open := filepath.Join(r.dir, "open")
		if err := os.Mkdir(open, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		if code := r.run("run", "--data-dir", open, "@/m.wasm"); code != exitFailure || !strings.Contains(r.stderr.String(), "chmod 700") {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	})
	for _, tt := range []struct {
		name, env, flag, want string
	}{
		{"home", "", "", "home/.cache/dugnad"},
		{"cache home", "XDG_CACHE_HOME=@/cache", "", "cache/dugnad"},
		{"environment", "DUGNAD_DATA_DIR=@/here", "", "here"},
		{"flag over environment", "DUGNAD_DATA_DIR=@/here", "@/there", "there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			if tt.env != "" {
				r.env = append(r.env, strings.ReplaceAll(tt.env, "@", r.dir))
			}
			args := []string{"run", "@/m.wasm"}
			if tt.flag != "" {
				args = append(args, "--data-dir", tt.flag)
			}
			if code := r.run(args...); code != 0 {
				t.Fatalf("exit code %d: %s", code, r.stderr.String())
			}
			info, err := os.Stat(filepath.Join(r.dir, tt.want))
			if err != nil || info.Mode().Perm() != 0o700 || r.runner.config.DataDir != filepath.Join(r.dir, tt.want) {
				t.Errorf("%v, %v, runner has %s", info, err, r.runner.config.DataDir)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name string
		file string
		env  []string
		args []string
		// fuel is what the task gets, or err what stderr holds.
		fuel uint64
		err  string
	}{
		{name: "default", fuel: task.Default().Fuel},
		{name: "file", file: "fuel: 5M\nreal-clock: true\n", fuel: 5e6},
		{name: "file with a number", file: "fuel: 1e6", fuel: 1e6},
		{name: "file with a large number", file: "fuel: 123456789012", fuel: 123456789012},
		{name: "environment over file", file: "fuel: 5M", env: []string{"DUGNAD_FUEL=6M"}, fuel: 6e6},
		{name: "empty environment", file: "fuel: 5M", env: []string{"DUGNAD_FUEL="}, fuel: 5e6},
		{name: "flag over environment", env: []string{"DUGNAD_FUEL=6M"}, args: []string{"--fuel", "7M"}, fuel: 7e6},
		{name: "inside of a task", env: []string{"DUGNAD_TASK_INDEX=3", "DUGNAD_TASK_COUNT=4"}, fuel: task.Default().Fuel},
		{name: "empty file", file: "\n", fuel: task.Default().Fuel},
		{name: "unknown key", file: "feul: 5M", err: "did you mean fuel?"},
		{name: "key below a key", file: "run:\n  fuel: 5M", err: `"run.fuel" is not a setting`},
		{name: "flag that is no setting", file: "count: 3", err: `"count" is not a setting`},
		{name: "bad value in the file", file: "fuel: lots", err: `config.yaml: fuel: "lots" is not a whole number`},
		{name: "bad value in the environment", env: []string{"DUGNAD_FUEL=lots"}, err: `DUGNAD_FUEL: "lots" is not a whole number`},
		{name: "unknown variable", env: []string{"DUGNAD_MEMROY=1M"}, err: "did you mean DUGNAD_MEMORY?"},
		{name: "not YAML", file: "fuel: [", err: "config.yaml"},
		{name: "not a map", file: "- fuel", err: "config.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			r.env = append(r.env, tt.env...)
			if tt.file != "" {
				folder := filepath.Join(r.dir, "home/.config/dugnad")
				if err := os.MkdirAll(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code := r.run(append([]string{"run", "@/m.wasm"}, tt.args...)...)
			if tt.err != "" {
				if e := r.stderr.String(); code != exitFailure || !strings.Contains(e, tt.err) || strings.Count(e, "\n") != 1 {
					t.Errorf("exit code %d, stderr %q, want %q in one line", code, e, tt.err)
				}
				return
			}
			if code != 0 || len(r.runner.specs) != 1 || r.runner.specs[0].Limits.Fuel != tt.fuel {
				t.Errorf("exit code %d, specs %+v, want fuel %d; stderr %q", code, r.runner.specs, tt.fuel, r.stderr.String())
			}
		})
	}
}

// TestCount: outputs come whole and in order of index although the attempts
// end in the opposite order.
func TestCount(t *testing.T) {
	const count = 8
	r := newTestRun(t)
	var done [count + 1]chan struct{}
	for i := range done {
		done[i] = make(chan struct{})
	}
	close(done[count])
	large := strings.Repeat("x", 2*spoolMemoryMax) + "\n"
	r.runner.attempt = func(_ context.Context, spec task.Spec, s streams) task.Outcome {
		var i int
		_, _ = fmt.Sscanf(strings.Join(spec.Env, " "), "DUGNAD_TASK_INDEX=%d DUGNAD_TASK_COUNT=8", &i)
		<-done[i+1]
		defer close(done[i])
		in, _ := io.ReadAll(s.In)
		fmt.Fprintf(s.Out, "task %d reads %s\n%s", i, in, large)
		fmt.Fprintf(s.Err, "note %d\n", i)
		return task.Outcome{Kind: task.Exited, ExitCode: uint32(i / 3)}
	}
	code := r.run("run", "--count", "8", "--parallel", "8", "--stdin", "@/in.txt", "@/m.wasm")
	var out, errOut strings.Builder
	for i := range count {
		fmt.Fprintf(&out, "task %d reads input\n%s", i, large)
		fmt.Fprintf(&errOut, "note %d\n", i)
	}
	errOut.WriteString("dugnad: 5 of 8 tasks did not end well; the first was task 3\n")
	if r.stdout.String() != out.String() || r.stderr.String() != errOut.String() || code != 1 {
		t.Errorf("exit code %d, %d bytes of stdout, want %d; stderr %q", code, r.stdout.Len(), out.Len(), r.stderr.String())
	}
}

func TestJSON(t *testing.T) {
	r := newTestRun(t)
	r.runner.attempt = func(_ context.Context, spec task.Spec, s streams) task.Outcome {
		fmt.Fprint(s.Out, "<text>\n")
		fmt.Fprint(s.Err, "\xff\xfe")
		if slices.Contains(spec.Env, "DUGNAD_TASK_INDEX=1") {
			return task.Outcome{Kind: task.OutOfFuel, Usage: task.Usage{Fuel: 9}}
		}
		return task.Outcome{Kind: task.Exited, Usage: task.Usage{Fuel: 5}}
	}
	code := r.run("run", "--json", "--count", "2", "@/m.wasm")
	var got []record
	for d := json.NewDecoder(&r.stdout); ; {
		var o record
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	if code != exitFuel || r.stderr.Len() > 0 || len(got) != 2 {
		t.Fatalf("exit code %d, stderr %q, %d objects", code, r.stderr.String(), len(got))
	}
	for i, kind := range []task.Kind{task.Exited, task.OutOfFuel} {
		o := got[i]
		if o.Index != uint64(i) || o.Count != 2 || o.Module != "m.wasm" || len(o.SHA256) != 64 || o.Outcome.Kind != kind || o.Outcome.Usage.Fuel == 0 {
			t.Errorf("object %d: %+v", i, o)
		}
		if o.Stdout == nil || *o.Stdout != "<text>\n" || o.Stderr != nil || o.StderrBase64 == nil || *o.StderrBase64 != "//4=" {
			t.Errorf("object %d: %v %v %v", i, o.Stdout, o.Stderr, o.StderrBase64)
		}
	}
}

func TestOutput(t *testing.T) {
	r := newTestRun(t)
	out := filepath.Join(r.dir, "out")
	if err := os.WriteFile(out, []byte("what was there before"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.runner.prepareErr = &refusedError{err: errors.New("bad"), detail: &refusal{Code: "bad"}}
	if code := r.run("run", "--output", out, "@/m.wasm"); code != exitRefused {
		t.Errorf("exit code %d", code)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "what was there before" {
		t.Errorf("a refused module changed the file to %q, %v", b, err)
	}
	r.runner.prepareErr = nil
	r.runner.attempt = func(_ context.Context, _ task.Spec, s streams) task.Outcome {
		fmt.Fprint(s.Out, "new")
		return task.Outcome{Kind: task.Exited}
	}
	for _, flags := range [][]string{nil, {"--json"}, {"--count", "2"}} {
		args := append([]string{"run", "--output", out, "@/m.wasm"}, flags...)
		if code := r.run(args...); code != 0 {
			t.Errorf("%v: exit code %d", flags, code)
		}
		want := "new"
		if len(flags) == 2 {
			want = "newnew"
		}
		if b, err := os.ReadFile(out); err != nil || string(b) != want {
			t.Errorf("%v: the file holds %q, %v", flags, b, err)
		}
	}
}

// failingWriter is a full disk.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestOutputLost: when output cannot be written the attempts are cancelled and
// dugnad says why.
func TestOutputLost(t *testing.T) {
	for _, flags := range [][]string{nil, {"--json"}, {"--count", "5"}} {
		r := newTestRun(t)
		r.runner.attempt = func(ctx context.Context, spec task.Spec, s streams) task.Outcome {
			fmt.Fprint(s.Out, "text")
			if len(flags) == 2 && slices.Contains(spec.Env, "DUGNAD_TASK_INDEX=0") || len(flags) == 1 {
				return task.Outcome{Kind: task.Exited}
			}
			<-ctx.Done()
			return task.Outcome{Kind: task.Cancelled}
		}
		a := &app{open: r.runner.open, Stdio: Stdio{In: strings.NewReader(""), Out: failingWriter{}, Err: &r.stderr, Environ: r.env}}
		code := a.run(t.Context(), append([]string{"dugnad", "run", filepath.Join(r.dir, "m.wasm")}, flags...))
		if code != exitFailure || !strings.Contains(r.stderr.String(), "no space left on device") {
			t.Errorf("%v: exit code %d, stderr %q", flags, code, r.stderr.String())
		}
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

func TestVersion(t *testing.T) {
	r := newTestRun(t)
	if code := r.run("version", "--json"); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.stderr.String())
	}
	var v versions
	if err := json.Unmarshal(r.stdout.Bytes(), &v); err != nil || v.Dugnad == "" || v.Lint < 1 || v.Meter < 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDoctor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		output string
		code   int
	}{{"well", "ok\n", 0}, {"ill", "", 1}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			r.runner.attempt = func(_ context.Context, _ task.Spec, s streams) task.Outcome {
				fmt.Fprint(s.Out, tt.output)
				return task.Outcome{Kind: task.Exited}
			}
			if code := r.run("doctor", "--json"); code != tt.code {
				t.Errorf("exit code %d, want %d; stderr %q", code, tt.code, r.stderr.String())
			}
			var d diagnosis
			if err := json.Unmarshal(r.stdout.Bytes(), &d); err != nil || d.OK != (tt.code == 0) || len(d.Checks) < 5 {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		name     string
		terminal bool
		estimate time.Duration
		ticks    []time.Duration
		want     string
	}{
		{"quick on a terminal", true, 0, []time.Duration{100 * time.Millisecond}, ""},
		{
			"on a terminal", true, 9 * time.Second,
			[]time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 3200 * time.Millisecond},
			"\r\x1b[Kdugnad: compiling m.wasm for the first time: 0.4 s of about 9 s\r\x1b[Kdugnad: compiling m.wasm for the first time: 3.2 s of about 9 s\r\x1b[K",
		},
		{"quick in a pipe", false, 9 * time.Second, []time.Duration{400 * time.Millisecond}, ""},
		{
			"in a pipe", false, 9 * time.Second,
			[]time.Duration{2 * time.Second, 3 * time.Second},
			"dugnad: compiling m.wasm for the first time, which takes about 9 s\n",
		},
		{"in a pipe without an estimate", false, 0, []time.Duration{2 * time.Second}, "dugnad: compiling m.wasm for the first time\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			ticks := make(chan time.Time)
			p := newProgress(&out, tt.terminal, "m.wasm")
			p.now, p.ticks = func() time.Time { return start }, ticks
			p.compiling(tt.estimate)
			for _, d := range tt.ticks {
				ticks <- start.Add(d)
			}
			p.stop()
			if out.String() != tt.want {
				t.Errorf("shown %q\n want %q", out.String(), tt.want)
			}
		})
	}
}
