package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/task"
)

// watch is a context that notes the processor time of the process whenever a
// run looks whether it is cancelled.
type watch struct {
	context.Context
	looks []time.Duration
}

func newWatch() *watch { return &watch{context.Background(), make([]time.Duration, 0, 1<<16)} }

// Err implements context.Context.
func (w *watch) Err() error {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) == nil && len(w.looks) < cap(w.looks) {
		w.looks = append(w.looks, time.Duration(ts.Nano()))
	}
	return nil
}

// gaps returns the milliseconds between two looks, without the first few, when
// the run learns how fast the guest is, in ascending order.
func (w *watch) gaps() []float64 {
	const learning = 5
	var out []float64
	for i := learning; i < len(w.looks); i++ {
		out = append(out, float64(w.looks[i]-w.looks[i-1])/1e6)
	}
	slices.Sort(out)
	return out
}

// sliced is a guest for BenchmarkSlice.
type sliced struct {
	module []byte
	// export is called with arg; without it the guest is a command.
	export string
	arg    uint64
	args   []string
	stdin  []byte
}

// kernelArgs give the kernels of the meter's tests some 10 to 50 ms of work.
var kernelArgs = map[string]uint64{
	"bulk": 4000, "byteloop": 30, "compress": 20, "fib": 31, "indirect": 2_000_000, "interp": 400_000, "mandelbrot": 400,
	"matrix": 20, "nbody": 100_000, "nqueens": 13, "quicksort": 200_000, "sha256": 12_000, "sieve": 2_000_000, "tree": 60_000,
	"ackermann": 800, "base64": 40, "bigmul": 3_000, "copy": 4, "dot": 2_000, "fft": 100, "json": 60, "levenshtein": 8,
	"life": 50, "mix64": 4_000_000, "words": 10,
}

// slicedGuests returns the kernels and those programs that make bench-meter has
// fetched or built, beside some that are at hand.
func slicedGuests(b *testing.B) map[string]sliced {
	b.Helper()
	all := map[string]sliced{}
	for _, dir := range []string{"../meter/testdata/kernels", "../meter/bench/kernels"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
		if err != nil || len(files) == 0 {
			b.Fatalf("no kernels in %s: %v", dir, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".wasm")
			if arg, ok := kernelArgs[name]; ok {
				all[name] = sliced{module: readFile(b, file), export: "run", arg: arg}
			}
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	source := readFile(b, filepath.Join(strings.TrimSpace(string(root)), "src/runtime/proc.go"))
	python := "import json, re\nfor i in range(4):\n s = json.dumps({str(n): [n, 'x' * (n % 9)] for n in range(4000)})\n json.loads(s); re.findall('[0-9]+', s)\n"
	for name, s := range map[string]sliced{
		"gofmt":   {args: []string{"gofmt"}, stdin: source},
		"deflate": {args: []string{"deflate"}},
		"flite":   {args: []string{"flite", "-t", strings.Repeat("neighbours do a common job together, ", 12), "-o", "none"}},
		"cpython": {args: []string{"python", "-c", python}},
		"esbuild": {args: []string{"esbuild", "--loader=ts", "--minify"}, stdin: bytes.Repeat([]byte("export class A { f = (x: number): number => x ** 2 }\n"), 2_000)},
	} {
		s.module, _ = os.ReadFile(filepath.Join("../../bin/bench-meter/programs", name+".wasm"))
		if s.module != nil {
			all["program "+name] = s
		}
	}
	all["misses every cache"] = sliced{export: "run", arg: 2_000_000, module: wasmtest.Assemble(`memory 8192
		func "run" (i32) -> () local i32
		loop
		local.get 1
		i32.const 1103515245
		i32.mul
		i32.const 12345
		i32.add
		local.tee 1
		i32.const 0x1fffffc0
		i32.and
		local.get 1
		i32.store
		local.get 0
		i32.const 1
		i32.sub
		local.tee 0
		br_if 0
		end
		end`)}
	return all
}

func readFile(b *testing.B, path string) []byte {
	b.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// BenchmarkSlice tells how long a guest runs between two looks around, in
// milliseconds of processor time: least, median, most of each guest, and a table
// of all of them.
func BenchmarkSlice(b *testing.B) {
	guests := slicedGuests(b)
	names := make([]string, 0, len(guests))
	for name := range guests {
		names = append(names, name)
	}
	slices.Sort(names)
	var table strings.Builder
	var medians []float64
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			gaps, nanosPerFuel := slice(b, guests[name])
			if len(gaps) == 0 {
				b.Skip("it ends before a look around")
			}
			n := len(gaps)
			least, median, most := gaps[0], gaps[n/2], gaps[n-1]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median, "ms/slice")
			b.ReportMetric(most, "ms-most")
			b.ReportMetric(nanosPerFuel, "ns/fuel")
			medians = append(medians, median)
			fmt.Fprintf(&table, "| %s | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", name, n, nanosPerFuel,
				least, gaps[n/20], median, gaps[n-1-n/20], most)
		})
	}
	if len(medians) == 0 {
		return
	}
	slices.Sort(medians)
	fmt.Printf("\n| guest | looks | ns per fuel | least | 5 %% | median | 95 %% | most |\n|%s\n%s", strings.Repeat(" --- |", 8), table.String())
	fmt.Printf("medians: from %.2f to %.2f ms, %.2f in the middle\n", medians[0], medians[len(medians)-1], medians[len(medians)/2])
}

// slice returns the times between two looks, and what a unit of fuel took.
func slice(b *testing.B, s sliced) (gaps []float64, nanosPerFuel float64) {
	b.Helper()
	m := load(b, open(b, nil), metered(b, s.module))
	nanosPerFuel = math.Inf(1)
	for b.Loop() {
		w := newWatch()
		spec := task.Spec{Args: s.args, Limits: task.Limits{MemoryBytes: 1 << 30, StackBytes: 48 << 20}}
		var o task.Outcome
		if s.export == "" {
			o = m.Run(w, spec, Streams{Stdin: bytes.NewReader(s.stdin)})
		} else {
			_, o = m.RunExport(w, spec, Streams{}, s.export, s.arg)
		}
		if o.Kind != task.Exited {
			b.Fatalf("got %+v", o)
		}
		if len(w.gaps()) > 0 {
			gaps = append(gaps, w.gaps()...)
			nanosPerFuel = min(nanosPerFuel, float64(o.Usage.CPUTime)/float64(o.Usage.Fuel))
		}
	}
	slices.Sort(gaps)
	return gaps, nanosPerFuel
}
