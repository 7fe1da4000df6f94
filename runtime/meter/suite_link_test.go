package meter_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// errRefused wraps lint's refusal of a module of the suite.
var errRefused = errors.New("refused by lint")

// linker instantiates the modules of one script, which import one another.
type linker interface {
	instantiate(module []byte, name string) (api.Module, error)
	// begin prepares a call, spent is the fuel since then.
	begin()
	spent() int64
	close()
}

// plainLinker takes modules as they are.
type plainLinker struct {
	ctx     context.Context
	runtime wazero.Runtime
}

func newPlainLinker(config wazero.RuntimeConfig, features api.CoreFeatures) *plainLinker {
	ctx := context.Background()
	return &plainLinker{ctx, wazero.NewRuntimeWithConfig(ctx, suiteConfig(config, features))}
}

// suiteConfig leaves debug information out: with it wazero refuses some custom
// sections that the specification ignores.
func suiteConfig(config wazero.RuntimeConfig, features api.CoreFeatures) wazero.RuntimeConfig {
	return config.WithCoreFeatures(features).WithDebugInfoEnabled(false)
}

func (l *plainLinker) instantiate(module []byte, name string) (api.Module, error) {
	return l.runtime.InstantiateWithConfig(l.ctx, module, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
}

func (l *plainLinker) begin()       {}
func (l *plainLinker) spent() int64 { return 0 }
func (l *plainLinker) close()       { _ = l.runtime.Close(l.ctx) }

// meteredLinker lints and rewrites modules. Each instance has its own state,
// and to each the others are what the host is: a call that crosses from one to
// the other finds the state that belongs to the code that it reaches.
type meteredLinker struct {
	plainLinker
	states  []api.MutableGlobal
	granted int64
}

// The fuel that a call of the suite has, and of its call stack.
const (
	suiteSlice = 1 << 20
	suiteStack = 8 << 20
)

func newMeteredLinker(config wazero.RuntimeConfig) (*meteredLinker, error) {
	l := &meteredLinker{plainLinker: *newPlainLinker(config, features)}
	i32 := api.ValueTypeI32
	_, err := l.runtime.NewHostModuleBuilder(meter.ImportModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(l.refill), nil, nil).Export(meter.RefillFunc).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(grant), []api.ValueType{i32, i32, i32}, []api.ValueType{i32}).Export(meter.TableGrowFunc).
		Instantiate(l.ctx)
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// grant lets every table grow as far as the engine does.
func grant(context.Context, []uint64) {}

func (l *meteredLinker) refill(_ context.Context, m api.Module, _ []uint64) {
	state := m.ExportedGlobal(meter.StateExport).(api.MutableGlobal)
	fuel, stack := meter.Unpack(state.Get())
	if stack < 0 {
		panic(errStack)
	}
	for fuel < 0 {
		fuel += suiteSlice
		l.granted += suiteSlice
	}
	state.Set(meter.Pack(fuel, stack))
}

func (l *meteredLinker) instantiate(module []byte, name string) (api.Module, error) {
	if _, err := lint.Check(module, lint.Default()); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	r, err := meter.Rewrite(module)
	if err != nil {
		return nil, err
	}
	m, err := l.plainLinker.instantiate(r.Module, name)
	if err != nil {
		return nil, err
	}
	l.states = append(l.states, m.ExportedGlobal(meter.StateExport).(api.MutableGlobal))
	l.begin()
	if start := m.ExportedFunction(meter.StartExport); start != nil {
		if _, err := start.Call(l.ctx); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (l *meteredLinker) begin() {
	l.granted = 0
	for _, s := range l.states {
		s.Set(meter.Pack(0, suiteStack))
	}
}

// spent sums over all instances, because a call may cross from one to another.
func (l *meteredLinker) spent() int64 {
	spent := l.granted
	for _, s := range l.states {
		fuel, _ := meter.Unpack(s.Get())
		spent -= int64(fuel)
	}
	return spent
}

// countingLinker counts every instruction, in each instance for itself: see
// naive.
type countingLinker struct {
	plainLinker
	counts []api.Global
	before int64
}

func newCountingLinker(config wazero.RuntimeConfig) *countingLinker {
	return &countingLinker{plainLinker: *newPlainLinker(config, features)}
}

func (l *countingLinker) instantiate(module []byte, name string) (api.Module, error) {
	if _, err := lint.Check(module, lint.Default()); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	b, err := naive(module)
	if err != nil {
		return nil, err
	}
	m, err := l.plainLinker.instantiate(b, name)
	if err != nil {
		return nil, err
	}
	l.counts = append(l.counts, m.ExportedGlobal(countExport))
	if start := m.ExportedFunction(naiveStart); start != nil {
		if _, err := start.Call(l.ctx); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (l *countingLinker) begin() { l.before += l.spent() }

func (l *countingLinker) spent() int64 {
	spent := -l.before
	for _, c := range l.counts {
		spent += int64(c.Get())
	}
	return spent
}
