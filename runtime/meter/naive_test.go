package meter_test

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/meter"
)

// countExport is the global that a naive module counts in, naiveStart the start
// function, which whoever makes an instance has to call.
const (
	countExport = "naive.count"
	naiveStart  = "naive.start"
)

// naive rewrites a module so that it counts the cost of every instruction
// right before it runs, one by one, and what a length costs from the operand
// itself. It shares nothing with Rewrite but the cost table and the reader, so
// the two check each other.
func naive(module []byte) ([]byte, error) { return (&naiveModule{bytes: module}).rewrite() }

// naiveBounded is naive, but that the module traps as soon as its count, which
// its host lets begin below zero, is above zero.
func naiveBounded(module []byte) ([]byte, error) {
	return (&naiveModule{bytes: module, bounded: true}).rewrite()
}

func (n *naiveModule) rewrite() ([]byte, error) {
	module := n.bytes
	if err := n.survey(); err != nil {
		return nil, err
	}
	out := []byte(wasm.Magic)
	r := wasm.NewReader(module, len(wasm.Magic), len(module))
	add := func(id wasm.SectionID, b []byte) {
		out = append(binary.AppendUvarint(append(out, byte(id)), uint64(len(b))), b...)
	}
	done := map[wasm.SectionID]bool{}
	ensure := func(before wasm.SectionID) {
		if before.Order() > wasm.SectionGlobal.Order() && !done[wasm.SectionGlobal] {
			add(wasm.SectionGlobal, n.global(nil, 0))
			done[wasm.SectionGlobal] = true
		}
		if before.Order() > wasm.SectionExport.Order() && !done[wasm.SectionExport] {
			add(wasm.SectionExport, n.export(nil, 0))
			done[wasm.SectionExport] = true
		}
	}
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			return nil, err
		}
		if id == wasm.SectionCustom || id == wasm.SectionStart {
			continue
		}
		ensure(id)
		done[id] = true
		body := module[sub.Offset():sub.End()]
		switch id {
		case wasm.SectionGlobal, wasm.SectionExport:
			count, _ := sub.U32()
			items := module[sub.Offset():sub.End()]
			if id == wasm.SectionGlobal {
				body = n.global(items, count)
			} else {
				body = n.export(items, count)
			}
		case wasm.SectionCode:
			if body, err = n.code(sub); err != nil {
				return nil, err
			}
		}
		add(id, body)
	}
	ensure(wasm.SectionData)
	return out, nil
}

type naiveModule struct {
	bytes   []byte
	bounded bool
	globals uint32
	// start is the start function, when hasStart.
	start    uint32
	hasStart bool
	// params[i] is the number of parameters of the module's own function i.
	params []uint32
}

// survey counts globals and parameters.
func (n *naiveModule) survey() error {
	r := wasm.NewReader(n.bytes, len(wasm.Magic), len(n.bytes))
	var types []uint32
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			return err
		}
		switch id {
		case wasm.SectionType:
			count, _ := sub.U32()
			for range count {
				sub.Byte()
				p, _ := sub.U32()
				sub.Bytes(p)
				q, _ := sub.U32()
				sub.Bytes(q)
				types = append(types, p)
			}
		case wasm.SectionImport:
			count, _ := sub.U32()
			for range count {
				sub.Name()
				sub.Name()
				kind, _ := sub.Byte()
				switch kind {
				case 0:
					sub.U32()
				case 1:
					sub.Byte()
					limits(&sub)
				case 2:
					limits(&sub)
				case 3:
					sub.Bytes(2)
					n.globals++
				default:
					return fmt.Errorf("import of kind %d", kind)
				}
			}
		case wasm.SectionFunction:
			count, _ := sub.U32()
			for range count {
				t, _ := sub.U32()
				n.params = append(n.params, types[t])
			}
		case wasm.SectionGlobal:
			count, _ := sub.U32()
			n.globals += count
		case wasm.SectionStart:
			n.start, _ = sub.U32()
			n.hasStart = true
		}
	}
	return nil
}

// limits passes over those of a table or memory.
func limits(r *wasm.Reader) {
	flag, _ := r.Byte()
	r.U32()
	if flag&1 != 0 {
		r.U32()
	}
}

func (n *naiveModule) global(items []byte, count uint32) []byte {
	b := append(binary.AppendUvarint(nil, uint64(count)+1), items...)
	return append(b, byte(wasm.I64), 1, 0x42, 0, 0x0b)
}

