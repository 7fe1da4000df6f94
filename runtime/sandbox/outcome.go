package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/scratch"
	"github.com/dugnad/dugnad/runtime/task"
)

// stop is the panic by which a host function ends an attempt.
type stop struct {
	kind    task.Kind
	trap    task.TrapKind
	message string
	// limit names the limit that was hit, if any.
	limit string
	max   uint64
}

func (s *stop) Error() string { return s.message }

// outcome says how the attempt ended, given what the call returned.
func (r *run) outcome(err error) task.Outcome {
	o := r.ending(err)
	if r.book.exceeded() && o.Kind != task.Refused && o.Kind != task.MemoryLimit {
		// The guest ended between two checks, beyond its budget.
		s := r.outOfFuel()
		o = task.Outcome{Kind: s.kind, Message: s.message, Stack: o.Stack}
		r.hit(s.limit, s.max)
	}
	if r.memory.hit {
		r.hit("memory", r.limits.MemoryBytes)
	}
	if r.memory.tableHit {
		r.hit("table-entries", tableEntriesMax)
	}
	if r.scratch != nil {
		if name, hit := r.scratch.LimitHit(); hit {
			r.hit(name, scratchMax(name, r.limits))
			o = scratchEnding(o, name)
		}
	}
	o.LimitsHit = r.hits
	if o.Message == "" && len(r.hits) > 0 {
		o.Message = fmt.Sprintf("the guest ran into its %s limit of %d", r.hits[0].Name, r.hits[0].Max)
	}
	o.Usage = task.Usage{
		Fuel:            min(r.book.used(), r.book.budget),
		MemoryPeakBytes: r.memory.peak,
		CPUTime:         r.cpu.total,
		OutputBytes:     r.outputBytes,
	}
	if o.Kind == task.Refused || o.Kind == task.MemoryLimit {
		o.Usage.Fuel, o.Usage.MemoryPeakBytes = 0, 0
	}
	return o
}

// scratchEnding is how an attempt ended that had the given limit of its scratch
// file system refused something: when that was room and the guest did not end
// well, ScratchLimit instead of what its language made of it.
func scratchEnding(o task.Outcome, limit string) task.Outcome {
	var end string
	switch {
	case limit != scratch.LimitBytes && limit != scratch.LimitFiles:
		return o
	case o.Kind == task.Exited && o.ExitCode != 0:
		end = fmt.Sprintf("exited with %d", o.ExitCode)
	case o.Kind == task.Trapped && o.Trap.Kind != task.TrapStack:
		end = "trapped: " + o.Message
	default:
		return o
	}
	return task.Outcome{Kind: task.ScratchLimit, Stack: o.Stack, Message: "the guest filled its scratch space and " + end}
}

func scratchMax(name string, l task.Limits) uint64 {
	switch name {
	case scratch.LimitFiles:
		return l.ScratchFiles
	case scratch.LimitHandles:
		return l.OpenFiles
	}
	return l.ScratchBytes
}

func (r *run) ending(err error) task.Outcome {
	if err == nil {
		return task.Outcome{Kind: task.Exited}
	}
	var exited *sys.ExitError
	if errors.As(err, &exited) {
		return task.Outcome{Kind: task.Exited, ExitCode: exited.ExitCode()}
	}
	text := err.Error()
	message, stack := splitStack(text)
	frames := r.frames(stack)
	var s *stop
	if !errors.As(err, &s) {
		s = r.trapOf(message)
		r.book.burn()
	}
	if s.limit != "" {
		r.hit(s.limit, s.max)
	}
	o := task.Outcome{Kind: s.kind, Message: s.message, Stack: frames}
	if s.kind == task.Trapped {
		o.Trap = &task.Trap{Kind: s.trap, Message: s.message}
	}
	return o
}

// traps are wazero's words for what a guest may do wrong. The first that the
// message ends in counts.
var traps = []struct {
	words string
	kind  task.TrapKind
}{
	{"unreachable", task.TrapUnreachable},
	{"out of bounds memory access", task.TrapMemory},
	{"invalid table access", task.TrapTable},
	{"out of bounds table access", task.TrapTable},
	{"indirect call type mismatch", task.TrapIndirectCallType},
	{"integer divide by zero", task.TrapDivideByZero},
	{"integer overflow", task.TrapIntegerOverflow},
	{"invalid conversion to integer", task.TrapConversion},
}

func (r *run) trapOf(message string) *stop {
	if strings.HasSuffix(message, "stack overflow") {
		return r.stackStop()
	}
	message = strings.TrimPrefix(message, "wasm error: ")
	for _, t := range traps {
		if strings.HasSuffix(message, t.words) {
			return &stop{kind: task.Trapped, trap: t.kind, message: message}
		}
	}
	return &stop{kind: task.Trapped, trap: task.TrapOther, message: shorten(message)}
}

const stackMark = "wasm stack trace:"

// splitStack parts an engine's error text into its first line and the lines of
// its stack trace.
func splitStack(text string) (message string, stack []string) {
	message, rest, found := strings.Cut(text, "\n"+stackMark+"\n\t")
	if found {
		rest, _, _ = strings.Cut(rest, "\n\nGo runtime stack trace:")
		stack = strings.Split(rest, "\n\t")
	}
	message, _, _ = strings.Cut(message, "\n")
	return strings.TrimSuffix(message, " (recovered by wazero)"), stack
}

// frameForm is a line of wazero's stack trace: name, parameters, results. A name
// may end like a list of parameters, so the name is as short as possible.
var frameForm = regexp.MustCompile(`^(.*?)\((?:(?:i32|i64|f32|f64|v128|funcref|externref),?)*\)` +
	`(?: (?:i32|i64|f32|f64|v128|funcref|externref|\((?:(?:i32|i64|f32|f64|v128|funcref|externref),?)*\)))?$`)

// The frames of a deep stack that are kept.
const (
	framesInner = 64
	framesOuter = 16
)

// frames makes the engine's stack trace readable: without the meter's own
// functions, and numbered as in the module before metering.
func (r *run) frames(lines []string) []task.Frame {
	var frames []task.Frame
	prefix := r.module.compiled.Name() + "."
	for _, line := range lines {
		form := frameForm.FindStringSubmatch(line)
		if form == nil {
			if strings.HasPrefix(line, "...") {
				frames = append(frames, task.Frame{Function: "… and more"})
			}
			continue
		}
		name := strings.TrimPrefix(form[1], prefix)
		if strings.HasPrefix(name, meter.ReservedPrefix+".") {
			continue
		}
		frames = append(frames, task.Frame{Function: shorten(r.renumber(name))})
	}
	if extra := len(frames) - framesInner - framesOuter; extra > 0 {
		more := task.Frame{Function: fmt.Sprintf("… %d more", extra)}
		frames = append(append(frames[:framesInner:framesInner], more), frames[framesInner+extra:]...)
	}
	return frames
}

// renumber turns "$N" into the number that the function had before metering.
func (r *run) renumber(name string) string {
	digits, ok := strings.CutPrefix(name, "$")
	if !ok {
		return name
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < r.module.image.FunctionShift {
		return name
	}
	return "$" + strconv.Itoa(n-r.module.image.FunctionShift)
}
