package lint

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

func (c *checker) readTypes(r *wasm.Reader) error {
	n, err := c.count(r, 3, "types", c.limits.Types, "types")
	if err != nil {
		return err
	}
	for range n {
		at := r.Offset()
		form, err := r.Byte()
		if err != nil {
			return err
		}
		if form != 0x60 {
			if f := typeFeature(form); f != nil {
				return feature(at, f, fmt.Sprintf("type form %#02x", form))
			}
			return invalid(at, "%#02x is not the form of a type", form)
		}
		var t funcType
		if t.params, err = c.readValTypes(r, "params", c.limits.Params, "parameters"); err != nil {
			return err
		}
		if t.results, err = c.readValTypes(r, "results", c.limits.Results, "results"); err != nil {
			return err
		}
		c.types = append(c.types, t)
	}
	c.report.Types = len(c.types)
	return nil
}

func (c *checker) readValTypes(r *wasm.Reader, limit string, limitMax uint32, what string) ([]byte, error) {
	n, err := c.count(r, 1, limit, limitMax, what)
	if err != nil {
		return nil, err
	}
	from := r.Offset()
	for range n {
		if _, err := valType(r); err != nil {
			return nil, err
		}
	}
	return c.module[from:r.Offset()], nil
}

// name reads a name of bounded length.
func (c *checker) name(r *wasm.Reader) ([]byte, error) {
	at := r.Offset()
	b, err := r.Name()
	if err != nil {
		return nil, err
	}
	return b, c.atMost(at, "name_bytes", uint64(len(b)), uint64(c.limits.NameBytes), "a name is %d bytes long")
}

func (c *checker) typeIndex(r *wasm.Reader) (uint32, error) {
	at := r.Offset()
	x, err := r.U32()
	if err == nil && uint64(x) >= uint64(len(c.types)) {
		err = invalid(at, "type %d is named, there are %d", x, len(c.types))
	}
	return x, err
}

func (c *checker) readImports(r *wasm.Reader) error {
	n, err := c.count(r, 4, "imports", c.limits.Imports, "imports")
	if err != nil {
		return err
	}
	for range n {
		if err := c.readImport(r); err != nil {
			return err
		}
	}
	c.report.Imports = int(n)
	return nil
}

func (c *checker) readImport(r *wasm.Reader) error {
	at := r.Offset()
	module, err := c.name(r)
	if err != nil {
		return err
	}
	if _, err := c.name(r); err != nil {
		return err
	}
	if len(module) == 0 {
		return &Refusal{
			Code: CodeFeature + "empty_module_name", Offset: at, Function: -1,
			Detail: "an import names no module", Help: "name the module that is imported from",
		}
	}
	if reserved(module) {
		return reservedName(at, "imports from", module)
	}
	kindAt := r.Offset()
	kind, err := r.Byte()
	if err != nil {
		return err
	}
	switch kind {
	case 0:
		x, err := c.typeIndex(r)
		if err != nil {
			return err
		}
		c.funcs = append(c.funcs, x)
		c.cost.front(&c.types[x]) // needed when a table holds it
		c.funcImports++
		c.report.ImportedFunctions++
		return nil
	case 1:
		return c.readTable(r)
	case 2:
		return c.readMemory(r)
	case 3:
		c.globalImports++
		return c.readGlobalType(r)
	case 4:
		return feature(kindAt, featExceptions, "the import of a tag")
	}
	return invalid(kindAt, "%#02x is not a kind of import", kind)
}

func reservedName(at int, verb string, name []byte) error {
	return &Refusal{
		Code: CodeReserved, Offset: at, Function: -1,
		Detail: fmt.Sprintf("the module %s %q", verb, clip(name)),
		Help:   fmt.Sprintf("names that begin with %q belong to the meter, which takes modules as they were compiled", ReservedPrefix),
	}
}

// clip shortens a name for a message.
func clip(name []byte) []byte { return name[:min(len(name), 64)] }

func (c *checker) readFunctions(r *wasm.Reader) error {
	n, err := c.count(r, 1, "functions", c.limits.Functions, "functions")
	if err != nil {
		return err
	}
	for range n {
		x, err := c.typeIndex(r)
		if err != nil {
			return err
		}
		c.funcs = append(c.funcs, x)
	}
	c.report.Functions = int(n)
	return nil
}