func (n *naiveModule) export(items []byte, count uint32) []byte {
	count++
	if n.hasStart {
		count++
	}
	b := append(binary.AppendUvarint(nil, uint64(count)), items...)
	add := func(name string, kind byte, index uint32) {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = binary.AppendUvarint(append(b, kind), uint64(index))
	}
	add(countExport, 3, n.globals)
	if n.hasStart {
		add(naiveStart, 0, n.start)
	}
	return b
}

func (n *naiveModule) code(r wasm.Reader) ([]byte, error) {
	count, err := r.U32()
	if err != nil {
		return nil, err
	}
	out := binary.AppendUvarint(nil, uint64(count))
	for i := range count {
		size, err := r.U32()
		if err != nil {
			return nil, err
		}
		sub, err := r.Sub(size)
		if err != nil {
			return nil, err
		}
		body, err := n.body(sub, uint64(n.params[i]))
		if err != nil {
			return nil, err
		}
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
	}
	return out, nil
}

func (n *naiveModule) body(r wasm.Reader, locals uint64) ([]byte, error) {
	groups, err := r.U32()
	if err != nil {
		return nil, err
	}
	from := r.Offset()
	for range groups {
		c, err := r.U32()
		if err != nil {
			return nil, err
		}
		locals += uint64(c)
		if _, err := r.Byte(); err != nil {
			return nil, err
		}
	}
	out := append(binary.AppendUvarint(nil, uint64(groups)+1), n.bytes[from:r.Offset()]...)
	out = append(out, 2, byte(wasm.I32))
	out = n.count(out, meter.LocalsCost(locals))
	var in wasm.Instr
	for r.Len() > 0 {
		if err := r.Next(&in); err != nil {
			return nil, err
		}
		out = n.count(out, meter.Cost(in.Op))
		out = n.instruction(out, &in, uint32(locals))
	}
	return out, nil
}

// instruction appends an instruction, and before it what counts its length; of
// memory.grow what counts the pages that it got, behind it. There are two i32
// locals from tmp on.
func (n *naiveModule) instruction(b []byte, in *wasm.Instr, tmp uint32) []byte {
	local := func(op byte, i uint32) { b = binary.AppendUvarint(append(b, op), uint64(i)) }
	const get, tee = 0x20, 0x22
	switch in.Op {
	case wasm.OpMemoryFill, wasm.OpMemoryCopy, wasm.OpMemoryInit:
		local(tee, tmp)
		local(get, tmp)
		b = n.add(append(b, 0x41, 3, 0x76, 0xad)) // >> 3, to i64
	case wasm.OpTableFill, wasm.OpTableCopy, wasm.OpTableInit:
		local(tee, tmp)
		local(get, tmp)
		b = n.add(append(b, 0xad)) // to i64
	case wasm.OpMemoryGrow:
		local(tee, tmp)
		b = append(b, n.bytes[in.Start:in.End]...)
		local(tee, tmp+1)
		b = append(b, 0x41, 0x7f, 0x47, 0xad) // ≠ -1, to i64
		local(get, tmp)
		b = append(b, 0xad, 0x7e) // to i64, times
		b = append(signed(append(b, 0x42), meter.PageFuel), 0x7e)
		b = n.add(b)
		local(get, tmp+1)
		return b
	}
	return append(b, n.bytes[in.Start:in.End]...)
}

// add appends code that adds the i64 on the stack to the counter.
func (n *naiveModule) add(b []byte) []byte {
	b = binary.AppendUvarint(append(b, 0x23), uint64(n.globals))
	b = binary.AppendUvarint(append(b, 0x7c, 0x24), uint64(n.globals))
	if n.bounded {
		b = binary.AppendUvarint(append(b, 0x23), uint64(n.globals))
		b = append(b, 0x42, 0, 0x55, 0x04, 0x40, 0x00, 0x0b) // > 0 ? unreachable
	}
	return b
}

// signed appends a number that is not negative in signed LEB128.
func signed(b []byte, v uint64) []byte {
	for ; v >= 0x40; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// count appends code that adds fuel to the counter.
func (n *naiveModule) count(b []byte, fuel uint64) []byte {
	if fuel == 0 {
		return b
	}
	return n.add(signed(append(b, 0x42), fuel))
}

// naiveInstance counts calls one by one; nil when the module cannot be counted.
func naiveInstance(ctx context.Context, rt wazero.Runtime, module []byte) *plainInstance {
	b, err := naive(module)
	if err != nil {
		return nil
	}
	c, err := rt.CompileModule(ctx, b)
	if err != nil {
		return nil
	}
	return &plainInstance{compiled: c}
}
