package worker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// overstayers are guests for BenchmarkDeadline, besides spinners.
var overstayers = map[string]string{
	"poll": `import "wasi_snapshot_preview1" "poll_oneoff" (i32 i32 i32 i32) -> (i32)
		memory 1
		data 24 "\x00\x00\x00\x00\x00\x00\x00\x7f"
		func "_start" () -> ()
		i32.const 0
		i32.const 100
		i32.const 1
		i32.const 200
		call 0
		drop
		end`,
	"stdin": `import "wasi_snapshot_preview1" "fd_read" (i32 i32 i32 i32) -> (i32)
		memory 1
		data 0 "\x00\x10\x00\x00\x00\x10\x00\x00"
		func "_start" () -> ()
		i32.const 0
		i32.const 0
		i32.const 1
		i32.const 200
		call 0
		drop
		end`,
	"random_get": `import "wasi_snapshot_preview1" "random_get" (i32 i32) -> (i32)
		memory 8192
		func "_start" () -> ()
		loop
		i32.const 0
		i32.const 0x1fffffff
		call 0
		drop
		br 0
		end
		end`,
	"memory.grow": `memory 1
		func "_start" () -> ()
		i32.const 16000
		memory.grow
		drop
		loop
		br 0
		end
		end`,
	"start function": "memory 1\nfunc () -> ()\nloop\nbr 0\nend\nend\nfunc \"_start\" () -> ()\nend\nstart 0",
	"unwinding": `memory 1
		func (i32) -> ()
		local.get 0
		if
		local.get 0
		i32.const 1
		i32.sub
		call 0
		` + strings.Repeat("i32.const 0\ni64.const 7\ni64.store\n", 60) + `
		end
		end
		func "_start" () -> ()
		loop
		i32.const 100000
		call 0
		br 0
		end
		end`,
	"large data": "memory 1000\ndata 0 \"" + strings.Repeat("xyzw", 12<<20) + "\"\nfunc \"_start\" () -> ()\nloop\nbr 0\nend\nend",
}

// BenchmarkDeadline tells how far beyond its deadline a guest keeps its caller
// waiting, alone and beside one spinning guest for each core: at worst, in one
// run of a hundred, and in half of them.
func BenchmarkDeadline(b *testing.B) {
	cache := openTestCache(b, nil)
	spin := testImage(b, cache, "spin")
	eachOverstayer(b, cache, func(b *testing.B, name string, img Image) {
		for _, others := range []int{0, runtime.NumCPU()} {
			b.Run(fmt.Sprintf("%s/beside %d", name, others), func(b *testing.B) {
				w := openTestWorker(b, cache, nil)
				ctx, cancel := context.WithCancel(context.Background())
				var all sync.WaitGroup
				for range others {
					out := newFirstWrite()
					all.Go(func() { w.Run(ctx, spin, task.Spec{}, Streams{Stdout: out}) })
					<-out.happened
				}
				overstay(b, w, img)
				cancel()
				all.Wait()
			})
		}
	})
}

// BenchmarkOverstayBesideProcesses is BenchmarkDeadline beside one process for
// each core that spins at the priority of the parent, above that of the guest.
func BenchmarkOverstayBesideProcesses(b *testing.B) {
	cache := openTestCache(b, nil)
	eachOverstayer(b, cache, func(b *testing.B, name string, img Image) {
		b.Run(name, func(b *testing.B) {
			w := openTestWorker(b, cache, nil)
			for range runtime.NumCPU() {
				cmd := exec.Command("/bin/sh", "-c", "echo; while :; do :; done")
				cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				out, err := cmd.StdoutPipe()
				if err != nil {
					b.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				defer func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}()
				if _, err := out.Read(make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
			}
			overstay(b, w, img)
		})
	})
}

// eachOverstayer calls f with every guest that has to be ended.
func eachOverstayer(b *testing.B, cache *Cache, f func(b *testing.B, name string, img Image)) {
	b.Helper()
	guests := maps.Clone(overstayers)
	maps.Copy(guests, spinners)
	for _, name := range slices.Sorted(maps.Keys(guests)) {
		f(b, name, assembled(b, cache, guests[name]))
	}
}

// overstay runs a guest with a deadline again and again, and reports how late
// its caller has its outcome.
func overstay(b *testing.B, w *Worker, img Image) {
	b.Helper()
	const timeout = 150 * time.Millisecond
	spec := task.Spec{Limits: task.Limits{Timeout: timeout, MemoryBytes: 1 << 30, Fuel: task.Max().Fuel}}
	var late []time.Duration
	w.Run(context.Background(), img, spec, Streams{})
	for b.Loop() {
		in, hold := io.Pipe()
		begin := time.Now()
		o := w.Run(context.Background(), img, spec, Streams{Stdin: in})
		late = append(late, time.Since(begin)-timeout)
		hold.Close()
		if o.Kind != task.DeadlineExceeded {
			b.Fatalf("%+v", o)
		}
	}
	slices.Sort(late)
	n := len(late)
	for unit, d := range map[string]time.Duration{"ms-beyond": late[n/2], "p99-ms-beyond": late[n*99/100], "worst-ms-beyond": late[n-1]} {
		b.ReportMetric(float64(d.Microseconds())/1000, unit)
	}
	b.ReportMetric(0, "ns/op")
}
