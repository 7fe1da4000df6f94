// Package lint decides whether a module may reach the compiler. It is the only
// thing that stands between bytes that a stranger wrote and code that trusts
// them, and it runs in time linear in their number.
//
// Check does three things in one pass. It validates the module completely, as
// the Core Specification 2.0 demands and with the extended constant
// expressions: whoever rewrites or compiles an accepted module may rely on
// every index, type and length in it. It refuses what the accepted set leaves
// out, by the name of the feature. And it holds the module to the published
// Limits, among them an estimate of what compiling it costs, because a module
// of a few kilobytes can keep a compiler busy for minutes.
//
// Nothing is allocated in the size of a number that the module claims: a claim
// of n things is believed only where n things have room in the bytes.
//
// What this package does not do: it does not rewrite (see meter), it does not
// know which imports exist (see sandbox), and it runs nothing.
package lint

import (
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// Version numbers the accepted set and the estimate. A module accepted by one
// version may be refused by another.
const Version = 1

// ReservedPrefix begins the names that belong to the meter. A module may
// neither import from a module nor export anything of such a name.
const ReservedPrefix = "dugnad_meter"

// Check validates module and holds it to limits. The error is a *Refusal when
// the module is at fault; anything else is a fault of limits.
func Check(module []byte, limits Limits) (Report, error) {
	if err := limits.Validate(); err != nil {
		return Report{}, err
	}
	if err := sniff(module); err != nil {
		return Report{}, err
	}
	c := checker{limits: &limits, module: module, section: "module", function: -1}
	c.report.Bytes = len(module)
	if err := c.sections(); err != nil {
		return Report{}, c.refusal(err)
	}
	return c.report, nil
}

// checker is what is known of the module so far.
type checker struct {
	limits   *Limits
	module   []byte
	section  string // the section being read, for refusals
	function int    // the function being read, -1 outside of bodies
	report   Report

	types   []funcType
	funcs   []uint32 // type index of each function, imported ones first
	tables  []tableType
	memory  bool
	globals []globalType
	elems   []wasm.ValType // type of each element segment

	funcImports   int
	globalImports int
	dataCount     uint32
	hasDataCount  bool
	bodies        uint32
	datas         uint32
	declared      []uint64 // bit set of the functions that ref.func may name
	names         bool     // a name section was seen

	cost cost
	body body
}

// funcType is a function type; its slices share memory with the module.
type funcType struct{ params, results []byte }

type tableType struct {
	elem wasm.ValType
	min  uint32
}

type globalType struct {
	typ     wasm.ValType
	mutable bool
}

// sections reads the whole module.
func (c *checker) sections() error {
	if err := c.atMost(0, "module_bytes", uint64(len(c.module)), uint64(c.limits.ModuleBytes), "the module is %d bytes long"); err != nil {
		return err
	}
	r := wasm.NewReader(c.module, len(wasm.Magic), len(c.module))
	last := 0
	for r.Len() > 0 {
		at := r.Offset()
		c.section = "module"
		if err := unknownSection(c.module[at], at); err != nil {
			return err
		}
		id, sub, err := r.Section()
		if err != nil {
			return err
		}
		c.section = id.String()
		if order := id.Order(); order > 0 {
			if order <= last {
				return invalid(at, "the %s section is out of order or there twice", id)
			}
			last = order
		}
		if err := c.read(id, &sub); err != nil {
			return err
		}
		if sub.Len() > 0 {
			return invalid(sub.Offset(), "the %s section ends %d bytes before its size says", id, sub.Len())
		}
	}
	c.section = "module"
	return c.whole()
}

// read reads the contents of one section.
func (c *checker) read(id wasm.SectionID, r *wasm.Reader) error {
	switch id {
	case wasm.SectionCustom:
		return c.readCustom(r)
	case wasm.SectionType:
		return c.readTypes(r)
	case wasm.SectionImport:
		return c.readImports(r)
	case wasm.SectionFunction:
		return c.readFunctions(r)
	case wasm.SectionTable:
		return c.readTables(r)
	case wasm.SectionMemory:
		return c.readMemories(r)
	case wasm.SectionGlobal:
		return c.readGlobals(r)
	case wasm.SectionExport:
		return c.readExports(r)
	case wasm.SectionStart:
		return c.readStart(r)
	case wasm.SectionElement:
		return c.readElements(r)
	case wasm.SectionDataCount:
		return c.readDataCount(r)
	case wasm.SectionCode:
		return c.readCode(r)
	}
	return c.readDatas(r)
}

// whole checks what can only be known when every section has been read.
func (c *checker) whole() error {
	if defined := uint32(len(c.funcs) - c.funcImports); c.bodies != defined {
		return invalid(len(c.module), "%d functions are declared, %d have a body", defined, c.bodies)
	}
	if c.hasDataCount && c.dataCount != c.datas {
		return invalid(len(c.module), "the data count section says %d, there are %d data segments", c.dataCount, c.datas)
	}
	return c.affordable()
}

// count reads the length of a vector whose elements take at least size bytes
// each, so that a claim cannot exceed what the bytes hold.
func (c *checker) count(r *wasm.Reader, size int, limit string, limitMax uint32, what string) (uint32, error) {
	at := r.Offset()
	n, err := r.U32()
	if err != nil {
		return 0, err
	}
	if err := c.atMost(at, limit, uint64(n), uint64(limitMax), "%d "+what+" are claimed"); err != nil {
		return 0, err
	}
	if uint64(n)*uint64(size) > uint64(r.Len()) {
		return 0, invalid(at, "%d %s are claimed, but only %d bytes are left for them", n, what, r.Len())
	}
	return n, nil
}

// atMost refuses when found exceeds most. The format takes found.
func (c *checker) atMost(at int, limit string, found, most uint64, format string) error {
	if found <= most {
		return nil
	}
	return over(at, limit, found, most, format)
}

func reserved(name []byte) bool {
	return strings.HasPrefix(string(name), ReservedPrefix)
}
