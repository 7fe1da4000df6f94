package meter

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// shape is what the rewriter has to know of a function before it writes it.
type shape struct {
	// exits is set when a conditional branch leads to the function's end.
	exits bool
	// indirect is set when it calls through a table.
	indirect bool
	// calls is set when it calls a function of the module, directly or not.
	calls bool
	// fuel is the sum over all its instructions.
	fuel uint64
	// heightMax is the largest number of operands at the same time.
	heightMax int
	// vectors is set when it has vector instructions.
	vectors bool
}

// body is one of the module's own functions before it is rewritten.
type body struct {
	shape
	// groups counts the groups of locals, which begin at groupsAt.
	groups   uint32
	groupsAt int
	// locals counts locals and parameters.
	locals uint64
	code   wasm.Reader
	// checked is set when the function compares the state at its entry.
	checked bool
}

// scanFunctions reads all bodies once, because how a call is written depends
// on what is called.
func (m *module) scanFunctions() ([]body, error) {
	r, n, err := m.reader(wasm.SectionCode)
	if err != nil {
		return nil, err
	}
	if int(n) != len(m.functionTypes) {
		return nil, fmt.Errorf("%d bodies for %d functions", n, len(m.functionTypes))
	}
	bodies := make([]body, n)
	for i := range bodies {
		size, err := r.U32()
		if err != nil {
			return nil, err
		}
		sub, err := r.Sub(size)
		if err != nil {
			return nil, err
		}
		t := m.types[m.functionTypes[i]]
		if err := m.scanLocals(&bodies[i], sub, t); err != nil {
			return nil, fmt.Errorf("function %d: %w", int(m.importedFuncs)+i, err)
		}
	}
	return bodies, m.scanTogether(bodies)
}

// What is scanned by several goroutines, and by how many.
const (
	crewBytes = 64 << 10 // the least size of all bodies
	crewMax   = 4
)

