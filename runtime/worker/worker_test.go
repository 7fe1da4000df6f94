package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/runtime/task"
)

func contextWithTimeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func TestHello(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "hello")
	for range 3 {
		var out bytes.Buffer
		o := w.Run(t.Context(), img, task.Spec{}, Streams{Stdout: &out})
		wantKind(t, o, task.Exited)
		if out.String() != "hello\n" || o.Usage.OutputBytes != 6 || o.Usage.Fuel == 0 {
			t.Errorf("output %q, usage %+v", out.String(), o.Usage)
		}
	}
}

func TestModulesThatDifferInCodeAlone(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.ImagesMax = 2 })
	for _, n := range []uint32{1, 2, 1, 2} {
		o := w.Run(t.Context(), testImage(t, cache, fmt.Sprintf("exit%d", n)), task.Spec{}, Streams{})
		if o.Kind != task.Exited || o.ExitCode != n {
			t.Errorf("exit%d: %+v", n, o)
		}
	}
}

func TestImagesTakeTurns(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.ImagesMax = 1 })
	var all sync.WaitGroup
	for i := range 12 {
		name := []string{"tiny", "exit1", "exit2"}[i%3]
		img := testImage(t, cache, name)
		all.Go(func() {
			o := w.Run(t.Context(), img, task.Spec{}, Streams{})
			if o.Kind != task.Exited || int(o.ExitCode) != i%3 {
				t.Errorf("%s: %+v", name, o)
			}
		})
	}
	all.Wait()
}

func TestStdin(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "cat")
	for _, n := range []int{0, 1, 9999, windowBytes, 5*windowBytes + 17} {
		data := bytes.Repeat([]byte("0123456789abcde\n"), n/16+1)[:n]
		var out bytes.Buffer
		o := w.Run(t.Context(), img, task.Spec{}, Streams{Stdin: bytes.NewReader(data), Stdout: &out})
		wantKind(t, o, task.Exited)
		if o.ExitCode != 0 || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%d bytes: exit code %d, %d bytes came back", n, o.ExitCode, out.Len())
		}
	}
}

func TestStdinIsLeftAlone(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	in := strings.NewReader("untouched")
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "hello"), task.Spec{}, Streams{Stdin: in}), task.Exited)
	if in.Len() != len("untouched") {
		t.Error("stdin was read although the guest did not")
	}
}

func TestDeadline(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	spin := testImage(t, cache, "spin")
	spec := task.Spec{Limits: task.Limits{Timeout: 100 * time.Millisecond, Fuel: task.Max().Fuel}}
	wantKind(t, w.Run(t.Context(), spin, spec, Streams{}), task.DeadlineExceeded)
	// A deadline costs no process.
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "tiny"), task.Spec{}, Streams{}), task.Exited)
}

func TestCancel(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newFirstWrite()
	r := runInBackground(ctx, w, testImage(t, cache, "spin"), task.Spec{}, Streams{Stdout: out})
	wait(t, out.happened, "output of the guest")
	cancel()
	wait(t, r.ended, "the outcome")
	wantKind(t, r.outcome, task.Cancelled)
	if out.buffer.String() != "start\n" {
		t.Errorf("output %q", out.buffer.String())
	}
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "tiny"), task.Spec{}, Streams{}), task.Exited)
}

func TestTasksWait(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.TasksMax = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newFirstWrite()
	first := runInBackground(ctx, w, testImage(t, cache, "spin"), task.Spec{}, Streams{Stdout: out})
	wait(t, out.happened, "output of the guest")
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	o := w.Run(impatient, testImage(t, cache, "tiny"), task.Spec{}, Streams{})
	wantKind(t, o, task.Cancelled)
	if !strings.Contains(o.Message, "1 task slots") {
		t.Errorf("message %q", o.Message)
	}
	second := runInBackground(t.Context(), w, testImage(t, cache, "tiny"), task.Spec{}, Streams{})
	cancel()
	wait(t, first.ended, "the first outcome")
	wait(t, second.ended, "the second outcome")
	wantKind(t, second.outcome, task.Exited)
}

