package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/task"
)

// tickerCommand is the first argument of a child that also keeps a ticker and
// tells its worst gap in a file that it shares with its parent.
const tickerCommand = "ticker-child"

// gap is the worst gap of a ticker, in nanoseconds, in memory that parent and
// child share.
type gap struct{ nanos *int64 }

// mapGap maps the file at path.
func mapGap(path string) (gap, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return gap{}, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return gap{}, err
	}
	return gap{(*int64)(unsafe.Pointer(&b[0]))}, nil
}

func (g gap) reset()               { atomic.StoreInt64(g.nanos, 0) }
func (g gap) worst() time.Duration { return time.Duration(atomic.LoadInt64(g.nanos)) }

// keep measures a ticker of a millisecond until ctx ends.
func (g gap) keep(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		if d := int64(now.Sub(last)); d > atomic.LoadInt64(g.nanos) {
			atomic.StoreInt64(g.nanos, d)
		}
		last = now
	}
}

// tickerMain is Main with a ticker.
func tickerMain(path string) int {
	g, err := mapGap(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go g.keep(ctx)
	return Main(ctx)
}

// openTickerWorker opens a worker whose child keeps a ticker.
func openTickerWorker(b *testing.B, cache *Cache) (*Worker, gap) {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	shared, script := filepath.Join(dir, "gap"), filepath.Join(dir, "child")
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' %s '%s'\n", exe, tickerCommand, shared)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(shared, make([]byte, os.Getpagesize()), 0o600); err != nil {
		b.Fatal(err)
	}
	g, err := mapGap(shared)
	if err != nil {
		b.Fatal(err)
	}
	return openTestWorker(b, cache, func(c *Config) { c.Executable = script }), g
}

// spinners are guests that never end, each in its own way.
var spinners = map[string]string{
	"loop": `func "_start" () -> ()
		loop
		br 0
		end
		end`,
	"cache misses": `memory 4096
		func "_start" () -> () local i32
		loop
		local.get 0
		i32.const 1103515245
		i32.mul
		i32.const 12345
		i32.add
		local.tee 0
		i32.const 0xfffffc0
		i32.and
		local.get 0
		i32.store
		br 0
		end
		end`,
	"memory.copy": `memory 4096
		func "_start" () -> ()
		loop
		i32.const 0
		i32.const 0x8000000
		i32.const 0x7fffff0
		memory.copy
		br 0
		end
		end`,
	"table.copy": `table 2000000
		func "_start" () -> ()
		loop
		i32.const 1
		i32.const 0
		i32.const 1999999
		table.copy 0 0
		br 0
		end
		end`,
	"yield": `import "wasi_snapshot_preview1" "sched_yield" () -> (i32)
		memory 1
		func "_start" () -> ()
		loop
		call 0
		drop
		br 0
		end
		end`,
}

// BenchmarkTicker tells how long a ticker of a millisecond in the child, and
// one in this process, waits at most while as many guests spin as there are
// cores; and how long a task beside them takes.
func BenchmarkTicker(b *testing.B) {
	cache := openTestCache(b, nil)
	tiny := testImage(b, cache, "tiny")
	for name, text := range spinners {
		b.Run(name, func(b *testing.B) {
			spin, err := cache.Image(context.Background(), wasmtest.Assemble(text), nil)
			if err != nil {
				b.Fatal(err)
			}
			w, child := openTickerWorker(b, cache)
			parent := gap{new(int64)}
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			all.Go(func() { parent.keep(ctx) })
			spec := task.Spec{Limits: task.Limits{MemoryBytes: 1 << 30, Fuel: task.Max().Fuel}}
			for range runtime.NumCPU() {
				all.Go(func() { w.Run(ctx, spin, spec, Streams{}) })
			}
			// Both have started when two later ones have ended.
			for range 2 {
				w.Run(ctx, spin, task.Spec{Limits: task.Limits{Timeout: 200 * time.Millisecond, MemoryBytes: 1 << 30}}, Streams{})
			}
			child.reset()
			parent.reset()
			measure(b, func() {
				if o := w.Run(ctx, tiny, task.Spec{}, Streams{}); o.Kind != task.Exited {
					b.Fatalf("%+v", o)
				}
			})
			b.ReportMetric(float64(child.worst().Microseconds()), "child-gap-µs")
			b.ReportMetric(float64(parent.worst().Microseconds()), "parent-gap-µs")
			cancel()
			all.Wait()
		})
	}
}
