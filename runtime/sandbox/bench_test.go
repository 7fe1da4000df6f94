package sandbox

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

func BenchmarkRunTiny(b *testing.B) {
	benchmarkRun(b, program().memory(1, -1).bytes())
}

func BenchmarkRunGoHello(b *testing.B) {
	benchmarkRun(b, goGuest(b, "hello"))
}

func benchmarkRun(b *testing.B, module []byte) {
	m := load(b, open(b, nil), metered(b, module))
	b.ReportAllocs()
	for b.Loop() {
		if o := m.Run(context.Background(), task.Spec{}, Streams{}); o.Kind != task.Exited {
			b.Fatalf("got %+v", o)
		}
	}
}

// BenchmarkLiveInstances reports what a small instance that waits in
// poll_oneoff costs beyond the memory that it touched.
func BenchmarkLiveInstances(b *testing.B) {
	const live = 1000
	a := newAsm()
	write := a.imp(previewOne, "fd_write", []byte{i32, i32, i32, i32}, []byte{i32})
	poll := a.imp(previewOne, "poll_oneoff", []byte{i32, i32, i32, i32}, []byte{i32})
	a.fn("_start", nil, nil,
		i32Const(1), i32Const(0), i32Const(1), i32Const(300), call(write), drop,
		i32Const(100), i32Const(200), i32Const(1), i32Const(300), call(poll), drop)
	a.memory(1, -1)
	a.data(0, "\x00\x00\x00\x00\x01\x00\x00\x00") // One byte at 0.
	a.data(116, "\x01")                           // The monotonic clock.
	a.data(130, "\x01")                           // Some 281 trillion nanoseconds.
	m := load(b, open(b, nil), metered(b, a.bytes()))
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		debug.FreeOSMemory()
		before := resident(b)
		var started, ended sync.WaitGroup
		started.Add(live)
		for range live {
			ended.Go(func() { m.Run(ctx, task.Spec{}, Streams{Stdout: whenWritten(started.Done)}) })
		}
		started.Wait()
		debug.FreeOSMemory()
		// Each has touched one page of its linear memory.
		grown := resident(b) - before - live*int64(os.Getpagesize())
		b.ReportMetric(float64(grown)/live, "bytes/instance")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		cancel()
		ended.Wait()
	}
}

// resident returns the process's resident memory in bytes.
func resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