// readLimits reads the bounds of a table or memory.
func (c *checker) readLimits(r *wasm.Reader, what string) (least, most uint32, bounded bool, err error) {
	at := r.Offset()
	flags, err := r.Byte()
	if err != nil {
		return 0, 0, false, err
	}
	switch {
	case flags > 0x0f:
		return 0, 0, false, invalid(at, "the flags of the %s are %#02x", what, flags)
	case flags&2 != 0:
		return 0, 0, false, feature(at, featThreads, "a shared "+what)
	case flags&4 != 0:
		return 0, 0, false, feature(at, featMemory64, "a 64-bit "+what)
	case flags&8 != 0:
		return 0, 0, false, feature(at, featPageSize, "a "+what+" with a page size")
	}
	if least, err = r.U32(); err != nil || flags == 0 {
		return least, 0, false, err
	}
	if most, err = r.U32(); err == nil && most < least {
		err = invalid(at, "the %s has a minimum of %d above its maximum of %d", what, least, most)
	}
	return least, most, true, err
}

func (c *checker) readTables(r *wasm.Reader) error {
	n, err := c.count(r, 3, "tables", c.limits.Tables, "tables")
	if err != nil {
		return err
	}
	for range n {
		if err := c.readTable(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readTable(r *wasm.Reader) error {
	at := r.Offset()
	if r.Len() > 0 && c.module[at] == 0x40 {
		return feature(at, featTypedRefs, "a table with an initial value")
	}
	elem, err := refType(r)
	if err != nil {
		return err
	}
	limitsAt := r.Offset()
	least, _, _, err := c.readLimits(r, "table")
	if err != nil {
		return err
	}
	if err := c.atMost(at, "tables", uint64(len(c.tables)+1), uint64(c.limits.Tables), "there are %d tables"); err != nil {
		return err
	}
	c.tables = append(c.tables, tableType{elem, least})
	c.report.Tables++
	c.report.TableEntries += uint64(least)
	return c.atMost(limitsAt, "table_entries", c.report.TableEntries, uint64(c.limits.TableEntries), "the tables begin with %d entries")
}

func (c *checker) readMemories(r *wasm.Reader) error {
	at := r.Offset()
	n, err := r.U32()
	if err != nil {
		return err
	}
	if n > 1 {
		return feature(at, featMultiMemory, "a second memory")
	}
	if n == 1 {
		return c.readMemory(r)
	}
	return nil
}

func (c *checker) readMemory(r *wasm.Reader) error {
	at := r.Offset()
	if c.memory {
		return feature(at, featMultiMemory, "a second memory")
	}
	least, most, bounded, err := c.readLimits(r, "memory")
	if err != nil {
		return err
	}
	const pagesMax = 1 << 16
	if least > pagesMax || most > pagesMax {
		return invalid(at, "a memory has at most %d pages, this one %d", pagesMax, max(least, most))
	}
	c.memory = true
	c.report.Memory = true
	c.report.MemoryPages, c.report.MemoryPagesMax, c.report.MemoryBounded = least, most, bounded
	return c.atMost(at, "memory_pages", uint64(least), uint64(c.limits.MemoryPages), "the memory begins with %d pages")
}

func (c *checker) readGlobalType(r *wasm.Reader) error {
	t, err := valType(r)
	if err != nil {
		return err
	}
	at := r.Offset()
	b, err := r.Byte()
	if err != nil {
		return err
	}
	if b > 1 {
		return invalid(at, "%#02x says neither that a global changes nor that it does not", b)
	}
	if b == 1 {
		c.report.MutableGlobals++
	}
	c.globals = append(c.globals, globalType{t, b == 1})
	return nil
}

func (c *checker) readGlobals(r *wasm.Reader) error {
	n, err := c.count(r, 4, "globals", c.limits.Globals, "globals")
	if err != nil {
		return err
	}
	for range n {
		if err := c.readGlobalType(r); err != nil {
			return err
		}
		if err := c.constant(r, c.globals[len(c.globals)-1].typ); err != nil {
			return err
		}
	}
	c.report.Globals = int(n)
	return nil
}
