package meter_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// rerun makes many instances of one module and runs each once.
type rerun struct {
	ctx      context.Context
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	n        uint64

	// The run that is under way: out is called when the budget is used up, and
	// panics or raises it.
	module          api.Module
	granted, budget int64
	out             func() error
}

// rerunSlice makes most checks of a small program ask the host.
const rerunSlice = 5

// newRerun compiles a module, metered unless it counts for itself.
func newRerun(t *testing.T, module []byte, n uint64, metered bool) *rerun {
	t.Helper()
	r := &rerun{ctx: context.Background(), n: n}
	r.runtime = wazero.NewRuntimeWithConfig(r.ctx, compiler().WithCoreFeatures(features))
	t.Cleanup(func() { r.runtime.Close(r.ctx) })
	if metered {
		result, err := meter.Rewrite(module)
		if err != nil {
			t.Fatal(err)
		}
		module = result.Module
		i32 := api.ValueTypeI32
		if _, err := r.runtime.NewHostModuleBuilder(meter.ImportModule).
			NewFunctionBuilder().WithGoFunction(api.GoFunc(r.refill), nil, nil).Export(meter.RefillFunc).
			NewFunctionBuilder().WithGoFunction(api.GoFunc(grant), []api.ValueType{i32, i32, i32}, []api.ValueType{i32}).Export(meter.TableGrowFunc).
			Instantiate(r.ctx); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.compiled, err = r.runtime.CompileModule(r.ctx, module); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rerun) state() api.MutableGlobal {
	return r.module.ExportedGlobal(meter.StateExport).(api.MutableGlobal)
}

func (r *rerun) used() int64 {
	fuel, _ := meter.Unpack(r.state().Get())
	return r.granted - int64(fuel)
}

func (r *rerun) refill(context.Context, []uint64) {
	if r.used() > r.budget {
		if err := r.out(); err != nil {
			panic(err)
		}
	}
	fuel, stack := meter.Unpack(r.state().Get())
	for fuel < 0 || fuel == 0 && r.granted < r.budget {
		n := int32(min(rerunSlice, r.budget-r.granted))
		fuel += n
		r.granted += int64(n)
	}
	r.state().Set(meter.Pack(fuel, stack))
}

// run makes an instance, calls its start function and run(n), and closes it
// when done has seen it.
func (r *rerun) run(prepare func(), start string, done func()) (result uint64, err error) {
	r.granted = 0
	r.module, err = r.runtime.InstantiateModule(r.ctx, r.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return 0, err
	}
	defer r.module.Close(r.ctx)
	defer done()
	prepare()
	if f := r.module.ExportedFunction(start); f != nil {
		if _, err := f.Call(r.ctx); err != nil {
			return 0, err
		}
	}
	results, err := r.module.ExportedFunction("run").Call(r.ctx, r.n)
	if err != nil {
		return 0, err
	}
	return results[0], nil
}

// metered runs with a budget.
func (r *rerun) metered(budget int64, out func() error, done func()) (uint64, error) {
	r.budget, r.out = budget, out
	return r.run(func() { r.state().Set(meter.Pack(0, suiteStack)) }, meter.StartExport, done)
}

// bounded runs what naive made and stops before it has counted more than
// budget.
func (r *rerun) bounded(budget int64, done func()) error {
	_, err := r.run(func() {
		r.module.ExportedGlobal(countExport).(api.MutableGlobal).Set(uint64(-budget))
	}, naiveStart, done)
	return err
}

var digestSeed = maphash.MakeSeed()

// digest sums up memory and the globals, but for the last: one that counts, and
// behind the meter's own one more.
func (r *rerun) digest() uint64 {
	var h maphash.Hash
	h.SetSeed(digestSeed)
	h.Write(memoryOf(r.module))
	globals := r.module.(experimental.InternalModule)
	own := globals.NumGlobal() - 1
	if r.module.ExportedGlobal(meter.StateExport) != nil {
		own--
	}
	var word [8]byte
	for i := range own {
		binary.LittleEndian.PutUint64(word[:], globals.Global(i).Get())
		h.Write(word[:])
	}
	return h.Sum64()
}

// TestEveryExhaustion runs programs with every budget from nothing to what they
// need. Each run below that ends out of fuel, in a state that counting one by
// one passes through as well and not later than the fuel says; the next budget
// is never exhausted earlier. Given more at that point, it goes on to the same
// result.
func TestEveryExhaustion(t *testing.T) {
	for _, p := range exhaustible {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			module := wasmtest.Assemble(p.text)
			counting, err := naiveBounded(module)
			if err != nil {
				t.Fatal(err)
			}
			metered := newRerun(t, module, p.n, true)
			whole := int64(0)
			if _, err := metered.metered(1<<40, nil, func() { whole = metered.used() }); err != nil {
				t.Fatal(err)
			}
			reference := newRerun(t, counting, p.n, false)
			states := map[uint64][]int64{} // where counting passes through
			budgets := budgetsOf(whole)
			for i, budget := range append(budgets, whole) {
				err := reference.bounded(budget, func() {
					d := reference.digest()
					states[d] = append(states[d], budget)
				})
				if (err == nil) != (i == len(budgets)) {
					t.Fatalf("fuel is %d; counting one by one up to %d: %v", whole, budget, err)
				}
			}
			exhaust(t, metered, whole, p.overrun, budgets, func(digest uint64, used int64) int64 {
				i, _ := slices.BinarySearch(states[digest], used+1)
				if i == 0 {
					return -1
				}
				return states[digest][i-1]
			})
			t.Logf("fuel %d, %d budgets, %d states", whole, len(budgets), len(states))
		})
	}
}

