package report

import (
	"fmt"
	"math"
	"strings"
)

// Goals of the table: ratios, but for what says its unit.
const (
	goalMean       = 1.05
	goalKernel     = 1.2
	goalEmpty      = 1.5
	goalSize       = 1.35
	goalCompile    = 1.4
	goalRewriteMBs = 40
	goalLateFree   = 2
	goalLateBusy   = 20
)

// Report is everything that was measured.
type Report struct {
	// Machine, Commit and Date are printed as they are.
	Machine, Commit, Date string
	// Others is how many cores other programs took meanwhile, Cores how many
	// there are, Load the load average before.
	Others, Load float64
	Cores        int
	Modules      []Module
	Samples      []Sample
	Late         []Late
	// Notes are sentences about what is missing.
	Notes []string
}

// busyCores is what others may take before a run is called noisy.
const busyCores = 0.1

// row is one line of the table.
type row struct {
	Module
	millis, nanosPerFuel                  float64
	metered, interrupt                    Ratio
	cranelift, fuel, epochs, size, compil float64
}

func (r *Report) rows() []row {
	var out []row
	for _, m := range sortModules(r.Modules) {
		plain, _ := Typical(r.Samples, m.Subject, Plain)
		metered, burnt := Typical(r.Samples, m.Subject, Metered)
		interrupt := Compare(r.Samples, m.Subject, Interruptible, Bare)
		if math.IsNaN(interrupt.Median) {
			interrupt = Compare(r.Samples, m.Subject, Interruptible, Plain)
		}
		base := Plain
		if _, ok := r.typical(m.Subject, Bare); ok {
			base = Bare
		}
		out = append(out, row{
			Module: m, millis: plain / 1e6, nanosPerFuel: metered / burnt,
			metered: Compare(r.Samples, m.Subject, Metered, Plain), interrupt: interrupt,
			cranelift: Compare(r.Samples, m.Subject, Cranelift, base).Median,
			fuel:      Compare(r.Samples, m.Subject, Fuel, Cranelift).Median,
			epochs:    Compare(r.Samples, m.Subject, Epochs, Cranelift).Median,
			size:      float64(m.MeteredBytes) / float64(m.Bytes),
			compil:    float64(m.MeteredCompile) / float64(m.Compile),
		})
	}
	return out
}

func (r *Report) typical(subject, variant string) (float64, bool) {
	t, _ := Typical(r.Samples, subject, variant)
	return t, !math.IsNaN(t)
}

// Markdown returns the section of BENCHMARKS.md: what was measured where, the
// goals, the table, and what the programs are.
func (r *Report) Markdown() string {
	rows := r.rows()
	return strings.Join([]string{r.intro(), r.goals(rows), table(rows), r.foot(rows)}, "\n") + "\n"
}

func (r *Report) intro() string {
	starts, rounds := Starts(r.Samples)
	quiet := "nothing else ran"
	if r.Others > busyCores {
		quiet = fmt.Sprintf("**other programs took %.1f of the %d cores meanwhile, so take these figures as rough**", r.Others, r.Cores)
	}
	return fmt.Sprintf("Written by `make bench-meter` on %s at commit %s: %s with up to %s each.\n"+
		"Machine: %s; load %.1f at the start, %s.\n"+
		"Ratios are of processor time, over the same engine without interruption: median of the process starts, each the median of its\n"+
		"pairs (without, with, with, without …); in brackets the smallest and largest start. \"By minima\" compares the shortest of all runs.\n",
		r.Date, r.Commit, plural(starts, "process start"), plural(rounds, "pair of runs"), r.Machine, r.Load, quiet)
}

// goals is the short table of what is to be reached.
func (r *Report) goals(rows []row) string {
	all := func(r row) bool { return r.Kind != "empty" }
	mean := geoMean(rows, all, func(r row) float64 { return r.metered.Median })
	worst := pick(rows, func(r row) float64 {
		if r.Kind != "kernel" {
			return math.NaN()
		}
		return r.metered.Median
	})
	var b strings.Builder
	b.WriteString("| what | goal | measured |\n| --- | --- | --- |\n")
	line := func(what, goal string, missed bool, measured string) {
		if missed {
			measured = "**" + measured + ", missed**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", what, goal, measured)
	}
	kernels, programs := count(rows, "kernel"), count(rows, "program")
	line(fmt.Sprintf("metered, geometric mean of %s and %s", plural(kernels, "kernel"), plural(programs, "program")), fmt.Sprintf("≤ %.2f", goalMean),
		mean > goalMean, fmt.Sprintf("%.3f", mean))
	if worst.Subject != "" {
		line("the worst kernel", fmt.Sprintf("≤ %.1f", goalKernel), worst.metered.Median > goalKernel,
			fmt.Sprintf("%s, %.2f", worst.Subject, worst.metered.Median))
	}
	for _, e := range rows {
		if e.Kind == "empty" {
			line("an empty loop", fmt.Sprintf("≤ %.1f", goalEmpty), e.metered.Median > goalEmpty, fmt.Sprintf("%.2f", e.metered.Median))
		}
	}
	r.otherWays(rows, mean, line)
	r.sizes(rows, line)
	r.deadlines(line)
	return b.String()
}

// otherWays compares with everything else that can be interrupted.
func (r *Report) otherWays(rows []row, mean float64, line func(what, goal string, missed bool, measured string)) {
	all := func(r row) bool { return r.Kind != "empty" }
	interrupt := geoMean(rows, all, func(r row) float64 { return r.interrupt.Median })
	fuel := geoMean(rows, all, func(r row) float64 { return r.fuel })
	epochs := geoMean(rows, all, func(r row) float64 { return r.epochs })
	lowest := math.Inf(1)
	for _, v := range []float64{interrupt, fuel, epochs} {
		if !math.IsNaN(v) {
			lowest = min(lowest, v)
		}
	}
	line("the same for wazero's WithCloseOnContextDone, Wasmtime's fuel, Wasmtime's epochs", "ours is the lowest", mean > lowest,
		fmt.Sprintf("%s, %s, %s", ratio(interrupt), ratio(fuel), ratio(epochs)))
}

