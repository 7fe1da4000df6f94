package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/scratch"
	"github.com/dugnad/dugnad/runtime/task"
)

// Streams are a guest's standard streams. A nil reader is at its end, a nil
// writer takes everything.
//
// A read or write that blocks is abandoned when the attempt's time is up: the
// goroutine that made it lives on until the call returns. A stream with
// ReadContext or WriteContext is called with a context instead, and waited for.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Interactive lets a read of stdin return what has arrived. Otherwise a
	// read fills its buffer unless stdin ends, so that neither results nor
	// fuel depend on when bytes arrive. RealClock implies it.
	Interactive bool
	// Notice reports whether the attempt will be ended soon to make room for others; nil
	// is never. The guest reads so from /dev/notice.
	Notice func() bool
	// Outbound makes the guest's HTTP requests; nil refuses them.
	Outbound Outbound
}

// ContextReader is a reader that gives up when ctx ends.
type ContextReader interface {
	ReadContext(ctx context.Context, p []byte) (int, error)
}

// ContextWriter is a writer that gives up when ctx ends. It must not keep p.
type ContextWriter interface {
	WriteContext(ctx context.Context, p []byte) (int, error)
}

// run is one attempt. Only the goroutine that called Run touches it.
type run struct {
	// ctx ends at the deadline, or with the caller's context.
	ctx    context.Context
	caller context.Context
	module *Module
	spec   *task.Spec
	limits task.Limits
	book   book
	pace   pace
	// throttle may be nil; frozen is what it was frozen for when the attempt began.
	throttle *Throttle
	frozen   time.Duration
	memory   memory
	cpu      cpuMeter
	clock    clock
	random   io.Reader
	files    descriptors
	stdin    input
	stdout   output
	stderr   output
	notice   func() bool
	scratch  *scratch.FS
	outbound requests
	instance api.Module

	outputBytes uint64
	hits        []task.LimitHit
	// errno is the WASI error number of a failed write, for takeErrno.
	errno uint16
}

// Run runs the module's _start, or its _initialize when it has no _start. It
// never panics and returns when the guest has ended, at the deadline, or soon
// after ctx ends.
func (m *Module) Run(ctx context.Context, spec task.Spec, streams Streams) task.Outcome {
	if m.entry == "" {
		return task.Outcome{Kind: task.Refused, Message: m.entryErr}
	}
	_, outcome := m.RunExport(ctx, spec, streams, m.entry)
	return outcome
}

// RunExport runs the exported function name with args, after _initialize when
// the module has one. The results are valid when the outcome is Exited with 0.
func (m *Module) RunExport(ctx context.Context, spec task.Spec, streams Streams, name string, args ...uint64) ([]uint64, task.Outcome) {
	if !m.enter() {
		return nil, task.Outcome{Kind: task.Refused, Message: ErrClosed.Error()}
	}
	defer m.leave()
	if err := spec.Validate(); err != nil {
		return nil, task.Outcome{Kind: task.Refused, Message: err.Error()}
	}
	if wants := m.plan.wantsHTTP; wants != "" && spec.HTTP == nil {
		return nil, task.Outcome{Kind: task.Refused, Message: fmt.Sprintf(errCapability, abi.Module, wants, abi.CapabilityHTTP)}
	}
	r := &run{caller: ctx, module: m, spec: &spec, limits: spec.Limits.WithDefaults(), throttle: m.engine.config.Throttle}
	begin := time.Now()
	r.clock, r.frozen = clock{real: spec.RealClock, begin: begin}, r.throttle.Frozen()
	limited, cancel := r.limit(ctx)
	defer cancel()
	r.ctx = limited
	// A task that is shorter than a portion is held up here alone.
	r.throttle.wait(r.ctx)
	r.prepare(streams)
	defer r.close()

	r.cpu.resume()
	results, err := r.call(name, args)
	r.cpu.pause()

	outcome := r.outcome(err)
	outcome.Usage.WallTime = time.Since(begin)
	return results, outcome
}

