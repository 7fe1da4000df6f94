package lint

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// largeModule has so many functions that several goroutines read them. Each has
// locals that it carries through loops; bad names the one that does not validate,
// or is -1.
func largeModule(functions, bad int) []byte {
	types := make([][]byte, functions)
	bodies := make([][]byte, functions)
	for i := range bodies {
		types[i] = []byte{0}
		loop := join(0x03, 0x40, 0x20, i%8, 0x41, i%64, 0x6a, 0x22, (i+1)%8, 0x0d, 0, 0x0b)
		if i == bad {
			loop = join(loop, 0x6a)
		}
		bodies[i] = sized(1, 8, 0x7f, times(10+i%40, 0x02, 0x40, loop, 0x20, 0, 0x0d, 0, 0x0b), 0x0b)
	}
	return module(
		vector(wasm.SectionType, signatureOf(nil, nil)),
		vector(wasm.SectionFunction, types...),
		vector(wasm.SectionCode, bodies...),
	)
}

// check checks with so many processors.
func check(t *testing.T, processors int, module []byte, limits Limits) (Report, error) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	return Check(module, limits)
}

func TestManyReadersAgreeWithOne(t *testing.T) {
	const functions = 200
	good := largeModule(functions, -1)
	report, err := check(t, 1, good, Default())
	if err != nil {
		t.Fatal(err)
	}
	half, few := Default(), Default()
	half.CompileCost = report.CompileCost / 2
	few.LocalsTotal = 8 * (functions - 1)
	for name, c := range map[string]struct {
		module  []byte
		limits  Limits
		refused bool
	}{
		"good":                   {good, Default(), false},
		"the first is bad":       {largeModule(functions, 0), Default(), true},
		"one is bad":             {largeModule(functions, functions/2), Default(), true},
		"the last is bad":        {largeModule(functions, functions-1), Default(), true},
		"too much to compile":    {good, half, true},
		"too many locals":        {good, few, true},
		"the last is cut off":    {good[:len(good)-5], Default(), true},
		"more bytes than bodies": {slices.Concat(good, []byte{0}), Default(), true},
	} {
		want, wantErr := check(t, 1, c.module, c.limits)
		if (wantErr != nil) != c.refused {
			t.Errorf("%s: %v", name, wantErr)
		}
		for _, processors := range []int{2, 3, 8} {
			got, err := check(t, processors, c.module, c.limits)
			if diff := cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(err)) + cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %d processors (-one +many):\n%s", name, processors, diff)
			}
			var a, b *Refusal
			if errors.As(wantErr, &a) && errors.As(err, &b) && *a != *b {
				t.Errorf("%s, %d processors: %+v, not %+v", name, processors, b, a)
			}
		}
	}
}

// TestManyReaders looks at the way that the test above may take, or not.
func TestManyReaders(t *testing.T) {
	good := largeModule(200, -1)
	report, err := check(t, 1, good, Default())
	if err != nil {
		t.Fatal(err)
	}
	if report.CodeBytes < crewBytes {
		t.Fatalf("%d bytes of bodies are read by one", report.CodeBytes)
	}
	limits := Default()
	c := checker{limits: &limits, module: good}
	r := wasm.NewReader(good, len(wasm.Magic), len(good))
	for {
		id, sub, err := r.Section()
		if err != nil {
			t.Fatal(err)
		}
		if id != wasm.SectionCode {
			if err := c.read(id, &sub); err != nil {
				t.Fatal(err)
			}
			continue
		}
		n, err := sub.U32()
		if err != nil {
			t.Fatal(err)
		}
		if !c.readTogether(&sub, int(n), 3) || sub.Len() > 0 {
			t.Fatalf("not read together, %d bytes left", sub.Len())
		}
		break
	}
	if c.report.Instructions != report.Instructions || c.cost.total == 0 {
		t.Errorf("report %+v, want %+v", c.report, report)
	}
}
