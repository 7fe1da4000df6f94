package meter_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
)

// suiteFeatures are what a suite needs of the engine.
var suiteFeatures = map[string]api.CoreFeatures{
	"v1":                        features,
	"v2":                        api.CoreFeaturesV2,
	"extended-const":            features,
	"exception-handling":        api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesTypedFunctionReferences,
	"tail-call":                 api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall,
	"threads":                   api.CoreFeaturesV2 | experimental.CoreFeaturesThreads,
	"typed-function-references": api.CoreFeaturesV2 | experimental.CoreFeaturesTypedFunctionReferences | experimental.CoreFeaturesTailCall,
}

// engines are the two ways in which wazero runs code.
var engines = []struct {
	name   string
	config func() wazero.RuntimeConfig
}{{"compiler", compiler}, {"interpreter", interpreter}}

// tally counts the assertions of a suite.
type tally struct {
	mu sync.Mutex
	// total counts assertions, textual those whose module is text, plain those
	// that hold without metering, metered those of them that hold with it,
	// counted the calls whose fuel was counted one by one as well.
	total, textual, plain, metered, counted int
	// refused counts those that hold plain and are about a module that lint
	// refuses, or about one that imports such a module, by lint's reason.
	// modules counts the modules themselves.
	refused map[string]int
	modules map[string]int
	// plainFailed names what does not hold without metering either.
	plainFailed []string
}

func newTally() *tally { return &tally{refused: map[string]int{}, modules: map[string]int{}} }

func (t *tally) String() string {
	var refused []string
	for _, reason := range slices.Sorted(maps.Keys(t.modules)) {
		refused = append(refused, fmt.Sprintf("%s (%d of the modules, %d assertions)", reason, t.modules[reason], t.refused[reason]))
	}
	if refused == nil {
		refused = []string{"nothing"}
	}
	return fmt.Sprintf("%d assertions, %d on text; hold plain: %d, hold metered: %d, fuel counted: %d; lint refuses: %s",
		t.total, t.textual, t.plain, t.metered, t.counted, strings.Join(refused, ", "))
}

func (t *tally) add(u *tally) {
	t.total, t.textual, t.plain, t.metered = t.total+u.total, t.textual+u.textual, t.plain+u.plain, t.metered+u.metered
	t.counted += u.counted
	for reason, n := range u.refused {
		t.refused[reason] += n
	}
	for reason, n := range u.modules {
		t.modules[reason] += n
	}
}

// TestCoreSuite runs the WebAssembly core test suite plain and metered, on the
// compiler and on the interpreter: every assertion that holds plain holds
// metered, traps are of the same kind, the fuel does not depend on the engine
// and is that of counting one by one wherever no module imports another, and memories and globals end up the same. DUGNAD_SUITE=whole runs all of it;
// otherwise it is one script in suiteSample.
func TestCoreSuite(t *testing.T) {
	whole := os.Getenv("DUGNAD_SUITE") == "whole"
	if _, err := wasmtest.SuiteDir(); errors.Is(err, wasmtest.ErrNoSuite) && !whole {
		t.Skip(err)
	}
	sum := newTally()
	for _, suite := range wasmtest.Suites {
		scripts, err := wasmtest.Suite(suite)
		if err != nil {
			t.Fatal(err)
		}
		if !whole {
			scripts = sample(scripts)
		}
		count := newTally()
		t.Run(suite, func(t *testing.T) {
			for i := range scripts {
				t.Run(strings.TrimPrefix(scripts[i].Name, suite+"/"), func(t *testing.T) {
					t.Parallel()
					compareScript(t, &scripts[i], suiteFeatures[suite], count)
				})
			}
		})
		t.Logf("%-26s %3d scripts, %v", suite, len(scripts), count)
		for _, f := range count.plainFailed {
			t.Logf("%-26s does not hold plain either: %s", suite, f)
		}
		sum.add(count)
	}
	t.Logf("%-26s %v", "all suites", sum)
	if whole && sum.total != suiteAssertions {
		t.Errorf("%d assertions, want %d: has wazero another copy of the suite?", sum.total, suiteAssertions)
	}
	if sum.plain < sum.total/2 || sum.metered < sum.plain/2 {
		t.Errorf("too few assertions were run: %v", sum)
	}
}

// suiteAssertions is the number of assertions of all suites in wazero 1.12.
const suiteAssertions = 72_365

// suiteSample is the part of the scripts that a run of all tests performs.
const suiteSample = 6

func sample(scripts []wasmtest.Script) []wasmtest.Script {
	var kept []wasmtest.Script
	for i, s := range scripts {
		if i%suiteSample == 0 || strings.HasSuffix(s.Name, "/linking") || strings.HasSuffix(s.Name, "/table_grow") {
			kept = append(kept, s)
		}
	}
	return kept
}

