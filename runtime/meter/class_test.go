package meter_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// TestClasses: every instruction has a row of the cost table and costs what the
// row says; no row is without a name of its own, or without instructions.
func TestClasses(t *testing.T) {
	classes := meter.Classes()
	members, names := make([]int, len(classes)), map[string]bool{}
	for op := wasm.Opcode(0); op < 0x300; op++ {
		if wasm.Lookup(op) == nil {
			continue
		}
		class := meter.ClassOf(op)
		members[class]++
		if meter.Cost(op) != class.Fuel() {
			t.Errorf("%s costs %d, its class %q %d", op, meter.Cost(op), class, class.Fuel())
		}
	}
	for i, class := range classes {
		if class.String() == "" || names[class.String()] {
			t.Errorf("class %d is named %q: it needs a name of its own", i, class)
		}
		names[class.String()] = true
		if members[class] == 0 {
			t.Errorf("class %q has no instruction", class)
		}
	}
}

// TestClassOfNames pins some rows: a name that the rules of a class do not
// expect would end up with the arithmetic.
func TestClassOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"end": "structure", "drop": "structure", "if": "branch", "i64.eqz": "comparison", "i64.shr_s": "shift, rotate",
		"i32.wrap_i64": "integer: add, subtract, logic, width", "f64.copysign": "float: add, subtract, multiply, sign",
		"i32.rem_u": "division and remainder, 32 bits", "i64.rem_u": "division and remainder, 64 bits", "f32.div": "float: division",
		"f64.trunc": "float: rounding", "i64.trunc_f32_u": "float to integer", "i32.trunc_sat_f64_s": "float to integer",
		"i64.load32_u": "load", "i64.store8": "store", "v128.load8_lane": "vector: load", "v128.store8_lane": "vector: store",
		"i16x8.splat": "vector: lane moved", "v128.any_true": "vector: test", "f32x4.min": "vector: several instructions",
		"i64x2.extmul_low_i32x4_u": "vector: several instructions", "f64x2.trunc": "vector: float", "f32x4.eq": "vector: float",
		"i32x4.trunc_sat_f32x4_s": "vector: several instructions", "v128.not": "vector: integer", "memory.fill": "memory.fill",
	} {
		if got := meter.ClassOf(opcodeOf(name)).String(); got != want {
			t.Errorf("%s is of class %q, not %q", name, got, want)
		}
	}
}

// TestMix counts instructions as they stand.
func TestMix(t *testing.T) {
	got, err := meter.Mix(wasmtest.Assemble("memory 1\nfunc (i32) -> (i32) local i64 f32\nlocal.get 0\ni32.const 3\ni32.div_u\nend\nfunc () -> ()\nblock\nbr 0\nend\nend\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, len(meter.Classes()))
	for name, n := range map[string]int{"local.get": 1, "i32.const": 1, "i32.div_u": 1, "block": 4, "br": 1} {
		want[meter.ClassOf(opcodeOf(name))] = n
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := meter.Mix([]byte("no module")); !errors.Is(err, meter.ErrModule) {
		t.Errorf("got %v, want %v", err, meter.ErrModule)
	}
}

// FuzzMix: what the meter rewrites can be counted, bytes that it does not are
// refused, and no module has more instructions than bytes.
func FuzzMix(f *testing.F) {
	for name := range kernels {
		f.Add(kernel(f, name))
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		counts, err := meter.Mix(module)
		if err != nil {
			if _, bad := meter.Rewrite(module); bad == nil || !errors.Is(err, meter.ErrModule) {
				t.Fatalf("%v, Rewrite says %v", err, bad)
			}
			return
		}
		sum := 0
		for _, n := range counts {
			sum += n
		}
		if sum > len(module) {
			t.Fatalf("%d instructions in %d bytes", sum, len(module))
		}
	})
}

func opcodeOf(name string) wasm.Opcode {
	for op := wasm.Opcode(0); op < 0x300; op++ {
		if info := wasm.Lookup(op); info != nil && info.Name == name {
			return op
		}
	}
	panic("no instruction " + name)
}

// TestCostTableIsDocumented: the table that make calibrate wrote has the rows
// and the fuel of the code.
func TestCostTableIsDocumented(t *testing.T) {
	file, err := os.ReadFile(costTableFile)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(file), costTableBegin)
	text, _, _ = strings.Cut(text, costTableEnd)
	_, text, _ = strings.Cut(text, classTableHead)
	var got, want []string
	for line := range strings.Lines(text) {
		cells := strings.SplitN(line, "|", 4)
		if len(cells) < 4 {
			break
		}
		got = append(got, strings.TrimSpace(cells[1])+": "+strings.TrimSpace(cells[2]))
	}
	for _, class := range meter.Classes() {
		want = append(want, fmt.Sprintf("%s: %d", class, class.Fuel()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s has another cost table than the code (-code +file), run make calibrate:\n%s", costTableFile, diff)
	}
}

// TestCalibrationMeasuresEveryClass: each class is measured by code that is
// valid, but for structure, which is free, and for what only traps.
func TestCalibrationMeasuresEveryClass(t *testing.T) {
	measured := map[meter.Class]bool{}
	for _, p := range append(operatorProbes(), specialProbes()...) {
		measured[p.class] = measured[p.class] || !p.aside
		if err := compiles(wasmtest.Assemble(p.text())); err != nil {
			t.Errorf("%s in %d chains: %v", p.name, p.chains, err)
		}
	}
	for _, class := range meter.Classes() {
		if free := class.Fuel() == 0 || class == meter.ClassOf(wasm.OpUnreachable); measured[class] == free {
			t.Errorf("class %q: measured %v", class, measured[class])
		}
	}
}
