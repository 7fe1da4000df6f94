package meter

import (
	"sort"
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// The subsections of the custom section "name" that are kept.
const (
	nameModule   = 0
	nameFunction = 1
)

// symbol is the name of one function.
type symbol struct {
	index uint32
	name  []byte
}

// nameSection returns a name section with the names of the module's functions
// under their new indices, and those of the added ones. Names are a courtesy: of
// a section that cannot be read, what was read before the fault is kept.
func (w *rewriter) nameSection() code {
	moduleName, symbols := w.symbols()
	for i, f := range w.added.list {
		symbols = append(symbols, symbol{w.added.first + uint32(i), []byte(helperPrefix + f.name)})
	}
	var c code
	c.name("name")
	if moduleName != nil {
		var sub code
		sub.name(string(moduleName))
		c.byte(nameModule)
		c.u32(uint32(len(sub)))
		c = append(c, sub...)
	}
	var sub code
	sub.u32(uint32(len(symbols)))
	for _, s := range symbols {
		sub.u32(s.index)
		sub.name(string(s.name))
	}
	c.byte(nameFunction)
	c.u32(uint32(len(sub)))
	return append(c, sub...)
}

// symbols reads the module's own name section.
func (w *rewriter) symbols() (moduleName []byte, symbols []symbol) {
	r := wasm.NewReader(w.bytes, w.names.from, w.names.to)
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			break
		}
		switch id {
		case nameModule:
			moduleName, _ = sub.Name()
		case nameFunction:
			if symbols == nil {
				symbols = w.functionNames(sub)
			}
		}
	}
	return moduleName, symbols
}

// functionNames reads a map of names, in ascending order, each index once.
func (w *rewriter) functionNames(r wasm.Reader) []symbol {
	n, err := r.U32()
	if err != nil {
		return nil
	}
	end := w.importedFuncs + uint32(len(w.functionTypes))
	var symbols []symbol
	for ; n > 0; n-- {
		f, err := r.U32()
		if err != nil {
			break
		}
		name, err := r.Name()
		if err != nil {
			break
		}
		// A guest that names a function like a helper would hide it.
		if f < end && !strings.HasPrefix(string(name), ReservedPrefix) {
			symbols = append(symbols, symbol{w.shift(f), name})
		}
	}
	sort.SliceStable(symbols, func(i, j int) bool { return symbols[i].index < symbols[j].index })
	unique := symbols[:0]
	for _, s := range symbols {
		if len(unique) == 0 || unique[len(unique)-1].index != s.index {
			unique = append(unique, s)
		}
	}
	return unique
}

// IsHelper reports whether a function name is one that the meter added.
func IsHelper(name string) bool { return strings.HasPrefix(name, helperPrefix) }