// compareScript performs a script four times and compares.
func compareScript(t *testing.T, script *wasmtest.Script, features api.CoreFeatures, count *tally) {
	var runs [2][2]*performance // by engine, plain and metered
	for i, engine := range engines {
		metered, err := newMeteredLinker(engine.config())
		if err != nil {
			t.Fatal(err)
		}
		for k, l := range []linker{newPlainLinker(engine.config(), features), metered} {
			defer l.close()
			if runs[i][k], err = perform(script, l); err != nil {
				t.Fatal(err)
			}
		}
	}
	counting := newCountingLinker(compiler())
	defer counting.close()
	counted, err := perform(script, counting)
	if err != nil {
		t.Fatal(err)
	}
	count.mu.Lock()
	defer count.mu.Unlock()
	complete, alone := true, !slices.ContainsFunc(script.Commands, registers)
	for i := range script.Commands {
		c := &script.Commands[i]
		if complete = compareCommand(t, c, runs, i) && complete; c.Assertion() {
			count.assertion(fmt.Sprintf("%s:%d %s", script.Name, c.Line, c.Type), runs[0][0].verdicts[i], runs[0][1].verdicts[i])
		} else if v := runs[0][1].verdicts[i]; v.kind == refused && c.Binary() {
			count.modules[v.detail]++
		}
		if alone {
			count.counted += compareFuel(t, c, runs[0][1].verdicts[i], counted.verdicts[i])
		}
	}
	if complete {
		for i, engine := range engines {
			compareEnds(t, engine.name, runs[i][0], runs[i][1])
		}
	}
}

func (t *tally) assertion(what string, plain, metered verdict) {
	t.total++
	switch {
	case plain.kind == textual:
		t.textual++
	case plain.kind != passed:
		t.plainFailed = append(t.plainFailed, what+": "+plain.detail)
	case metered.kind == refused:
		t.plain++
		t.refused[metered.detail]++
	case metered.kind == passed:
		t.plain++
		t.metered++
	default:
		t.plain++
	}
}

// compareCommand reports whether a command was done by all performances.
func compareCommand(t *testing.T, c *wasmtest.Command, runs [2][2]*performance, i int) (done bool) {
	t.Helper()
	done = true
	for k, engine := range engines {
		plain, metered := runs[k][0].verdicts[i], runs[k][1].verdicts[i]
		if plain.kind != passed || metered.kind == refused {
			done = false
			continue
		}
		if metered.kind != passed || metered.detail != plain.detail {
			t.Errorf("line %d, %s, %s: holds plain %q, metered %q", c.Line, c.Type, engine.name, plain.detail, metered.detail)
		}
	}
	a, b := runs[0][1].verdicts[i], runs[1][1].verdicts[i]
	if done && c.Type != "assert_exhaustion" && a.fuel != b.fuel {
		t.Errorf("line %d, %s: fuel %d on the compiler, %d on the interpreter", c.Line, c.Type, a.fuel, b.fuel)
	}
	return done
}

// registers reports whether a command lets modules import one another. The fuel
// of a call that crosses from one to another through a table is paid from two
// states, or, when the state goes along with the call, from one and not the
// other: it is not a sum over instances.
func registers(c wasmtest.Command) bool { return c.Type == "register" }

// compareFuel compares the fuel of a command that ended by itself with what
// counting one by one gives, and returns how many commands it compared.
func compareFuel(t *testing.T, c *wasmtest.Command, metered, counted verdict) int {
	t.Helper()
	if c.Type != "action" && c.Type != "assert_return" && c.Type != "module" || metered.kind != passed {
		return 0
	}
	if counted.kind != passed || counted.fuel != metered.fuel {
		t.Errorf("line %d, %s: fuel %d, counted one by one %d %s", c.Line, c.Type, metered.fuel, counted.fuel, counted.detail)
	}
	return 1
}

// compareEnds compares the memories and the exported globals of all modules
// that a script leaves behind.
func compareEnds(t *testing.T, engine string, plain, metered *performance) {
	t.Helper()
	for i, p := range plain.modules {
		m := metered.modules[i]
		if (p == nil) != (m == nil) {
			t.Errorf("%s: module %d exists in one run only", engine, i)
		}
		if p == nil || m == nil {
			continue
		}
		if !slices.Equal(memoryOf(p), memoryOf(m)) {
			t.Errorf("%s: memory of module %d differs", engine, i)
		}
		if a, b := globalsOf(p, p), globalsOf(m, p); !slices.Equal(a, b) {
			t.Errorf("%s: globals of module %d: plain %x, metered %x", engine, i, a, b)
		}
	}
}

// memoryOf returns the whole memory of an instance, nil when it has none.
func memoryOf(m api.Module) []byte {
	// A module without a memory gives a nil pointer in an interface.
	memory := m.Memory()
	if memory == nil || reflect.ValueOf(memory).IsNil() {
		return nil
	}
	b, _ := memory.Read(0, memory.Size())
	return b
}

// globalsOf returns the values of m's globals, exported or not, as far as they
// are numbers and plain, the module before it was metered, has them.
func globalsOf(m, plain api.Module) []uint64 {
	var values []uint64
	for i := range plain.(experimental.InternalModule).NumGlobal() {
		switch g := m.(experimental.InternalModule).Global(i); g.Type() {
		case api.ValueTypeI32, api.ValueTypeI64, api.ValueTypeF32, api.ValueTypeF64:
			values = append(values, g.Get())
		}
	}
	return values
}
