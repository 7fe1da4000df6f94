package report

import (
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func near(a, b float64) bool {
	return math.Abs(a-b) < 1e-9 || math.IsNaN(a) && math.IsNaN(b)
}

func TestMeans(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		values          []float64
		median, geoMean float64
	}{
		{nil, nan, nan},
		{[]float64{3}, 3, 3},
		{[]float64{8, 2}, 5, 4},
		{[]float64{9, 1, 3}, 3, 3},
		{[]float64{4, 1, 16, 1}, 2.5, math.Sqrt(8)},
	} {
		if got := Median(c.values); !near(got, c.median) {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.median)
		}
		if got := GeoMean(c.values); !near(got, c.geoMean) {
			t.Errorf("geometric mean of %v is %v, want %v", c.values, got, c.geoMean)
		}
	}
	if got := GeoMean([]float64{nan, 2, inf, 8, 0, -1}); !near(got, 4) {
		t.Errorf("geometric mean that leaves out what is no ratio: %v, want 4", got)
	}
	values := []float64{3, 1, 2}
	if Median(values); values[0] != 3 {
		t.Errorf("the median has changed its values to %v", values)
	}
}

// samples of one subject: each line is start, round, plain, metered.
func samples(subject string, lines ...[4]int64) []Sample {
	var out []Sample
	for _, l := range lines {
		for i, variant := range []string{Plain, Metered} {
			if l[2+i] > 0 {
				out = append(out, Sample{Subject: subject, Variant: variant, Start: int(l[0]), Round: int(l[1]), Nanos: l[2+i], Burnt: uint64(i) * 50})
			}
		}
	}
	return out
}

func TestCompare(t *testing.T) {
	s := samples(
		"a",
		[4]int64{0, 0, 100, 110}, [4]int64{0, 1, 1000, 1200}, [4]int64{0, 2, 100, 900}, // Ratios 1.1, 1.2, 9: median 1.2.
		[4]int64{1, 0, 100, 130},                           // 1.3.
		[4]int64{2, 0, 200, 200}, [4]int64{2, 1, 0, 90000}, // 1, and a run without a partner.
	)
	s = append(s, samples("b", [4]int64{0, 0, 1, 77})...)
	got := Compare(s, "a", Metered, Plain)
	want := Ratio{Median: 1.2, Least: 1, Most: 1.3, Minima: 1.1}
	if !near(got.Median, want.Median) || !near(got.Least, want.Least) || !near(got.Most, want.Most) || !near(got.Minima, want.Minima) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := Compare(s, "a", Fuel, Plain); !math.IsNaN(got.Median) || !math.IsNaN(got.Minima) {
		t.Errorf("a variant that was not run gives %+v", got)
	}
	if starts, rounds := Starts(s); starts != 3 || rounds != 3 {
		t.Errorf("%d starts with %d rounds, want 3 and 3", starts, rounds)
	}
}

// whole is a report in which every column and every sentence occurs.
func whole() *Report {
	r := &Report{
		Date: "2026-11-23", Machine: "2 cores of a test", Commit: "abc1234", Cores: 2, Load: 0.25, Others: 0.01,
		Modules: []Module{
			{Subject: "sieve", Kind: "kernel", Bytes: 1000, MeteredBytes: 1500, Rewrite: 5000, Compile: 100, MeteredCompile: 150},
			{Subject: "empty loop", Kind: "empty", Bytes: 100, MeteredBytes: 180, Rewrite: 1000, Compile: 10, MeteredCompile: 12},
			{Subject: "fib", Kind: "kernel", Bytes: 200, MeteredBytes: 300, Rewrite: 1000, Compile: 20, MeteredCompile: 22},
			{
				Subject: "SQLite", Kind: "program", FileBytes: 1_200_000, Bytes: 1_000_000, MeteredBytes: 1_300_000, Rewrite: 20_000_000,
				Compile: 5e8, MeteredCompile: 6e8, Licence: "public domain", What: "a database",
			},
		},
		Samples: append(samples("sieve", [4]int64{0, 0, 20e6, 22e6}, [4]int64{1, 0, 20e6, 25e6}), samples("fib", [4]int64{0, 0, 10e6, 10e6}, [4]int64{1, 0, 10e6, 11e6})...),
		Late:    []Late{{"loop", 0, 0.4}, {"loop", 2, 3}, {"memory.copy", 0, 22}, {"memory.copy", 2, 41}},
		Notes:   []string{"CoreMark was not at hand."},
	}
	r.Samples = append(r.Samples, samples("empty loop", [4]int64{0, 0, 1e6, 14e5})...)
	r.Samples = append(r.Samples, samples("SQLite", [4]int64{0, 0, 3e8, 33e7}, [4]int64{1, 0, 3e8, 3e8})...)
	r.Samples = append(r.Samples, []Sample{
		{Subject: "sieve", Variant: Interruptible, Nanos: 200e6},
		{Subject: "sieve", Variant: Cranelift, Nanos: 10e6},
		{Subject: "sieve", Variant: Fuel, Nanos: 13e6},
		{Subject: "sieve", Variant: Epochs, Nanos: 15e6},
		{Subject: "SQLite", Variant: Bare, Nanos: 25e7},
		{Subject: "SQLite", Variant: Interruptible, Nanos: 75e7},
	}...)
	for i := range r.Samples {
		if r.Samples[i].Variant == Metered {
			r.Samples[i].Burnt = 100_000_000
		}
	}
	return r
}