// scanTogether finds the shapes of functions, each of which depends on nothing
// but its own body. The error is that of the first function that has one.
func (m *module) scanTogether(bodies []body) error {
	s := m.sections[wasm.SectionCode]
	size, crew := s.to-s.from, 1
	if size >= crewBytes {
		crew = min(runtime.GOMAXPROCS(0), crewMax)
	}
	errs := make([]error, crew)
	var wait sync.WaitGroup
	for i, from := 0, 0; i < crew; i++ {
		first := from
		for from < len(bodies) && (i == crew-1 || bodies[from].code.Offset() < s.from+size/crew*(i+1)) {
			from++
		}
		part := bodies[first:from]
		if i == crew-1 {
			errs[i] = m.scanPart(part, first)
			break
		}
		wait.Go(func() { errs[i] = m.scanPart(part, first) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// scanPart scans the module's own functions from first on.
func (m *module) scanPart(part []body, first int) (err error) {
	s := scanner{module: m}
	for i := range part {
		b, t := &part[i], m.types[m.functionTypes[first+i]]
		if b.shape, err = s.scanBody(b.code, len(t.results)); err != nil {
			return fmt.Errorf("function %d: %w", int(m.importedFuncs)+first+i, err)
		}
		b.checked = b.checks(b.locals)
	}
	return nil
}

func (m *module) scanLocals(b *body, r wasm.Reader, t signature) (err error) {
	from := r.Offset()
	if b.groups, err = r.U32(); err != nil {
		return err
	}
	b.groupsAt = r.Offset()
	b.locals = uint64(len(t.params))
	for range b.groups {
		n, err := r.U32()
		if err != nil {
			return err
		}
		if _, err := r.ValType(); err != nil {
			return err
		}
		b.locals += uint64(n)
	}
	if b.locals >= 1<<31 {
		return fmt.Errorf("%d locals at offset %#x", b.locals, from)
	}
	b.code = r
	return nil
}

// The bounds that decide what a function has to check: see DESIGN.md.
const (
	// checkEvery bounds the fuel that is burnt between two checks within one
	// function.
	checkEvery = 4096
	// A function burns at most afterCallLeast fuel, or 1 for each
	// frameBytesPerFuel bytes of its frame, between the return of a call and
	// its own without a check: when a deep stack unwinds, each frame may.
	afterCallLeast, frameBytesPerFuel = 64, 2
	// leafFuel bounds the fuel of a function that need not check at all.
	leafFuel = 64
	// leafFrameBytes bounds the frame of a function that need not count it.
	leafFrameBytes = 1024
	// frameBytes is the part of a frame that every function has.
	frameBytes = 96
)

// frame is an open block during a scan.
type frame struct {
	base            int
	params, results int
}

// scanner walks over a body once, following operand heights in live code.
type scanner struct {
	*module
	shape
	height int
	frames []frame
	dead   bool
	skip   int // blocks opened in dead code
}

// scanBody returns the shape of a body whose locals have been read.
func (s *scanner) scanBody(r wasm.Reader, results int) (shape, error) {
	*s = scanner{module: s.module, frames: append(s.frames[:0], frame{results: results})}
	var in wasm.Instr
	for r.Len() > 0 {
		if !s.dead {
			if err := s.plain(&r); err != nil {
				return shape{}, err
			}
		}
		if s.common(&r) {
			continue
		}
		if err := r.Next(&in); err != nil {
			return shape{}, err
		}
		if len(s.frames) == 0 {
			return shape{}, fmt.Errorf("instruction behind the end at offset %#x", in.Start)
		}
		if err := s.step(&in); err != nil {
			return shape{}, err
		}
	}
	if len(s.frames) != 0 {
		return shape{}, fmt.Errorf("%d blocks without an end", len(s.frames))
	}
	return s.shape, nil
}

// common steps over one of the most frequent instructions that are not plain, and
// reports false when there is another.
func (s *scanner) common(r *wasm.Reader) bool {
	at, depth := r.Offset(), len(s.frames)
	if at >= r.End() || depth == 0 || s.dead && s.skip > 0 {
		return false
	}
	op := wasm.Opcode(s.bytes[at])
	if op == wasm.OpEnd {
		s.dead = false
		s.close(op)
		s.heightMax = max(s.heightMax, s.height)
		r.Skip(1)
		return true
	}
	if s.dead || at+1 >= r.End() {
		return false
	}
	x := s.bytes[at+1]
	switch op {
	case wasm.OpBlock, wasm.OpLoop:
		if x != blockVoid {
			return false
		}
		s.frames = append(s.frames, frame{base: s.height})
	case wasm.OpIf:
		if x != blockVoid || s.height == 0 {
			return false
		}
		s.height--
		s.frames = append(s.frames, frame{base: s.height})
	case wasm.OpBrIf:
		if x >= 0x80 || s.height == 0 {
			return false
		}
		s.height--
		s.exits = s.exits || int(x) == depth-1
	case wasm.OpBr:
		if x >= 0x80 {
			return false
		}
		s.dead = true
	default:
		return false
	}
	s.fuel += uint64(costs[op])
	r.Skip(2)
	return true
}

func (s *scanner) step(in *wasm.Instr) error {
	if s.dead && skipDead(in.Op, &s.skip) {
		return nil
	}
	s.dead = false
	s.fuel += uint64(costs[in.Op])
	s.vectors = s.vectors || in.Op >= 0x200
	s.height += operands(in.Op, in.Info)
	if err := s.control(in); err != nil {
		return err
	}
	if s.height < 0 {
		return errOperand(in.Start)
	}
	s.heightMax = max(s.heightMax, s.height)
	return nil
}

func errOperand(at int) error { return fmt.Errorf("operand missing at offset %#x", at) }

// operands returns by how much an instruction changes the number of operands, but
// for what only its type tells: blocks and calls.
func operands(op wasm.Opcode, info *wasm.Op) int {
	if !info.Special {
		return len(info.Results) - len(info.Params)
	}
	switch op {
	case wasm.OpLocalGet, wasm.OpGlobalGet, wasm.OpRefNull, wasm.OpRefFunc:
		return 1
	case wasm.OpLocalSet, wasm.OpGlobalSet, wasm.OpDrop, wasm.OpBrIf, wasm.OpTableGrow:
		return -1
	case wasm.OpSelect, wasm.OpSelectTyped, wasm.OpTableSet:
		return -2
	case wasm.OpTableFill:
		return -3
	}
	return 0
}

// control follows what opens or closes a block, leaves one, or calls.
func (s *scanner) control(in *wasm.Instr) error {
	switch in.Op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		return s.open(in)
	case wasm.OpElse, wasm.OpEnd:
		s.close(in.Op)
	case wasm.OpBrIf:
		s.exits = s.exits || int(in.X) == len(s.frames)-1
	case wasm.OpBrTable:
		s.exits, s.dead = true, true
	case wasm.OpUnreachable, wasm.OpBr, wasm.OpReturn:
		s.dead = true
	case wasm.OpCall:
		return s.call(in)
	case wasm.OpCallIndirect:
		if int(in.X) >= len(s.types) {
			return fmt.Errorf("type %d of %d", in.X, len(s.types))
		}
		s.calls, s.indirect = true, true
		s.apply(s.types[in.X], 1)
	}
	return nil
}

// apply pops a call's operands and extra ones, and pushes its results.
func (s *scanner) apply(t signature, extra int) {
	s.height += len(t.results) - len(t.params) - extra
}

func (s *scanner) call(in *wasm.Instr) error {
	if in.X < s.importedFuncs {
		t, err := s.importedType(in.X)
		s.apply(t, 0)
		return err
	}
	own := in.X - s.importedFuncs
	if int(own) >= len(s.functionTypes) {
		return fmt.Errorf("function %d of %d", in.X, int(s.importedFuncs)+len(s.functionTypes))
	}
	s.calls = true
	s.apply(s.types[s.functionTypes[own]], 0)
	return nil
}

func (s *scanner) open(in *wasm.Instr) error {
	if in.Op == wasm.OpIf {
		s.height--
	}
	f := frame{base: s.height}
	switch in.BlockKind {
	case wasm.BlockValue:
		f.results = 1
	case wasm.BlockIndex:
		if int(in.X) >= len(s.types) {
			return fmt.Errorf("type %d of %d", in.X, len(s.types))
		}
		t := s.types[in.X]
		f.params, f.results = len(t.params), len(t.results)
		f.base -= f.params
	}
	s.frames = append(s.frames, f)
	return nil
}

func (s *scanner) close(op wasm.Opcode) {
	f := s.frames[len(s.frames)-1]
	if op == wasm.OpElse {
		s.height = f.base + f.params
		return
	}
	s.height = f.base + f.results
	s.frames = s.frames[:len(s.frames)-1]
}

// frameSize estimates the bytes of host stack that a call of the function
// takes: each local and operand may be spilled, none takes more than one slot.
func (s *shape) frameSize(locals uint64) uint64 {
	slot := uint64(8)
	if s.vectors {
		slot = 16
	}
	return frameBytes + slot*(locals+uint64(s.heightMax))
}

// checks reports whether the function compares the state at its entry.
func (s *shape) checks(locals uint64) bool {
	return s.calls || s.fuel+LocalsCost(locals) > leafFuel || s.frameSize(locals) > leafFrameBytes
}
