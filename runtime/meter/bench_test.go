package meter_test

import (
	"context"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/meter"
)

// benchmarkArgs give each kernel some 10 to 50 ms of work.
var benchmarkArgs = map[string]uint64{
	"bulk": 4000, "byteloop": 30, "compress": 10, "fib": 31, "indirect": 400_000, "interp": 400_000, "mandelbrot": 400,
	"matrix": 8, "nbody": 150_000, "nqueens": 12, "quicksort": 200_000, "sha256": 8000, "sieve": 4_000_000, "tree": 60_000,
}

// BenchmarkKernels runs every kernel metered and plain in turn, and reports the
// median over the pairs: ns/plain, ratio and ns/fuel, and what the engine's own
// switch for interruption costs. Run it in several processes (-count counts
// within one): where code lies in memory moves a kernel by tens of per cent.
func BenchmarkKernels(b *testing.B) {
	var logs, interruptLogs float64
	names := make([]string, 0, len(benchmarkArgs))
	for name := range benchmarkArgs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			ratio, interrupt := benchmarkKernel(b, name)
			logs += math.Log(ratio)
			interruptLogs += math.Log(interrupt)
		})
	}
	n := float64(len(names))
	b.Run("geomean", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(math.Exp(logs/n), "ratio")
		b.ReportMetric(math.Exp(interruptLogs/n), "interrupt-ratio")
	})
}

func benchmarkKernel(b *testing.B, name string) (ratio, interrupt float64) {
	module, n := kernel(b, name), benchmarkArgs[name]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plainRun := plain(b, module).ExportedFunction("run")
	rt := wazero.NewRuntimeWithConfig(ctx, compiler().WithCoreFeatures(features).WithCloseOnContextDone(true))
	defer rt.Close(ctx)
	interruptible, err := rt.Instantiate(ctx, module)
	if err != nil {
		b.Fatal(err)
	}
	h := newHost(b, compiler(), module)
	h.slice = 1 << 21
	meteredRun, interruptRun := h.module.ExportedFunction("run"), interruptible.ExportedFunction("run")
	timed := func(f api.Function) time.Duration {
		begin := time.Now()
		if _, err := f.Call(ctx, n); err != nil {
			b.Fatal(err)
		}
		return time.Since(begin)
	}
	_, fuel, err := h.call("run", n)
	if err != nil {
		b.Fatal(err)
	}
	timed(plainRun)
	var ratios, interrupts, times []float64
	for b.Loop() {
		p := timed(plainRun).Seconds()
		ratios = append(ratios, timed(meteredRun).Seconds()/p)
		interrupts = append(interrupts, timed(interruptRun).Seconds()/p)
		times = append(times, p)
	}
	median := func(s []float64) float64 {
		slices.Sort(s)
		return s[len(s)/2]
	}
	ratio, interrupt = median(ratios), median(interrupts)
	p := median(times)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p*1e9, "ns/plain")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(interrupt, "interrupt-ratio")
	b.ReportMetric(p*ratio*1e9/float64(fuel), "ns/fuel")
	return ratio, interrupt
}

// BenchmarkRewrite rewrites the module that DUGNAD_BENCH_MODULE names, or a
// kernel.
func BenchmarkRewrite(b *testing.B) {
	module := kernel(b, "compress")
	if path := os.Getenv("DUGNAD_BENCH_MODULE"); path != "" {
		var err error
		if module, err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	var r meter.Result
	for b.Loop() {
		var err error
		if r, err = meter.Rewrite(module); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(r.Module))/float64(len(module)), "size-ratio")
}
