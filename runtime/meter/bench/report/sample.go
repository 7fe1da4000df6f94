// Package report turns measured times into the tables of BENCHMARKS.md. It
// measures nothing itself.
package report

import (
	"cmp"
	"math"
	"slices"
)

// The variants of a run: one column each, but for the first two bases.
const (
	// Plain is wazero as Dugnad uses it, without metering.
	Plain = "plain"
	// Metered is the same with metering.
	Metered = "metered"
	// Bare is wazero without Dugnad's sandbox: the base of Interruptible for
	// programs that Plain runs in a sandbox.
	Bare = "bare"
	// Interruptible is wazero with WithCloseOnContextDone.
	Interruptible = "interruptible"
	// Cranelift is Wasmtime, Fuel and Epochs are its two ways to interrupt.
	Cranelift = "cranelift"
	Fuel      = "fuel"
	Epochs    = "epochs"
)

// Sample is one run.
type Sample struct {
	Subject string `json:"subject"`
	Variant string `json:"variant"`
	// Start numbers the process, Round the turn in it: runs of one round are
	// compared with each other.
	Start int `json:"start"`
	Round int `json:"round"`
	// Nanos is the processor time.
	Nanos int64 `json:"nanos"`
	// Burnt is the fuel of a metered run.
	Burnt uint64 `json:"burnt,omitempty"`
}

// Module is what was found out about a subject without running it. Times are
// the smallest of several, in nanoseconds.
type Module struct {
	Subject string
	// Kind is kernel, program or empty.
	Kind string
	// FileBytes is the size of the module, Bytes and MeteredBytes that before
	// and after metering without custom sections.
	FileBytes, Bytes, MeteredBytes int
	// Rewrite is what lint and meter take together.
	Rewrite int64
	// Compile and MeteredCompile are what the engine takes, on one core.
	Compile, MeteredCompile int64
	// Licence and What are for the list of programs.
	Licence, What string
}

// Median returns the middle of values, or the mean of the two in the middle;
// NaN when there are none. It does not change values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// GeoMean returns the geometric mean of the values that are positive numbers;
// NaN when there are none.
func GeoMean(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			sum, n = sum+math.Log(v), n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return math.Exp(sum / float64(n))
}

// Ratio is how much longer one variant takes than another.
type Ratio struct {
	// Median is that of the process starts, each of which is the median of its
	// paired runs.
	Median float64
	// Least and Most are the smallest and largest of the process starts.
	Least, Most float64
	// Minima is the ratio of the shortest run of each variant in all starts.
	Minima float64
}

// Compare compares the runs of a subject in one variant with those in another
// of the same start and round. Without any such pair everything is NaN.
func Compare(samples []Sample, subject, variant, base string) Ratio {
	times := map[string]map[[2]int]float64{variant: {}, base: {}}
	shortest := map[string]float64{variant: math.Inf(1), base: math.Inf(1)}
	for _, s := range samples {
		if s.Subject == subject && times[s.Variant] != nil && s.Nanos > 0 {
			t := float64(s.Nanos)
			times[s.Variant][[2]int{s.Start, s.Round}] = t
			shortest[s.Variant] = min(shortest[s.Variant], t)
		}
	}
	starts := map[int][]float64{}
	for at, t := range times[variant] {
		if b, ok := times[base][at]; ok {
			starts[at[0]] = append(starts[at[0]], t/b)
		}
	}
	var medians []float64
	for _, ratios := range starts {
		medians = append(medians, Median(ratios))
	}
	if len(medians) == 0 {
		return Ratio{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	}
	return Ratio{Median(medians), slices.Min(medians), slices.Max(medians), shortest[variant] / shortest[base]}
}

// Typical returns the median time of a subject in one variant, in nanoseconds,
// and the median fuel.
func Typical(samples []Sample, subject, variant string) (nanos, burnt float64) {
	var times, fuel []float64
	for _, s := range samples {
		if s.Subject == subject && s.Variant == variant {
			times, fuel = append(times, float64(s.Nanos)), append(fuel, float64(s.Burnt))
		}
	}
	return Median(times), Median(fuel)
}

// Starts counts the process starts and the rounds of each that samples hold.
func Starts(samples []Sample) (starts, rounds int) {
	seen := map[int]bool{}
	for _, s := range samples {
		seen[s.Start] = true
		rounds = max(rounds, s.Round+1)
	}
	return len(seen), rounds
}

// sortModules orders by kind as in the table, then by name.
func sortModules(modules []Module) []Module {
	order := map[string]int{"kernel": 0, "program": 1, "empty": 2}
	return slices.SortedFunc(slices.Values(modules), func(a, b Module) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Subject, b.Subject))
	})
}
