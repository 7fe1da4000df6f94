package meter_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/dugnad/dugnad/runtime/meter"
)

// The file with the table, and the lines between which it stands.
const (
	costTableFile  = "../../BENCHMARKS.md"
	costTableBegin = "<!-- calibrate: written by make calibrate -->"
	costTableEnd   = "<!-- calibrate: end -->"
)

// reading is what a probe showed.
type reading struct {
	probe
	// nanos is the time of one operator alone. off is the time of all that
	// stands in the loop for its fuel, over that of the unit.
	nanos, off float64
}

// readings takes the loop, and what stands beside an operator, away.
func (c *calibration) readings() (all []reading, unit float64) {
	type key struct {
		name   string
		chains int
	}
	find := map[key]*subject{}
	for _, s := range c.subjects {
		find[key{s.name, s.chains}] = s
	}
	perFuel := func(s *subject) float64 { return (s.nanos - c.empty.nanos) / (s.fuel - c.empty.fuel) }
	unit = perFuel(find[key{unitProbe, 1}])
	var alone func(s *subject) float64
	alone = func(s *subject) float64 {
		nanos := (s.nanos - c.empty.nanos) / float64(s.ops)
		if s.half {
			return nanos / 2
		}
		for _, w := range s.with {
			other := find[key{w, s.chains}]
			if other == nil {
				c.b.Fatalf("%s: no probe %q in %d chains", s.name, w, s.chains)
			}
			nanos -= alone(other)
		}
		return max(0, nanos)
	}
	for _, s := range c.subjects[1:] {
		all = append(all, reading{s.probe, alone(s), max(0, perFuel(s)/unit)})
	}
	return all, unit
}

func (c *calibration) report() {
	all, unit := c.readings()
	text := costIntro(unit) + "\n" + classTable(all) + "\n" + asideTable(all)
	fmt.Print(text)
	if os.Getenv("DUGNAD_CALIBRATE") == "all" {
		for _, r := range all {
			fmt.Printf("%s, %s, %d: %.2f ns, %.2f\n", r.class, r.name, r.chains, r.nanos, r.off)
		}
	}
	if !*rewrite {
		return
	}
	file, err := os.ReadFile(costTableFile)
	if err != nil {
		c.b.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(file), costTableBegin)
	_, after, ok2 := strings.Cut(rest, costTableEnd)
	if !ok || !ok2 {
		c.b.Fatalf("%s has no place for the table: it needs the line %q and below it %q", costTableFile, costTableBegin, costTableEnd)
	}
	if err := os.WriteFile(costTableFile, []byte(before+costTableBegin+"\n\n"+text+"\n"+costTableEnd+after), 0o644); err != nil {
		c.b.Fatal(err)
	}
}

func costIntro(unit float64) string {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("Commit %s, %s, %s/%s with %d cores, %s. Least processor time of %d runs.\n"+
		"Plain arithmetic, additions of 32 bits that wait for one another, takes %.3f ns per fuel.\n",
		strings.TrimSpace(string(commit)), processor(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), calibrateOpenings*calibratePasses, unit)
}

// processor is its model, as far as the system tells.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "processor unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}

const classTableHead = "| class | fuel | ns, one after another | times its fuel | ns, side by side | times its fuel |\n| --- | --- | --- | --- | --- | --- |\n"

// classTable has a row for each class: its fuel, and what its operators took.
func classTable(all []reading) string {
	var b strings.Builder
	b.WriteString(classTableHead)
	for _, class := range meter.Classes() {
		fmt.Fprintf(&b, "| %s | %d |", class, class.Fuel())
		for _, many := range []bool{false, true} {
			var of []reading
			for _, r := range all {
				if r.class == class && !r.aside && (r.chains > 1) == many {
					of = append(of, r)
				}
			}
			b.WriteString(spread(of))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// spread is two cells: times from the shortest to the longest, and how far the
// middle one is from proportional, and the one that is farthest.
func spread(of []reading) string {
	if len(of) == 0 {
		return " | |"
	}
	slices.SortFunc(of, func(a, b reading) int { return cmp.Compare(a.nanos, b.nanos) })
	least, most := number(of[0].nanos), number(of[len(of)-1].nanos)
	if least != most {
		least += "–" + most
	}
	slices.SortStableFunc(of, func(a, b reading) int { return cmp.Compare(a.off, b.off) })
	middle, worst := of[len(of)/2], of[len(of)-1]
	off := number(middle.off)
	if worst.off > 1.25*middle.off {
		off += fmt.Sprintf("; %s %s", worst.name, number(worst.off))
	}
	return fmt.Sprintf(" %s | %s |", least, off)
}

func number(v float64) string {
	switch {
	case v >= 20:
		return fmt.Sprintf("%.0f", v)
	case v >= 2:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// asideTable has a row for each probe that the classes leave out.
func asideTable(all []reading) string {
	type times struct{ one, many *reading }
	rows, order := map[string]*times{}, []string{}
	for i := range all {
		r := &all[i]
		if !r.aside {
			continue
		}
		if rows[r.name] == nil {
			rows[r.name] = &times{}
			order = append(order, r.name)
		}
		if r.chains == 1 {
			rows[r.name].one = r
		} else {
			rows[r.name].many = r
		}
	}
	var b strings.Builder
	b.WriteString("| aside | ns, one after another | times its fuel | ns, side by side | times its fuel |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range order {
		fmt.Fprintf(&b, "| %s |", name)
		for _, r := range []*reading{rows[name].one, rows[name].many} {
			if r == nil {
				b.WriteString(" | |")
				continue
			}
			fmt.Fprintf(&b, " %s | %s |", number(r.nanos), number(r.off))
		}
		b.WriteString("\n")
	}
	return b.String()
}
