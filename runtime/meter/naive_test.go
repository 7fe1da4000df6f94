package meter_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
	"github.com/dugnad/dugnad/runtime/meter"
)

// countExport is the global that a naive module counts in.
const countExport = "naive.count"

// errDynamic says that a module has an instruction whose cost depends on a
// length, which naive does not count.
var errDynamic = errors.New("cost depends on a length")

// naive rewrites a module so that it counts the cost of every instruction
// right before it runs, one by one. It shares nothing with Rewrite but the
// cost table and the reader, so the two check each other.
func naive(module []byte) ([]byte, error) {
	n := naiveModule{bytes: module}
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
		if id == wasm.SectionCustom {
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
	globals uint32
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
		}
	}
	return nil
}

func (n *naiveModule) global(items []byte, count uint32) []byte {
	b := append(binary.AppendUvarint(nil, uint64(count)+1), items...)
	return append(b, byte(wasm.I64), 1, 0x42, 0, 0x0b)
}

func (n *naiveModule) export(items []byte, count uint32) []byte {
	b := append(binary.AppendUvarint(nil, uint64(count)+1), items...)
	b = append(binary.AppendUvarint(b, uint64(len(countExport))), countExport...)
	return binary.AppendUvarint(append(b, 3), uint64(n.globals))
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
	from := r.Offset()
	groups, err := r.U32()
	if err != nil {
		return nil, err
	}
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
	out := append([]byte(nil), n.bytes[from:r.Offset()]...)
	out = n.count(out, meter.LocalsCost(locals))
	var in wasm.Instr
	for r.Len() > 0 {
		if err := r.Next(&in); err != nil {
			return nil, err
		}
		switch in.Op {
		case wasm.OpMemoryGrow, wasm.OpMemoryFill, wasm.OpMemoryCopy, wasm.OpMemoryInit,
			wasm.OpTableGrow, wasm.OpTableFill, wasm.OpTableCopy, wasm.OpTableInit:
			return nil, errDynamic
		}
		out = n.count(out, meter.Cost(in.Op))
		out = append(out, n.bytes[in.Start:in.End]...)
	}
	return out, nil
}

// count appends code that adds fuel to the counter.
func (n *naiveModule) count(b []byte, fuel uint64) []byte {
	if fuel == 0 {
		return b
	}
	b = binary.AppendUvarint(append(b, 0x23), uint64(n.globals))
	b = append(b, 0x42)
	for ; fuel >= 0x40; fuel >>= 7 {
		b = append(b, byte(fuel)|0x80)
	}
	b = append(b, byte(fuel), 0x7c)
	return binary.AppendUvarint(append(b, 0x24), uint64(n.globals))
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