// budgetsOf returns every budget below the whole, or the first and last of them
// and one in a hundredth of the others.
func budgetsOf(whole int64) []int64 {
	const edge = 1000
	var list []int64
	for b := int64(0); b < whole; b++ {
		if whole > 10*edge && b > edge && b < whole-edge && b%(whole/100) != 0 {
			continue
		}
		list = append(list, b)
	}
	return list
}

// exhaust runs with every budget, which is overrun by at most most. place returns where the reference is in a
// state, at most at used, or -1.
func exhaust(t *testing.T, r *rerun, whole, most int64, budgets []int64, place func(digest uint64, used int64) int64) {
	t.Helper()
	var end, latest uint64
	want, err := r.metered(whole, func() error { return errFuel }, func() { end = r.digest() })
	if err != nil || r.budget != whole {
		t.Fatalf("with all of %d: %v", whole, err)
	}
	before := int64(0)
	for _, budget := range budgets {
		overrun, used := int64(0), int64(0)
		_, err := r.metered(budget, func() error { return errFuel }, func() {
			latest, used = r.digest(), r.used()
			overrun = used - budget
		})
		switch {
		case err == nil && used <= budget:
			t.Fatalf("ended with %d of %d", budget, whole)
		case err != nil && !errors.Is(err, errFuel):
			t.Fatalf("with %d: %v", budget, err)
		case overrun <= 0 || overrun > most:
			t.Fatalf("with %d: %d beyond it", budget, overrun)
		}
		at := place(latest, used)
		if at < before {
			t.Fatalf("with %d, %d used: in the state of %d, the budget before in that of %d", budget, used, at, before)
		}
		before = at
		stopped := latest
		got, err := r.metered(budget, func() error {
			if d := r.digest(); d != stopped {
				return fmt.Errorf("with %d: stopped in another state", budget)
			}
			r.budget = whole
			return nil
		}, func() { latest = r.digest() })
		if err != nil || got != want || latest != end {
			t.Fatalf("with %d, then the rest: %d, %v, want %d; same end %v", budget, got, err, want, latest == end)
		}
	}
}

// kernelOverrunMost bounds what a kernel burns between two checks: four times
// through a loop of SHA-256.
const kernelOverrunMost = 1200

// TestKernelsExhaust does the same to C programs at some of their budgets,
// without counting one by one.
func TestKernelsExhaust(t *testing.T) {
	for name, n := range map[string]uint64{"fib": 9, "quicksort": 12, "indirect": 5, "nqueens": 4, "sha256": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, compiler(), kernel(t, name))
			_, whole, err := h.call("run", n)
			if err != nil {
				t.Fatal(err)
			}
			var budgets []int64
			for b := int64(0); b < whole; b += max(1, whole/25) {
				budgets = append(budgets, b)
			}
			exhaust(t, newRerun(t, kernel(t, name), n, true), whole, kernelOverrunMost, budgets, func(uint64, int64) int64 { return 0 })
		})
	}
}

// TestLongFillsStopInTheMiddle is about the one state that counting one by one
// does not pass through: a long bulk operation runs in pieces.
func TestLongFillsStopInTheMiddle(t *testing.T) {
	r := newRerun(t, wasmtest.Assemble(strings.Join([]string{
		"memory 32", "func \"run\" (i32) -> (i32)", "i32.const 100", "i32.const 7", "local.get 0", "memory.fill", "i32.const 1", "end",
	}, "\n")), 2_000_000, true)
	filled := 0
	for budget := int64(0); budget < 250_000; budget += 25_000 {
		_, err := r.metered(budget, func() error { return errFuel }, func() {
			now := strings.Count(string(memoryOf(r.module)), "\x07")
			if now < filled || strings.Count(string(memoryOf(r.module)[100:100+now]), "\x07") != now {
				t.Errorf("with %d: %d bytes are filled, %d with less", budget, now, filled)
			}
			filled = now
		})
		if !errors.Is(err, errFuel) {
			t.Fatalf("with %d: %v", budget, err)
		}
	}
	if filled == 0 || filled == 2_000_000 {
		t.Errorf("%d bytes were filled before the last exhaustion", filled)
	}
}
