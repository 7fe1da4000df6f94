package meter_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
)

const (
	// calibrateOpenings is how often each probe is compiled: where code comes to
	// lie now and then makes it slow. calibratePasses is how often each is then
	// timed, after all others, calibrateNanos how long it runs at least.
	calibrateOpenings = 3
	calibratePasses   = 7
	calibrateNanos    = 200_000
)

// unitProbe is what others are compared with, in one chain: the fuel of an
// addition and of its operand.
const unitProbe = "i32.add"

// BenchmarkCostTable compares the time of every class of instructions with its
// fuel and writes the table to BENCHMARKS.md with -rewrite: make calibrate. It
// takes the least processor time of several passes.
func BenchmarkCostTable(b *testing.B) {
	probes := append(operatorProbes(), specialProbes()...)
	for b.Loop() {
		least := openCalibration(b, probes)
		least.time()
		for range calibrateOpenings - 1 {
			c := openCalibration(b, probes)
			c.time()
			for i, s := range c.subjects {
				least.subjects[i].nanos = min(least.subjects[i].nanos, s.nanos)
			}
			c.close()
		}
		least.report()
		least.close()
	}
}

// freshRounds is how many rounds a probe has that needs an instance for itself.
const freshRounds = 512

// subject is a probe that is ready to run.
type subject struct {
	probe
	calibration *calibration
	compiled    wazero.CompiledModule
	// run is nil where each run needs an instance for itself.
	run    api.Function
	rounds uint64
	// nanos is the least time of a round, fuel what a round burns.
	nanos, fuel float64
}

type calibration struct {
	b        *testing.B
	ctx      context.Context
	runtime  wazero.Runtime
	subjects []*subject
	// empty is the loop without anything in it.
	empty *subject
}

func openCalibration(b *testing.B, probes []probe) *calibration {
	c := &calibration{b: b, ctx: experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(mapMemory))}
	c.runtime = wazero.NewRuntimeWithConfig(c.ctx, compiler().WithCoreFeatures(features))
	i32 := []api.ValueType{api.ValueTypeI32}
	_, err := c.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), i32, i32).Export("host").Instantiate(c.ctx)
	if err != nil {
		b.Fatal(err)
	}
	c.empty = c.open(probe{name: "nothing", ops: 1, value: wasm.I32})
	c.subjects = append(c.subjects, c.empty)
	for _, p := range probes {
		c.subjects = append(c.subjects, c.open(p))
	}
	return c
}

func (c *calibration) close() {
	if err := c.runtime.Close(c.ctx); err != nil {
		c.b.Fatal(err)
	}
}

func (c *calibration) time() {
	for range calibratePasses {
		for _, s := range c.subjects {
			s.time()
		}
	}
}

func (c *calibration) open(p probe) *subject {
	module := wasmtest.Assemble(p.text())
	s := &subject{probe: p, calibration: c, rounds: 1, fuel: roundFuel(c.b, module, p.pages)}
	var err error
	if s.compiled, err = c.runtime.CompileModule(c.ctx, module); err != nil {
		c.b.Fatalf("%s: %v", p.name, err)
	}
	if p.fresh {
		s.rounds = freshRounds
		return s
	}
	instance := s.instance()
	if p.prepare != nil {
		p.prepare(instance.Memory())
	}
	for s.run = instance.ExportedFunction("run"); s.call() < calibrateNanos; s.rounds *= 2 {
	}
	return s
}

func (s *subject) instance() api.Module {
	instance, err := s.calibration.runtime.InstantiateModule(s.calibration.ctx, s.compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		s.calibration.b.Fatalf("%s: %v", s.name, err)
	}
	return instance
}

// call returns the processor time of the rounds, in nanoseconds.
func (s *subject) call() int64 {
	c, run := s.calibration, s.run
	if s.fresh {
		instance := s.instance()
		defer instance.Close(c.ctx)
		run = instance.ExportedFunction("run")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s.warm > 0 {
		if _, err := run.Call(c.ctx, s.warm); err != nil {
			c.b.Fatalf("%s: %v", s.name, err)
		}
	}
	begin := threadTime(c.b)
	if _, err := run.Call(c.ctx, s.rounds); err != nil {
		c.b.Fatalf("%s: %v", s.name, err)
	}
	return threadTime(c.b) - begin
}

// time keeps the least time of a round.
func (s *subject) time() {
	if nanos := float64(s.call()) / float64(s.rounds); s.nanos == 0 || nanos < s.nanos {
		s.nanos = nanos
	}
}

// mappedBytes is what a probe's memory may grow to, unless it begins larger.
const mappedBytes = 64 << 20

// mapped is a memory whose pages are fresh from the system, as the sandbox's.
type mapped []byte

func mapMemory(begin, most uint64) experimental.LinearMemory {
	b, err := unix.Mmap(-1, 0, int(max(begin, min(most, mappedBytes))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		panic(err)
	}
	return mapped(b)
}

func (m mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m)) {
		return nil
	}
	return m[:size:size]
}

func (m mapped) Free() {
	if err := unix.Munmap(m); err != nil {
		panic(err)
	}
}

// roundFuel is what a round burns on average.
func roundFuel(b *testing.B, module []byte, pages int) float64 {
	h, err := openHost(interpreter(), module)
	if err != nil {
		b.Fatal(err)
	}
	defer h.close()
	rounds := uint64(64)
	if pages > 16 {
		rounds = 2
	}
	burn := func(rounds uint64) int64 {
		_, fuel, err := h.call("run", rounds)
		if err != nil {
			b.Fatal(err)
		}
		return fuel
	}
	few := burn(rounds)
	return float64(burn(2*rounds)-few) / float64(rounds)
}

func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}
