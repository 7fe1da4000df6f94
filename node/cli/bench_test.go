package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkCold is a whole dugnad run of a module whose code is cached: from
// the start of the process to its end. median-ms is what the goal is about.
func BenchmarkCold(b *testing.B) {
	dugnad, err := buildDugnad()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	small, program := filepath.Join(dir, "small.wasm"), filepath.Join(dir, "hello.wasm")
	if err := os.WriteFile(small, hello(), 0o600); err != nil {
		b.Fatal(err)
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "../../examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	run := func(b *testing.B, args ...string) time.Duration {
		cmd := exec.Command(dugnad, append([]string{"run", "--data-dir", filepath.Join(dir, "data")}, args...)...)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return time.Since(start)
	}
	for name, module := range map[string]string{"small": small, "go": program} {
		b.Run(name, func(b *testing.B) {
			run(b, module)
			var times []time.Duration
			for b.Loop() {
				times = append(times, run(b, module))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "median-ms")
		})
	}
}

// BenchmarkDeadline tells how long after its deadline of a second a guest that
// spins has ended, dugnad's own start and end included.
func BenchmarkDeadline(b *testing.B) {
	dugnad, err := buildDugnad()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	module := filepath.Join(dir, "spin.wasm")
	if err := os.WriteFile(module, guest{bodies: [][]byte{loop()}}.bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	var worst time.Duration
	for b.Loop() {
		start := time.Now()
		out, err := exec.Command(dugnad, "run", "--data-dir", filepath.Join(dir, "data"), "--timeout", "1s", module).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitDeadline {
			b.Fatalf("%v\n%s", err, out)
		}
		worst = max(worst, time.Since(start)-time.Second)
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-late-ms")
}

// BenchmarkRefused is dugnad run of every module that it refuses: an operation is
// all of them once. median-ms is over the modules, slowest-ms the one that takes
// longest, each by its own median.
func BenchmarkRefused(b *testing.B) {
	dugnad, err := buildDugnad()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	rows := append(refusedModules(), claims()...)
	times := make([][]time.Duration, len(rows))
	for b.Loop() {
		for i, r := range rows {
			module := filepath.Join(dir, "bad.wasm")
			if err := os.WriteFile(module, r.module, 0o600); err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			out, err := exec.Command(dugnad, append(append([]string{"run", "--data-dir", filepath.Join(dir, "data")}, r.flags...), module)...).CombinedOutput()
			times[i] = append(times[i], time.Since(start))
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitRefused {
				b.Fatalf("%s: %v\n%s", r.name, err, out)
			}
		}
	}
	medians, slowest := make([]time.Duration, len(rows)), 0
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
		if medians[i] > medians[slowest] {
			slowest = i
		}
	}
	b.Logf("slowest: %s", rows[slowest].name)
	b.ReportMetric(float64(medians[slowest].Microseconds())/1000, "slowest-ms")
	slices.Sort(medians)
	b.ReportMetric(float64(medians[len(medians)/2].Microseconds())/1000, "median-ms")
}
