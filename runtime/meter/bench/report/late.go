package report

import (
	"bufio"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Late is how far a guest has kept its caller waiting beyond its deadline.
type Late struct {
	Guest string
	// Beside counts the guests that spun meanwhile.
	Beside int
	// Millis is the worst of several runs.
	Millis float64
}

// lateUnit is what BenchmarkDeadline of runtime/worker reports.
const lateUnit = "worst-ms-beyond"

// procs is what the testing package adds to a benchmark's name.
var procs = regexp.MustCompile(`-\d+$`)

// ParseLate reads what `go test -bench Deadline` of runtime/worker prints.
func ParseLate(output string) ([]Late, error) {
	var out []Late
	lines := bufio.NewScanner(strings.NewReader(output))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		at := slices.Index(fields, lateUnit)
		if at < 2 || !strings.HasPrefix(fields[0], "BenchmarkDeadline/") {
			continue
		}
		name, beside, ok := strings.Cut(strings.TrimPrefix(procs.ReplaceAllString(fields[0], ""), "BenchmarkDeadline/"), "/beside_")
		others, err := strconv.Atoi(beside)
		if !ok || err != nil {
			return nil, fmt.Errorf("benchmark %q is not named GUEST/beside_N", fields[0])
		}
		millis, err := strconv.ParseFloat(fields[at-1], 64)
		if err != nil {
			return nil, fmt.Errorf("benchmark %q: %w", fields[0], err)
		}
		out = append(out, Late{Guest: strings.ReplaceAll(name, "_", " "), Beside: others, Millis: millis})
	}
	return out, lines.Err()
}

// lateBeside lists the numbers of other guests, ascending.
func lateBeside(late []Late) []int {
	var out []int
	for _, l := range late {
		out = append(out, l.Beside)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lateSpin is the guest that only computes.
const lateSpin = "loop"

// lateOf returns the guest that only computes, and the worst of all.
func lateOf(late []Late, beside int) (spin, worst Late) {
	for _, l := range late {
		if l.Beside != beside {
			continue
		}
		if l.Guest == lateSpin {
			spin = l
		}
		if worst.Guest == "" || cmp.Less(worst.Millis, l.Millis) {
			worst = l
		}
	}
	return spin, worst
}