// prepare fills in what needs no system call.
func (r *run) prepare(streams Streams) {
	r.book = newBook(&hostCell{}, r.limits.Fuel, r.module.engine.config.SliceFuel)
	r.memory = memory{limit: r.limits.MemoryBytes, tables: r.module.plan.tableEntries * TableEntryBytes}
	r.memory.pool = r.module.engine.pool
	r.memory.timeUp = func() bool { return r.timeUp() != nil }
	r.memory.payable = r.payable
	r.memory.note()
	r.grant()
	r.random = newRandom(r.spec)
	r.files = newDescriptors()
	r.stdin = input{run: r, source: streams.Stdin, short: streams.Interactive || r.spec.RealClock}
	r.stdout = output{run: r, target: streams.Stdout}
	r.stderr = output{run: r, target: streams.Stderr}
	r.notice = streams.Notice
	r.outbound = requests{outbound: streams.Outbound}
}

// close frees what the attempt held. The instance goes first: it refers to the
// memory and the files.
func (r *run) close() {
	r.outbound.close()
	if r.instance != nil {
		_ = r.instance.Close(context.Background())
	}
	if r.scratch != nil {
		_ = r.scratch.Close()
	}
	r.memory.release()
}

// call instantiates the module and calls one function of it. The error is a
// *stop, a *exit of the guest, or what the engine says of a trap.
func (r *run) call(name string, args []uint64) (results []uint64, err error) {
	defer func() {
		// The engine turns panics in guest calls into errors; this is for
		// those before the first.
		if v := recover(); v != nil {
			results, err = nil, asError(v)
		}
	}()
	if err := r.instantiate(); err != nil {
		return nil, err
	}
	for _, before := range []string{meter.StartExport, "_initialize"} {
		if before == name || (before == "_initialize" && name == "_start") {
			continue
		}
		if f := r.instance.ExportedFunction(before); f != nil {
			if _, err := f.Call(r.ctx); err != nil {
				return nil, err
			}
		}
	}
	f := r.instance.ExportedFunction(name)
	if f == nil {
		return nil, &stop{kind: task.Refused, message: fmt.Sprintf("the module exports no function %q, only %s",
			shorten(name), listNames(r.module.plan.exports, 10))}
	}
	if got, want := len(args), len(f.Definition().ParamTypes()); got != want {
		return nil, &stop{kind: task.Refused, message: fmt.Sprintf("the function %q takes %d arguments, not %d", shorten(name), want, got)}
	}
	return f.Call(r.ctx, args...)
}

// baseConfig is what all instances have in common: they have no name, and
// what they run is called one by one.
var baseConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions()

// instantiate checks what the module needs from the start, charges it, and
// creates the instance.
func (r *run) instantiate() error {
	p := r.module.plan
	if need := p.memoryMin + r.memory.tables; need > r.memory.limit {
		r.memory.hit = true
		return &stop{kind: task.MemoryLimit, message: fmt.Sprintf(
			"the module needs %d bytes of memory to start, the limit is %d", need, r.memory.limit)}
	}
	r.charge(r.module.image.StartFuel)
	r.check()
	if err := r.memory.reserve(p.memoryMax); err != nil {
		return &stop{kind: task.Refused, message: err.Error()}
	}
	if p.hasMemory && r.memory.Reallocate(p.memoryMin) == nil {
		// The engine would panic.
		r.check()
		return &stop{kind: task.MemoryLimit, message: fmt.Sprintf(
			"the host has no %d bytes of memory for the module to start", p.memoryMin)}
	}
	if err := r.openScratch(); err != nil {
		return &stop{kind: task.Refused, message: err.Error()}
	}
	fs := wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(rootFS{r.scratch, r}, "/")
	// The engine's default source of randomness takes longer to seed than a
	// small module takes to run.
	config := baseConfig.WithFSConfig(fs).WithRandSource(r.random).
		WithStdin(&r.stdin).WithStdout(&r.stdout).WithStderr(&r.stderr)
	r.ctx = context.WithValue(experimental.WithMemoryAllocator(r.ctx, &r.memory), runKey{}, r)
	instance, err := r.module.engine.runtime.InstantiateModule(r.ctx, r.module.compiled, config)
	if err != nil {
		return err
	}
	r.instance = instance
	if state, ok := instance.ExportedGlobal(meter.StateExport).(api.MutableGlobal); ok {
		r.book.move(state, int32(min(r.limits.StackBytes, math.MaxInt32)))
	}
	return nil
}

