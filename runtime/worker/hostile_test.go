package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/task"
)

func assembled(t testing.TB, cache *Cache, text string) Image {
	t.Helper()
	img, err := cache.Image(context.Background(), wasmtest.Assemble(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// testMemoryBytes is little for a worker.
const testMemoryBytes = 1 << 30

// openSmallWorker opens a worker with testMemoryBytes.
func openSmallWorker(t *testing.T, cache *Cache) *Worker {
	t.Helper()
	if testing.Short() {
		t.Skip("the race detector, which tests are short for, needs more memory")
	}
	return openTestWorker(t, cache, func(c *Config) { c.MemoryBytes, c.TasksMax = testMemoryBytes, 16 })
}

// means is what a process holds.
type means struct{ residentKiB, files, threads, maps int }

func meansOf(t testing.TB, pid int) means {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		t.Skip("needs /proc:", err)
	}
	field := func(name string) int {
		_, rest, _ := strings.Cut(string(status), name+":")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	m := means{residentKiB: field("VmRSS"), threads: field("Threads")}
	// A jailed process is not dumpable: only root may look closer.
	if files, err := os.ReadDir(dir + "fd"); err == nil {
		m.files = len(files)
	}
	if maps, err := os.ReadFile(dir + "maps"); err == nil {
		m.maps = bytes.Count(maps, []byte("\n"))
	}
	return m
}

// TestTasksLeaveNothing runs many tasks, which end in many ways, in one worker
// and looks whether the processes grow.
func TestTasksLeaveNothing(t *testing.T) {
	cache := openTestCache(t, nil)
	// Little memory, so that the collector does not put off its work.
	w := openSmallWorker(t, cache)
	trap := assembled(t, cache, "memory 1\ntable 100\nfunc \"_start\" () -> ()\nunreachable\nend")
	deep := assembled(t, cache, "func \"_start\" () -> ()\ncall 0\nend")
	kinds := []struct {
		img  Image
		spec task.Spec
		in   io.Reader
	}{
		{img: testImage(t, cache, "tiny")},
		{img: testImage(t, cache, "hello")},
		{img: testImage(t, cache, "fill"), spec: task.Spec{Limits: task.Limits{MemoryBytes: 4 << 20}}},
		{img: trap},
		{img: deep, spec: task.Spec{Limits: task.Limits{StackBytes: 256 << 10}}},
		{img: testImage(t, cache, "spin"), spec: task.Spec{Limits: task.Limits{Fuel: 1_000_000}}},
		{img: testImage(t, cache, "spin"), spec: task.Spec{Limits: task.Limits{Timeout: time.Millisecond}}},
		{img: testImage(t, cache, "flood"), spec: task.Spec{Limits: task.Limits{OutputBytes: 100 << 10}}},
		{img: testImage(t, cache, "cat"), in: strings.NewReader("x")},
	}
	const tasks = 2_500
	run := func(n int) (child, parent means) {
		for i := range n {
			k := kinds[i%len(kinds)]
			if o := w.Run(t.Context(), k.img, k.spec, Streams{Stdin: k.in}); o.Kind == task.WorkerLost || o.Kind == task.Refused {
				t.Fatalf("%+v", o)
			}
		}
		runtime.GC()
		return meansOf(t, w.PID()), meansOf(t, os.Getpid())
	}
	child, parent := run(tasks)
	laterChild, laterParent := run(3 * tasks)
	t.Logf("after %d tasks: child %+v, parent %+v; after %d: child %+v, parent %+v", tasks, child, parent, 4*tasks, laterChild, laterParent)
	for _, p := range []struct {
		name          string
		before, after means
	}{{"child", child, laterChild}, {"parent", parent, laterParent}} {
		// A leak of 3 KiB per task would show, if all of them ran.
		if p.after.residentKiB > p.before.residentKiB+20<<10 {
			t.Errorf("the %s grew from %d KiB to %d KiB", p.name, p.before.residentKiB, p.after.residentKiB)
		}
		if p.after.files > p.before.files+2 || p.after.threads > p.before.threads+4 || p.after.maps > p.before.maps+40 {
			t.Errorf("the %s held %+v, now %+v", p.name, p.before, p.after)
		}
	}
}

// TestMemoryOfTheWholeWorker lets many tasks at a time fill more memory than
// the worker has: memory.grow fails, the worker stays.
func TestMemoryOfTheWholeWorker(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openSmallWorker(t, cache)
	img := testImage(t, cache, "fill")
	spec := task.Spec{Limits: task.Limits{MemoryBytes: 64 << 20}}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 3 {
				o := w.Run(t.Context(), img, spec, Streams{})
				if o.Kind != task.MemoryLimit {
					wantKind(t, o, task.Exited)
				}
			}
		})
	}
	all.Wait()
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "tiny"), task.Spec{}, Streams{}), task.Exited)
}