func TestSlowReaderStopsNobodyElse(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, slow := io.Pipe()
	r := runInBackground(ctx, w, testImage(t, cache, "flood"), task.Spec{}, Streams{Stdout: slow})
	if _, err := io.ReadFull(read, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	// The flood's window fills up while these run.
	data := bytes.Repeat([]byte("x"), 3*windowBytes)
	for range 5 {
		var out bytes.Buffer
		o := w.Run(t.Context(), testImage(t, cache, "cat"), task.Spec{}, Streams{Stdin: bytes.NewReader(data), Stdout: &out})
		if o.Kind != task.Exited || out.Len() != len(data) {
			t.Fatalf("outcome %+v, %d bytes", o, out.Len())
		}
	}
	cancel()
	wait(t, r.ended, "the outcome of the flood")
	wantKind(t, r.outcome, task.Cancelled)
	read.Close()
	select {
	case <-w.Gone():
		t.Error("the worker was lost")
	default:
	}
}

func TestNobodyReads(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	read, out := io.Pipe()
	read.Close()
	in := io.LimitReader(zeros{}, 1<<40)
	o := w.Run(t.Context(), testImage(t, cache, "cat"), task.Spec{}, Streams{Stdin: in, Stdout: out})
	if o.Kind != task.Exited || o.ExitCode != 7 {
		t.Errorf("outcome %+v, want exit code 7", o)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestKilledChild(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	spin := testImage(t, cache, "spin")
	var tasks []*running
	for range 5 {
		out := newFirstWrite()
		tasks = append(tasks, runInBackground(t.Context(), w, spin, task.Spec{}, Streams{Stdout: out}))
		wait(t, out.happened, "output of the guest")
	}
	if err := syscall.Kill(w.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, r := range tasks {
		wait(t, r.ended, "the outcome")
		wantKind(t, r.outcome, task.WorkerLost)
		if !strings.Contains(r.outcome.Message, "killed") || r.outcome.Usage.WallTime <= 0 {
			t.Errorf("outcome %+v", r.outcome)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector needs more memory than this worker has")
	}
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.MemoryBytes = 512 << 20 })
	spec := task.Spec{Limits: task.Limits{MemoryBytes: 4 << 30}}
	o := w.Run(t.Context(), testImage(t, cache, "fill"), spec, Streams{})
	// The process has less than the task may use: memory.grow fails.
	wantKind(t, o, task.Exited)
	if pages := o.ExitCode; pages < 1000 || pages > 8192 {
		t.Errorf("the guest got %d pages", pages)
	}
}

func TestCloseWithTasks(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	out := newFirstWrite()
	r := runInBackground(t.Context(), w, testImage(t, cache, "spin"), task.Spec{}, Streams{Stdout: out})
	wait(t, out.happened, "output of the guest")
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, r.ended, "the outcome")
	wantKind(t, r.outcome, task.WorkerLost)
	left, err := os.ReadDir(cache.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
}

func TestRefusedTask(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "tiny")
	tests := map[string]struct {
		image Image
		spec  task.Spec
	}{
		"limits":      {img, task.Spec{Limits: task.Limits{Timeout: -1}}},
		"environment": {img, task.Spec{Env: []string{"x"}}},
		"no image":    {Image{}, task.Spec{}},
		"lost image":  {Image{key: "x", dir: "/no/such", codeName: "y"}, task.Spec{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := w.Run(t.Context(), tt.image, tt.spec, Streams{})
			wantKind(t, o, task.Refused)
			if o.Message == "" {
				t.Error("no message")
			}
		})
	}
	wantKind(t, w.Run(t.Context(), img, task.Spec{}, Streams{}), task.Exited)
}

func TestManyTasks(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.TasksMax = 16 })
	img := testImage(t, cache, "cat")
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			data := fmt.Appendf(nil, "task %d\n", i)
			var out bytes.Buffer
			o := w.Run(t.Context(), img, task.Spec{}, Streams{Stdin: bytes.NewReader(data), Stdout: &out})
			if o.Kind != task.Exited || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("task %d: %+v, %q", i, o, out.String())
			}
		})
	}
	all.Wait()
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"tasks":  func(c *Config) { c.TasksMax = 0 },
		"images": func(c *Config) { c.ImagesMax = -1 },
		"memory": func(c *Config) { c.MemoryBytes = 1 },
		"files":  func(c *Config) { c.OpenFiles = 1 },
		"path":   func(c *Config) { c.ReadOnly = []string{"relative"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			change(&c)
			if _, err := Open(t.Context(), c); err == nil {
				t.Error("no error")
			}
		})
	}
	c := Default()
	c.Executable = "/no/such/program"
	if _, err := Open(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestLargeSpec(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "tiny")
	// Every byte of this is escaped in six.
	spec := task.Spec{Args: []string{"tiny", strings.Repeat("\x01", task.SpecBytesMax-100)}}
	wantKind(t, w.Run(t.Context(), img, spec, Streams{}), task.Exited)
	for i := range 10000 {
		spec.Inputs = append(spec.Inputs, task.Input{Name: fmt.Sprint(i), Path: "/" + strings.Repeat("p", 400)})
	}
	o := w.Run(t.Context(), img, spec, Streams{})
	wantKind(t, o, task.Refused)
	if !strings.Contains(o.Message, "at most 8388608") {
		t.Errorf("message %q", o.Message)
	}
	wantKind(t, w.Run(t.Context(), img, task.Spec{}, Streams{}), task.Exited)
}

func TestCancelledBeforeStart(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spin := testImage(t, cache, "spin")
	for range 20 {
		wantKind(t, w.Run(ctx, spin, task.Spec{}, Streams{}), task.Cancelled)
	}
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "tiny"), task.Spec{}, Streams{}), task.Exited)
}

func TestInput(t *testing.T) {
	cache := openTestCache(t, nil)
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "in", "x"), filepath.Join(dir, "x")
	if err := os.Mkdir(filepath.Dir(inside), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{inside, outside} {
		if err := os.WriteFile(f, []byte("from the host"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := openTestWorker(t, cache, func(c *Config) { c.ReadOnly = []string{filepath.Dir(inside)} })
	img := testImage(t, cache, "input")
	for _, path := range []string{inside, outside} {
		var out bytes.Buffer
		spec := task.Spec{Inputs: []task.Input{{Name: "x", Path: path}}}
		o := w.Run(t.Context(), img, spec, Streams{Stdout: &out})
		if path == inside && (o.Kind != task.Exited || out.String() != "from the host") {
			t.Errorf("inside: %+v, output %q", o, out.String())
		}
		if path == outside && w.Report().FilesConfined() && (o.Kind != task.Refused || out.Len() > 0) {
			t.Errorf("outside: %+v, output %q", o, out.String())
		}
	}
}

func TestNice(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, func(c *Config) { c.Nice = 7 })
	mine, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Getpriority(unix.PRIO_PROCESS, w.PID())
	if err != nil {
		t.Fatal(err)
	}
	if want := max(mine-7, 1); child != want {
		t.Errorf("the child's priority is %d, want %d below %d", child, 7, mine)
	}
	c := Default()
	c.Nice = 20
	if err := c.Validate(); err == nil {
		t.Error("nice 20 is accepted")
	}
}