func TestMarkdown(t *testing.T) {
	busy := whole()
	busy.Others, busy.Late, busy.Notes = 1.4, nil, nil
	busy.Modules = busy.Modules[:1]
	for name, r := range map[string]*Report{"whole": whole(), "busy": busy} {
		file := "testdata/" + name + ".golden"
		got := r.Markdown()
		if *rewrite {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; go test ./report -rewrite renews it. Got:\n%s", file, got)
		}
		if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
			t.Errorf("%s shows a number that is none:\n%s", name, got)
		}
	}
}

func TestSplice(t *testing.T) {
	text := "# Title\n\n" + Begin + "\nold\n" + End + "\n\nmore\n"
	want := "# Title\n\n" + Begin + "\n\nnew\n\n" + End + "\n\nmore\n"
	got, err := Splice(text, "\nnew\n\n")
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if again, err := Splice(got, "new"); err != nil || again != want {
		t.Errorf("a second time gives %q, %v", again, err)
	}
	for name, bad := range map[string]string{
		"none": "text", "no end": Begin, "no begin": End, "turned": End + "\n" + Begin, "two": text + text,
	} {
		if got, err := Splice(bad, "new"); !errors.Is(err, ErrMarkers) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzSplice(f *testing.F) {
	f.Add("a\n"+Begin+"\nb\n"+End+"\nc", "table")
	f.Add(End+Begin, "")
	f.Fuzz(func(t *testing.T, text, section string) {
		got, err := Splice(text, section)
		if err != nil {
			if got != "" {
				t.Errorf("an error and a text: %q", got)
			}
			return
		}
		before, _, _ := strings.Cut(text, Begin)
		_, after, _ := strings.Cut(text, End)
		if !strings.HasPrefix(got, before+Begin) || !strings.HasSuffix(got, End+after) {
			t.Errorf("what lies around the table has changed: %q", got)
		}
	})
}

const benchOutput = `goos: linux
BenchmarkDeadline/loop/beside_0-2         	       5	         0 ns/op	         0.874 worst-ms-beyond
BenchmarkDeadline/cache_misses/beside_2-2 	       5	         0 ns/op	        46.10 worst-ms-beyond
BenchmarkOther/x-2                        	       5	       100 ns/op
PASS
`

func TestParseLate(t *testing.T) {
	got, err := ParseLate(benchOutput)
	want := []Late{{"loop", 0, 0.874}, {"cache misses", 2, 46.1}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for name, bad := range map[string]string{
		"no number of others": "BenchmarkDeadline/loop-2 5 1.0 worst-ms-beyond",
		"others no number":    "BenchmarkDeadline/loop/beside_x-2 5 1.0 worst-ms-beyond",
		"time no number":      "BenchmarkDeadline/loop/beside_0-2 5 much worst-ms-beyond",
	} {
		if got, err := ParseLate(bad); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzParseLate(f *testing.F) {
	f.Add(benchOutput)
	f.Add("BenchmarkDeadline/ worst-ms-beyond")
	f.Fuzz(func(t *testing.T, output string) {
		late, err := ParseLate(output)
		if err != nil {
			return
		}
		for _, l := range late {
			if !strings.Contains(output, lateUnit) || l.Beside < 0 && !strings.Contains(output, "-") {
				t.Errorf("%+v comes from nowhere in %q", l, output)
			}
		}
	})
}