// TestHostMemoryOfTasks lets tasks fill what lies beside their linear memory.
func TestHostMemoryOfTasks(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openSmallWorker(t, cache)
	stack := assembled(t, cache, "func \"_start\" () -> ()\ncall 0\nend")
	scratch := assembled(t, cache, `
		import "wasi_snapshot_preview1" "path_open" (i32 i32 i32 i32 i32 i64 i64 i32 i32) -> (i32)
		import "wasi_snapshot_preview1" "fd_write" (i32 i32 i32 i32) -> (i32)
		memory 20
		data 0 "\x00\x00\x01\x00\x00\x00\x10\x00f"
		func "_start" () -> ()
		i32.const 3
		i32.const 0
		i32.const 8
		i32.const 1
		i32.const 1
		i64.const 0x1fffffff
		i64.const 0x1fffffff
		i32.const 0
		i32.const 16
		call 0
		drop
		loop
		i32.const 4
		i32.const 0
		i32.const 1
		i32.const 16
		call 1
		i32.eqz
		br_if 0
		end
		end`)
	for name, tt := range map[string]struct {
		img  Image
		kind task.Kind
		max  task.Limits
	}{
		"stack":   {stack, task.Trapped, task.Limits{StackBytes: 48 << 20}},
		"scratch": {scratch, task.Exited, task.Limits{ScratchBytes: 64 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { wantKind(t, w.Run(t.Context(), tt.img, task.Spec{Limits: tt.max}, Streams{}), tt.kind) })
			}
			all.Wait()
		})
	}
}

// TestKilledAtRandom kills children at random moments of start, load, run and
// output: every task gets its outcome, and nothing is left behind.
func TestKilledAtRandom(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "flood")
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		c := Default()
		c.Dir = cache.TempDir()
		w, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		r := runInBackground(t.Context(), w, img, task.Spec{}, Streams{Stdout: io.Discard})
		kill := time.AfterFunc(time.Duration(rand.IntN(10_000))*time.Microsecond, func() { _ = syscall.Kill(w.PID(), syscall.SIGKILL) })
		wait(t, r.ended, "the outcome")
		kill.Stop()
		if k := r.outcome.Kind; k != task.WorkerLost && k != task.OutputLimit {
			t.Errorf("outcome %+v", r.outcome)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(cache.TempDir() + "/*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestSameEverywhere runs one program with real work under various
// circumstances: fuel and output are the same.
func TestSameEverywhere(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "cat")
	data := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	type result struct {
		fuel uint64
		out  string
	}
	want := result{}
	check := func(w *Worker, in io.Reader) {
		var out bytes.Buffer
		o := w.Run(t.Context(), img, task.Spec{}, Streams{Stdin: in, Stdout: &out})
		got := result{o.Usage.Fuel, out.String()}
		if want.fuel == 0 {
			want = got
		}
		if o.Kind != task.Exited || got != want {
			t.Errorf("%s: fuel %d and %d bytes, want %d and %d", o.Kind, got.fuel, len(got.out), want.fuel, len(want.out))
		}
	}
	for _, slice := range []uint64{0, 1_000, 77_777} {
		w := openTestWorker(t, cache, func(c *Config) { c.SliceFuel = slice })
		check(w, bytes.NewReader(data))
		var all sync.WaitGroup
		for _, chunk := range []int{7, 1000, 4096, 9_999, 70_000} {
			all.Go(func() { check(w, &chunked{data, chunk}) })
		}
		all.Wait()
	}
}

// chunked gives at most so many bytes at a time.
type chunked struct {
	data []byte
	most int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.most)], c.data)
	c.data = c.data[n:]
	return n, nil
}
