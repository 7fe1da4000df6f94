package wasmtest

import (
	"fmt"
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// PrintFunction returns the body of function n of the module's own functions,
// one instruction a line, in the notation of Assemble.
func PrintFunction(module []byte, n int) (string, error) {
	r := wasm.NewReader(module, len(wasm.Magic), len(module))
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			return "", err
		}
		if id != wasm.SectionCode {
			continue
		}
		count, err := sub.U32()
		if err != nil {
			return "", err
		}
		for i := range int(count) {
			size, err := sub.U32()
			if err != nil {
				return "", err
			}
			body, err := sub.Sub(size)
			if err != nil {
				return "", err
			}
			if i == n {
				return printBody(module, body)
			}
		}
	}
	return "", fmt.Errorf("no function %d", n)
}

func printBody(module []byte, r wasm.Reader) (string, error) {
	var out strings.Builder
	groups, err := r.U32()
	if err != nil {
		return "", err
	}
	out.WriteString("local")
	for range groups {
		n, err := r.U32()
		if err != nil {
			return "", err
		}
		t, err := r.ValType()
		if err != nil {
			return "", err
		}
		out.WriteString(strings.Repeat(" "+t.String(), int(min(n, 64))))
	}
	out.WriteByte('\n')
	depth := 1
	var in wasm.Instr
	for r.Len() > 0 {
		if err := r.Next(&in); err != nil {
			return "", err
		}
		if in.Op == wasm.OpEnd || in.Op == wasm.OpElse {
			depth--
		}
		out.WriteString(strings.Repeat("  ", max(depth, 0)) + printInstr(module, &in) + "\n")
		switch in.Op {
		case wasm.OpBlock, wasm.OpLoop, wasm.OpIf, wasm.OpElse:
			depth++
		}
	}
	return out.String(), nil
}

func printInstr(module []byte, in *wasm.Instr) string {
	name := in.Info.Name
	switch in.Info.Imm {
	case wasm.ImmBlock:
		switch in.BlockKind {
		case wasm.BlockValue:
			return name + " -> " + wasm.ValType(in.X).String()
		case wasm.BlockIndex:
			return fmt.Sprintf("%s type %d", name, in.X)
		}
	case wasm.ImmLabel, wasm.ImmFunc, wasm.ImmLocal, wasm.ImmGlobal, wasm.ImmTable, wasm.ImmData, wasm.ImmElem:
		return fmt.Sprintf("%s %d", name, in.X)
	case wasm.ImmCallIndirect, wasm.ImmTableInit, wasm.ImmTable2:
		return fmt.Sprintf("%s %d %d", name, in.X, in.Y)
	case wasm.ImmBrTable:
		r := wasm.NewReader(module, in.LabelsAt, in.End)
		for range in.Labels + 1 {
			l, _ := r.U32()
			name += fmt.Sprintf(" %d", l)
		}
	case wasm.ImmMemArg:
		if in.Value != 0 {
			name += fmt.Sprintf(" offset=%d", in.Value)
		}
	case wasm.ImmI32, wasm.ImmI64:
		return fmt.Sprintf("%s %d", name, in.Value)
	case wasm.ImmRefType:
		return name + " " + wasm.ValType(in.X).String()
	}
	return name
}
