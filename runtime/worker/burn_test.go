package worker

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// outputs are guests that write for ever.
var outputs = map[string]struct{ buffers, bytes int }{
	"1 byte": {1, 1}, "1024 × 1 byte": {1024, 1}, "1024 × 64 bytes": {1024, 64}, "64 KiB": {1, 65536}, "1 MiB": {1, 1 << 20},
}

// BenchmarkBurnOutput is BenchmarkBurn of runtime/sandbox for guests whose work is
// done by two processes: it shows the processor time of both for a unit of fuel,
// and over that of plain additions.
func BenchmarkBurnOutput(b *testing.B) {
	cache := openTestCache(b, nil)
	w := openTestWorker(b, cache, nil)
	add := "func \"_start\" () -> () local i32\nloop\nlocal.get 0\n" + strings.Repeat("i32.const 7\ni32.add\n", 200) + "local.set 0\nbr 0\nend\nend"
	base := nanosPerFuel(b, w, assembled(b, cache, add))
	for name, o := range outputs {
		b.Run(name, func(b *testing.B) {
			iovec := fmt.Sprintf("\x00\x00\x30\x00%c%c%c\x00", rune(0), rune(0), rune(0))
			iovec = iovec[:4] + string([]byte{byte(o.bytes), byte(o.bytes >> 8), byte(o.bytes >> 16), 0})
			text := "import \"wasi_snapshot_preview1\" \"fd_write\" (i32 i32 i32 i32) -> (i32)\nmemory 64\n" +
				fmt.Sprintf("data 65536 %q\n", strings.Repeat(iovec, o.buffers)) +
				fmt.Sprintf("func \"_start\" () -> ()\nloop\ni32.const 1\ni32.const 65536\ni32.const %d\ni32.const 8\ncall 0\ndrop\nbr 0\nend\nend", o.buffers)
			img := assembled(b, cache, text)
			least := 1e9
			for b.Loop() {
				least = min(least, nanosPerFuel(b, w, img))
			}
			b.ReportMetric(least, "ns/fuel")
			b.ReportMetric(least/base, "x-arithmetic")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// nanosPerFuel runs a guest until its fuel is used up.
func nanosPerFuel(b *testing.B, w *Worker, img Image) float64 {
	b.Helper()
	before := bothTimes(b, w)
	o := w.Run(context.Background(), img, task.Spec{Limits: task.Limits{Fuel: 20_000_000, OutputBytes: 1 << 40}}, Streams{Stdout: sink{}})
	if o.Kind != task.OutOfFuel {
		b.Fatalf("got %+v", o)
	}
	return float64((bothTimes(b, w) - before).Nanoseconds()) / float64(o.Usage.Fuel)
}

// sink takes everything.
type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// bothTimes is the processor time of this process and of the worker's.
func bothTimes(b *testing.B, w *Worker) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	dir := fmt.Sprintf("/proc/%d/task/", w.process.pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		b.Skip("needs /proc:", err)
	}
	for _, t := range threads {
		text, err := os.ReadFile(dir + t.Name() + "/schedstat")
		if err != nil {
			continue // It has ended.
		}
		nanos, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(nanos)
	}
	return total
}