// charge takes fuel and looks around when the portion is used up. It does not
// return when the attempt must end.
func (r *run) charge(fuel uint64) {
	if r.book.take(fuel) {
		r.refill()
	}
}

// refill ends a portion of a slice: it books the fuel, looks at budget, deadline
// and cancellation, lets others run, rests when the process has used more than its
// share, and grants the next portion.
func (r *run) refill() {
	if r.book.exceeded() {
		panic(r.outOfFuel())
	}
	if r.book.stackLeft() < 0 {
		panic(r.stackStop())
	}
	r.check()
	r.cpu.pause()
	runtime.Gosched()
	r.rest()
	r.grant()
	r.cpu.resume()
}

// rest waits while the process has used more than its share, and ends the attempt
// when its time is up meanwhile. Processor time is not counted.
func (r *run) rest() {
	if r.throttle == nil || !r.throttle.bound.Load() {
		return
	}
	r.throttle.wait(r.ctx)
	if s := r.timeUp(); s != nil {
		r.cpu.resume()
		panic(s)
	}
}

// grant gives out the next portion, while processor time is not counted.
func (r *run) grant() {
	r.book.grant(r.pace.next(r.book.used(), r.cpu.total, r.left(), r.book.slice))
}

// check ends the attempt when its time is up. The clock is read besides the
// context because the timer's goroutine may not have had its turn.
func (r *run) check() {
	if s := r.timeUp(); s != nil {
		panic(s)
	}
}

func (r *run) timeUp() *stop {
	if err := r.caller.Err(); err != nil {
		return &stop{kind: task.Cancelled, message: "the caller cancelled the task"}
	}
	if r.left() <= 0 || r.ctx.Err() != nil {
		return &stop{
			kind: task.DeadlineExceeded, limit: "timeout", max: uint64(r.limits.Timeout),
			message: fmt.Sprintf("the time limit of %s has passed", r.limits.Timeout),
		}
	}
	return nil
}

func (r *run) outOfFuel() *stop {
	return &stop{
		kind: task.OutOfFuel, limit: "fuel", max: r.limits.Fuel,
		message: fmt.Sprintf("the fuel limit of %d is used up", r.limits.Fuel),
	}
}

func (r *run) stackStop() *stop {
	return &stop{
		kind: task.Trapped, trap: task.TrapStack, limit: "stack", max: r.limits.StackBytes,
		message: fmt.Sprintf("calls nest deeper than %d bytes of stack", r.limits.StackBytes),
	}
}

// payable is how many bytes of memory the rest of the budget could pay for. What
// an instance begins with is paid before it is made.
func (r *run) payable() uint64 {
	if r.instance == nil {
		return math.MaxUint64
	}
	return (r.book.budget - min(r.book.booked, r.book.budget)) / meter.PageFuel * PageBytes
}

// wait lets the guest's thread go while f waits.
func (r *run) wait(f func()) {
	r.cpu.pause()
	defer r.cpu.resume()
	f()
}

// await waits for ready, or ends the attempt when its time is up.
func (r *run) await(ready <-chan struct{}) {
	r.wait(func() {
		select {
		case <-ready:
		case <-r.ctx.Done():
		}
	})
	select {
	case <-ready:
	default:
		r.check()
	}
}

// hit notes that the guest ran into a limit, once for each name.
func (r *run) hit(name string, limit uint64) {
	for _, h := range r.hits {
		if h.Name == name {
			return
		}
	}
	r.hits = append(r.hits, task.LimitHit{Name: name, Max: limit})
}

func asError(v any) error {
	if err, ok := v.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(v))
}
