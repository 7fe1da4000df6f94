package sandbox

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// processTime is the processor time of the whole process, collector included.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// burnFuel is what an endless program may burn in one round.
const burnFuel = 20_000_000

// burnRatioMax is how many times as long as plain arithmetic a unit of fuel
// should take at most, whatever a guest does: of processor time. One that sleeps
// takes time that is nobody's, and holds its place until its deadline.
const burnRatioMax = 20

// burnt is what a program made of its fuel: the least of its rounds.
type burnt struct {
	name      string
	fuel      uint64
	processor float64 // nanoseconds of the whole process for a unit
	wall      float64 // nanoseconds that went by for a unit
}

// BenchmarkBurn shows the time that the host spends for a unit of fuel, for what
// a hostile guest would do to burn much of it for little, and how many times
// that of plain arithmetic it is. It is a table to read: what is above
// burnRatioMax is priced too low. Programs that have to prepare something have
// their preparation subtracted.
func BenchmarkBurn(b *testing.B) {
	var all []burnt
	for _, p := range pricePrograms() {
		b.Run(p.name, func(b *testing.B) {
			x := burn(b, p)
			b.ReportMetric(x.processor, "ns/fuel")
			b.ReportMetric(x.wall, "wall-ns/fuel")
			b.ReportMetric(0, "ns/op")
			all = append(all, x)
		})
	}
	burnTable(b, all)
}

func burn(b *testing.B, p priceProgram) burnt {
	b.Helper()
	m := load(b, open(b, nil), metered(b, p.bytes()))
	run := func(limit uint64) (processor, wall time.Duration, fuel uint64) {
		spec := p.spec
		spec.Limits.Fuel = limit
		begin, before := time.Now(), processTime(b)
		var streams Streams
		switch p.stdin {
		case "silent":
			in, hold := io.Pipe()
			defer hold.Close()
			streams.Stdin = in
		case "endless":
			streams.Stdin = endless{}
		}
		o := m.Run(context.Background(), spec, streams)
		processor, wall = processTime(b)-before, time.Since(begin)
		if o.Kind == task.Refused || p.body != "" && o.Kind != task.OutOfFuel && o.Kind != task.DeadlineExceeded {
			b.Fatalf("got %+v", o)
		}
		return processor, wall, max(o.Usage.Fuel, 1)
	}
	prepared := uint64(0)
	if p.body != "" && (len(p.before) > 1000 || strings.HasPrefix(p.module, "memory 8192")) {
		prepared = preparation(b, p)
	}
	x := burnt{p.name, 0, math.Inf(1), math.Inf(1)}
	for b.Loop() {
		processor, wall, fuel := run(burnFuel + prepared)
		if prepared > 0 {
			processor0, wall0, fuel0 := run(prepared)
			processor, wall, fuel = processor-processor0, wall-wall0, fuel-fuel0
		}
		x.fuel = fuel
		x.processor = min(x.processor, float64(processor.Nanoseconds())/float64(fuel))
		x.wall = min(x.wall, float64(wall.Nanoseconds())/float64(fuel))
	}
	return x
}

// endless is a stdin that always has more.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// burnTable prints the programs, the most profitable for the guest first.
func burnTable(b *testing.B, all []burnt) {
	b.Helper()
	i := slices.IndexFunc(all, func(x burnt) bool { return x.name == "arithmetic" })
	if i < 0 {
		return
	}
	base := all[i]
	slices.SortFunc(all, func(x, y burnt) int { return int(math.Copysign(1, y.processor-x.processor)) })
	var out strings.Builder
	fmt.Fprintf(&out, "\n| × arithmetic | wall | ns per fuel | program |\n| --- | --- | --- | --- |\n")
	over := 0
	for _, x := range all {
		ratio := x.processor / base.processor
		if ratio > burnRatioMax {
			over++
		}
		fmt.Fprintf(&out, "| %.1f | %.1f | %.3f | %s |\n", ratio, x.wall/base.wall, x.processor, x.name)
	}
	fmt.Fprintf(&out, "%d of %d programs above %d\n", over, len(all), burnRatioMax)
	fmt.Print(out.String())
}

// preparation returns the fuel of everything before the program's loop.
func preparation(b *testing.B, p priceProgram) uint64 {
	b.Helper()
	p.body = ""
	m := load(b, open(b, nil), metered(b, p.bytes()))
	o := m.Run(context.Background(), p.spec, Streams{})
	if o.Kind != task.Exited {
		b.Fatalf("got %+v", o)
	}
	return o.Usage.Fuel
}
