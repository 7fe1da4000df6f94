package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

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
		if i >= 3 {
			fmt.Fprintf(&errOut, "dugnad: m.wasm, task %d, exited with %d\n", i, i/3)
		}
	}
	errOut.WriteString("dugnad: 5 of 8 tasks did not end well: 3, 4, 5, 6, 7; run one alone with --env DUGNAD_TASK_INDEX=3\n")
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