// sizes are over programs; kernels are too small to tell.
func (r *Report) sizes(rows []row, line func(what, goal string, missed bool, measured string)) {
	var files, before, after, compile, metered, rewrite float64
	for _, r := range rows {
		if r.Kind == "program" {
			files += float64(r.FileBytes)
			before, after = before+float64(r.Bytes), after+float64(r.MeteredBytes)
			compile, metered = compile+float64(r.Compile), metered+float64(r.MeteredCompile)
			rewrite += float64(r.Rewrite)
		}
	}
	if before == 0 || compile == 0 || rewrite == 0 {
		return
	}
	program := func(r row) bool { return r.Kind == "program" }
	size := pick(rows, func(r row) float64 {
		if !program(r) {
			return math.NaN()
		}
		return r.size
	})
	line("size of the rewritten program without custom sections, all together; the worst", fmt.Sprintf("≤ %.2f", goalSize), size.size > goalSize,
		fmt.Sprintf("%.2f; %s, %.2f", after/before, size.Subject, size.size))
	mbs := files / 1e6 / (rewrite / 1e9)
	line("lint and meter, of program", fmt.Sprintf("≥ %d MB/s", goalRewriteMBs), mbs < goalRewriteMBs, fmt.Sprintf("%.0f MB/s", mbs))
	line("time to compile, over that of the program as it was; mean of all", fmt.Sprintf("≤ %.1f", goalCompile), metered/compile > goalCompile,
		fmt.Sprintf("%.2f; %.2f", metered/compile, geoMean(rows, program, func(r row) float64 { return r.compil })))
}

// deadlines has a line for each number of guests beside the one that is late.
func (r *Report) deadlines(line func(what, goal string, missed bool, measured string)) {
	for _, others := range lateBeside(r.Late) {
		goal, what := float64(goalLateBusy), "with every core busy"
		if others == 0 {
			goal, what = goalLateFree, "with a core free"
		}
		spin, worst := lateOf(r.Late, others)
		line("deadline missed by, "+what+": a guest that only computes; the worst of all", fmt.Sprintf("< %.0f ms", goal), spin.Millis >= goal,
			fmt.Sprintf("%.1f ms; %s, %.1f ms", spin.Millis, worst.Guest, worst.Millis))
	}
}

// table has a line for each module.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| | ms | metered | by minima | WithCloseOnContextDone | Wasmtime ÷ wazero | Wasmtime's fuel | its epochs | size | to compile | ns per fuel |\n")
	b.WriteString("|" + strings.Repeat(" --- |", 11) + "\n")
	kind := ""
	for i, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Subject, number(r.millis, 1), spread(r.metered),
			ratio(r.metered.Minima), ratio(r.interrupt.Median), ratio(r.cranelift), ratio(r.fuel), ratio(r.epochs), ratio(r.size), ratio(r.compil),
			number(r.nanosPerFuel, 2))
		kind = r.Kind
		if kind != "empty" && (i+1 == len(rows) || rows[i+1].Kind != kind) {
			of := func(r row) bool { return r.Kind == kind }
			mean := func(f func(row) float64) string { return ratio(geoMean(rows, of, f)) }
			fmt.Fprintf(&b, "| **mean of %s** | | **%s** | %s | %s | %s | %s | %s | %s | %s | |\n", plural(count(rows, kind), kind),
				mean(func(r row) float64 { return r.metered.Median }), mean(func(r row) float64 { return r.metered.Minima }),
				mean(func(r row) float64 { return r.interrupt.Median }), mean(func(r row) float64 { return r.cranelift }),
				mean(func(r row) float64 { return r.fuel }), mean(func(r row) float64 { return r.epochs }),
				mean(func(r row) float64 { return r.size }), mean(func(r row) float64 { return r.compil }))
		}
	}
	return b.String()
}

// foot says what the programs are and what is missing.
func (r *Report) foot(rows []row) string {
	var b strings.Builder
	for i, row := range rows {
		if row.What != "" {
			if b.Len() == 0 {
				b.WriteString("Programs: ")
			} else {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s: %s, %.1f MB (%s)", row.Subject, row.What, float64(rows[i].FileBytes)/1e6, row.Licence)
		}
	}
	if b.Len() > 0 {
		b.WriteString(".\n")
	}
	for _, n := range r.Notes {
		b.WriteString("\n" + n + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func count(rows []row, kind string) (n int) {
	for _, r := range rows {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

func geoMean(rows []row, of func(row) bool, value func(row) float64) float64 {
	var values []float64
	for _, r := range rows {
		if of(r) {
			values = append(values, value(r))
		}
	}
	return GeoMean(values)
}

// pick returns the row with the largest value, or none.
func pick(rows []row, value func(row) float64) (largest row) {
	most := math.Inf(-1)
	for _, r := range rows {
		if v := value(r); v > most {
			largest, most = r, v
		}
	}
	return largest
}

func ratio(v float64) string { return number(v, 2) }

// number is empty for what was not measured.
func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// plural is n and a noun, of which the first word gets an s.
func plural(n int, noun string) string {
	if n != 1 {
		first, rest, _ := strings.Cut(noun, " of ")
		if noun = first + "s"; rest != "" {
			noun += " of " + rest
		}
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func spread(r Ratio) string {
	if math.IsNaN(r.Median) {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Median, r.Least, r.Most)
}
