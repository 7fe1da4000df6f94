package lint

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/refusals.golden anew")

// refused is a module that must not pass, and why.
type refused struct {
	why    string
	module []byte
	// tighten lowers limits where the default would take a huge module.
	tighten func(*Limits)
}

var (
	empty   = vector(wasm.SectionType, signatureOf(nil, nil))
	oneFunc = vector(wasm.SectionFunction, []byte{0})
	oneBody = vector(wasm.SectionCode, []byte{2, 0, 0x0b})
	many    = u32(-1) // 2^32-1
)

// others are files that are not modules.
var others = []refused{
	{why: "an empty file", module: nil},
	{why: "a file cut within its first bytes", module: []byte("\x00asm\x01")},
	{why: "a module of version 2", module: []byte("\x00asm\x02\x00\x00\x00")},
	{why: "a component", module: []byte("\x00asm\x0d\x00\x01\x00")},
	{why: "an ELF file", module: []byte("\x7fELF\x02\x01\x01\x00")},
	{why: "a gzip archive", module: []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00")},
	{why: "a zip archive", module: []byte("PK\x03\x04\x14\x00\x00\x00")},
	{why: "a static library", module: []byte("!<arch>\n")},
	{why: "a script", module: []byte("#!/bin/sh\necho hello\n")},
	{why: "an HTML page", module: []byte("\n<!DOCTYPE html><html></html>")},
	{why: "WebAssembly text", module: []byte("(module (func))")},
	{why: "WebAssembly text behind a comment", module: []byte(";; hello\n(module)")},
	{why: "plain text", module: []byte("hello, world\n")},
	{why: "random bytes", module: []byte("\x93\x00\x11\x7a\xfe\x01\x02\x03\x04")},
}

// newer are modules that use features outside the accepted set.
var newer = []refused{
	{why: "a shared memory", module: module(vector(wasm.SectionMemory, []byte{3, 1, 1}))},
	{why: "an atomic instruction", module: program(nil, 0xfe, 0x03, 0)},
	{why: "a tag section", module: module([]byte{13, 3, 1, 0, 0})},
	{why: "the import of a tag", module: module(empty, vector(wasm.SectionImport, join(sized("m"), sized("t"), 4, 0, 0)))},
	{why: "a try block", module: program(nil, 0x06, 0x40, 0x0b)},
	{why: "a throw", module: program(nil, 0x08, 0)},
	{why: "a try_table", module: program(nil, 0x1f, 0x40, 0, 0x0b)},
	{why: "an exnref local", module: program([]byte{1, 1, 0x69})},
	{why: "a tail call", module: program(nil, 0x12, 0)},
	{why: "an indirect tail call", module: program(nil, 0x13, 0, 0)},
	{why: "a call by reference", module: program(nil, 0x14, 0)},
	{why: "a typed reference", module: program([]byte{1, 1, 0x63, 0x00})},
	{why: "a table with an initial value", module: module(section(wasm.SectionTable, 1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b))},
	{why: "a structure type", module: module(vector(wasm.SectionType, []byte{0x5f, 0, 0}))},
	{why: "a recursive group of types", module: module(vector(wasm.SectionType, join(0x4e, 1, 0x60, 0, 0)))},
	{why: "a structure instruction", module: program(nil, 0xfb, 0, 0)},
	{why: "a 64-bit memory", module: module(vector(wasm.SectionMemory, []byte{4, 1}))},
	{why: "a 64-bit table", module: module(vector(wasm.SectionTable, []byte{0x70, 4, 1}))},
	{why: "a page size", module: module(vector(wasm.SectionMemory, []byte{8, 1, 0}))},
	{why: "two memories", module: module(vector(wasm.SectionMemory, []byte{0, 1}, []byte{0, 1}))},
	{why: "an imported and an own memory", module: module(
		vector(wasm.SectionImport, join(sized("m"), sized("m"), 2, 0, 1)), vector(wasm.SectionMemory, []byte{0, 1}))},
	{why: "a load from a second memory", module: program(nil, 0x3f, 1, 0x1a)},
	{why: "a relaxed vector instruction", module: program(nil, 0xfd, 0x80, 0x02)},
	{why: "wide arithmetic", module: program(nil, 0xfc, 0x13)},
	{why: "stack switching", module: program(nil, 0xe0, 0)},
	{why: "string references", module: module([]byte{14, 1, 0})},
	{why: "a padded vector instruction", module: program(nil, 0xfd, 0x8c, 0, times(16, 0), 0x1a)},
	{why: "a padded truncation", module: program(nil, 0x43, 0, 0, 0, 0, 0xfc, 0x80, 0, 0x1a)},
	{why: "an import from a module without a name", module: module(empty, vector(wasm.SectionImport, join(0, sized("f"), 0, 0)))},
	{why: "an import from the meter", module: module(empty, vector(wasm.SectionImport, join(sized("dugnad_meter"), sized("refill"), 0, 0)))},
	{why: "an export with the meter's prefix", module: module(vector(wasm.SectionMemory, []byte{0, 1}),
		vector(wasm.SectionExport, join(sized("dugnad_meter.fuel"), 2, 0)))},
}

// broken are modules that break the specification.
var broken = []refused{
	{why: "a section that claims more bytes than there are", module: module([]byte{1, 100, 0})},
	{why: "a section longer than its contents", module: module([]byte{1, 2, 0, 0})},
	{why: "sections out of order", module: module(oneFunc, empty)},
	{why: "a section that is there twice", module: module(empty, empty)},
	{why: "an unknown section", module: module([]byte{77, 0})},
	{why: "a number that is too long", module: module([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0})},
	{why: "more types claimed than bytes", module: module(section(wasm.SectionType, 100))},
	{why: "a name that is not UTF-8", module: module(vector(wasm.SectionExport, join(sized(0xff), 2, 0)))},
	{why: "an unknown type in a signature", module: module(vector(wasm.SectionType, signatureOf([]byte{0x01}, nil)))},
	{why: "a function of an unknown type", module: module(empty, vector(wasm.SectionFunction, []byte{1}))},
	{why: "functions without bodies", module: module(empty, oneFunc)},
	{why: "bodies without functions", module: module(empty, oneBody)},
	{why: "an export of what is not there", module: module(vector(wasm.SectionExport, join(sized("f"), 0, 0)))},
	{why: "an export name twice", module: module(vector(wasm.SectionMemory, []byte{0, 1}),
		vector(wasm.SectionExport, join(sized("m"), 2, 0), join(sized("m"), 2, 0)))},
	{why: "a start function with parameters", module: module(vector(wasm.SectionType, signatureOf([]byte{0x7f}, nil)), oneFunc,
		section(wasm.SectionStart, 0), oneBody)},
	{why: "a memory of more than 4 GiB", module: module(vector(wasm.SectionMemory, join(0, u32(65537))))},
	{why: "a minimum above the maximum", module: module(vector(wasm.SectionMemory, []byte{1, 2, 1}))},
	{why: "a global of another type than its value", module: module(vector(wasm.SectionGlobal, []byte{0x7f, 0, 0x42, 0, 0x0b}))},
	{why: "a constant that calls", module: module(vector(wasm.SectionGlobal, []byte{0x7f, 0, 0x10, 0, 0x0b}))},
	{why: "elements for no table", module: module(vector(wasm.SectionElement, []byte{0, 0x41, 0, 0x0b, 0}))},
	{why: "data for no memory", module: module(vector(wasm.SectionData, []byte{0, 0x41, 0, 0x0b, 0}))},
	{why: "a data count that is wrong", module: module(section(wasm.SectionDataCount, 1))},
	{why: "data.drop without a data count", module: program(nil, 0xfc, 9, 0)},
	{why: "an unknown instruction", module: program(nil, 0x27)},
	{why: "an operand that is missing", module: program(nil, 0x6a, 0x1a)},
	{why: "an operand of the wrong type", module: program(nil, 0x41, 0, 0x42, 0, 0x6a, 0x1a)},
	{why: "a value left over", module: program(nil, 0x41, 0)},
	{why: "a local that is not there", module: program(nil, 0x20, 0, 0x1a)},
	{why: "a global that is not there", module: program(nil, 0x23, 0, 0x1a)},
	{why: "a function that is not there", module: program(nil, 0x10, 1)},
	{why: "a type that is not there", module: program(nil, 0x41, 0, 0x11, 1, 0)},
	{why: "a table that is not there", module: program(nil, 0x41, 0, 0x11, 0, 1)},
	{why: "a label that is not there", module: program(nil, 0x0c, 1)},
	{why: "an element segment that is not there", module: program(nil, 0xfc, 13, 0)},
	{why: "ref.func of an undeclared function", module: program(nil, 0xd2, 0, 0x1a)},
	{why: "labels of different kinds in br_table", module: program(nil, 0x02, 0x7f, 0x41, 0, 0x41, 0, 0x0e, 1, 0, 1, 0x0b, 0x1a)},
	{why: "an alignment beyond the access", module: program(nil, 0x41, 0, 0x28, 3, 0, 0x1a)},
	{why: "a lane that is not there", module: program(nil, 0xfd, 12, times(16, 0), 0xfd, 21, 16, 0x1a)},
	{why: "an else without if", module: program(nil, 0x05)},
	{why: "a body without end", module: program(nil, 0x02, 0x40)},
	{why: "code behind the end", module: program(nil, 0x0b, 0x01)},
	{why: "a name section cut short", module: module(section(wasm.SectionCustom, sized("name"), 1, 10, 1))},
}

// excessive are modules beyond a limit.
var excessive = []refused{
	{why: "a large module", module: module(section(wasm.SectionCustom, sized("x"), times(200, 0))), tighten: func(l *Limits) { l.ModuleBytes = 100 }},
	{why: "2^32-1 types", module: module(section(wasm.SectionType, many))},
	{why: "2^32-1 parameters", module: module(section(wasm.SectionType, 1, 0x60, many))},
	{why: "65 results", module: module(vector(wasm.SectionType, signatureOf(nil, times(65, 0x7f))))},
	{why: "2^32-1 imports", module: module(section(wasm.SectionImport, many))},
	{why: "2^32-1 functions", module: module(empty, section(wasm.SectionFunction, many))},
	{why: "2^32-1 tables", module: module(section(wasm.SectionTable, many))},
	{why: "2^32-1 table entries", module: module(vector(wasm.SectionTable, join(0x70, 0, many)))},
	{why: "a table of the sum of all tables", module: module(section(wasm.SectionTable, 2, times(2, 0x70, 0, u32(1_500_000))))},
	{why: "many pages", module: module(vector(wasm.SectionMemory, join(0, u32(2000)))), tighten: func(l *Limits) { l.MemoryPages = 1024 }},
	{why: "2^32-1 globals", module: module(section(wasm.SectionGlobal, many))},
	{why: "2^32-1 exports", module: module(section(wasm.SectionExport, many))},
	{why: "2^32-1 element segments", module: module(section(wasm.SectionElement, many))},
	{why: "2^32-1 elements", module: module(section(wasm.SectionElement, 1, 1, 0, many))},
	{why: "2^32-1 data segments", module: module(section(wasm.SectionDataCount, many))},
	{why: "2^32-1 names", module: module(section(wasm.SectionCustom, sized("name"), 1, sized(many)))},
	{why: "a long name", module: module(section(wasm.SectionImport, 1, sized(times(70_000, "a")), sized("f"), 0, 0))},
	{why: "many custom sections", module: module(times(10_001, section(wasm.SectionCustom, sized("x"))))},
	{why: "large custom sections", module: module(section(wasm.SectionCustom, sized("x"), times(2000, 0))), tighten: func(l *Limits) { l.CustomBytes = 1000 }},
	{why: "2^32-1 locals in 40 bytes", module: program(join(1, many, wasm.I64))},
	{why: "20,001 locals in two groups", module: program(join(2, u32(20_000), wasm.I64, 1, wasm.I32))},
	{why: "locals in many functions", module: module(empty, section(wasm.SectionFunction, u32(300), times(300, 0)),
		section(wasm.SectionCode, u32(300), times(300, sized(1, u32(20_000), wasm.I32, 0x0b))))},
	{why: "a large body", module: program(nil, times(2000, 0x01)), tighten: func(l *Limits) { l.BodyBytes = 1000 }},
	{why: "300 KB of nested blocks", module: program(nil, times(100_000, 0x02, 0x40), times(100_000, 0x0b))},
	{why: "a high operand stack", module: program(nil, times(10_001, 0x41, 0), times(10_001, 0x1a))},
	{why: "a br_table of 500,000 targets", module: program(nil, 0x41, 0, 0x0e, u32(500_000), times(500_001, 0))},
	{why: "300,000 targets in many br_tables", module: program(nil, times(10, 0x41, 0, 0x0e, u32(29_999), times(30_000, 0)))},
	{why: "300 locals in 1,000 nested loops", module: program(join(1, u32(300), wasm.I32),
		times(300, 0x41, 0, 0x21, u32(299)), times(1000, 0x03, 0x40), locals300, times(1000, 0x41, 0, 0x0d, 0, 0x0b))},
	{why: "20,000 conditions one after the other", module: program(nil, times(20_000, 0x41, 0, 0x04, 0x40, 0x0b))},
	{why: "much memory for compiling", module: program(nil, times(20_000, 0x41, 0, 0x1a)), tighten: func(l *Limits) { l.CompileBytes = 16 << 20 }},
	{why: "much time for compiling", module: program(nil, times(20_000, 0x41, 0, 0x1a)), tighten: func(l *Limits) { l.CompileCost = 60 * time.Millisecond }},
}

// locals300 uses and changes 300 locals.
var locals300 = func() []byte {
	var b []byte
	for i := range 300 {
		b = append(b, join(0x20, u32(i), 0x21, u32(i))...)
	}
	return b
}()

func TestRefusals(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What lint refuses and what it says. Written by `go test ./runtime/lint -run Refusals -rewrite`.\n")
	for _, group := range []struct {
		title string
		cases []refused
	}{
		{"Files that are not core modules", others},
		{"Features outside the accepted set, and reserved names", newer},
		{"Modules that break the specification", broken},
		{"Modules beyond a limit", excessive},
	} {
		fmt.Fprintf(&b, "\n## %s\n", group.title)
		for _, c := range group.cases {
			b.WriteString(transcript(t, c))
		}
	}
	path := filepath.Join("testdata", "refusals.golden")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(lines)) {
		if i >= len(got) || i >= len(lines) || got[i] != lines[i] {
			t.Fatalf("line %d of %s differs; got:\n%s", i+1, path, strings.Join(got[min(i, len(got)):min(i+3, len(got))], "\n"))
		}
	}
}

// transcript checks a module and writes down the refusal.
func transcript(t *testing.T, c refused) string {
	limits := Default()
	if c.tighten != nil {
		c.tighten(&limits)
	}
	_, err := Check(c.module, limits)
	var r *Refusal
	if !errors.As(err, &r) {
		t.Errorf("%s: %v instead of a refusal", c.why, err)
		return ""
	}
	if r.Help == "" {
		t.Errorf("%s: no help", c.why)
	}
	what := r.Code
	if r.Limit != "" {
		what += fmt.Sprintf(" %s %d > %d", r.Limit, r.Found, r.Max)
	}
	place := fmt.Sprintf("%s section, offset %d", r.Section, r.Offset)
	if r.Function >= 0 {
		place += fmt.Sprintf(", function %d", r.Function)
	}
	return fmt.Sprintf("\n%s (%d bytes)\n  %s\n  %s\n  %s\n", c.why, len(c.module), what, place, r)
}

// TestLimitsHaveHelp checks that every limit says what to do about it.
func TestLimitsHaveHelp(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range excessive {
		limits := Default()
		if c.tighten != nil {
			c.tighten(&limits)
		}
		_, err := Check(c.module, limits)
		var r *Refusal
		if errors.As(err, &r) {
			seen[r.Limit] = true
		}
	}
	for name, help := range limitHelp {
		if !seen[name] || help == "" {
			t.Errorf("limit %s: no module is refused for it, or it has no help", name)
		}
	}
}

func TestLimitsValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := Check([]byte(wasm.Magic), Limits{}); !errors.Is(err, ErrLimits) {
		t.Errorf("no limits: %v", err)
	}
}

// TestNothingIsTooMuch checks modules at the edge of what is accepted.
func TestNothingIsTooMuch(t *testing.T) {
	for why, m := range map[string][]byte{
		"nothing":                    module(),
		"an empty memory section":    module(vector(wasm.SectionMemory)),
		"1,000 nested blocks":        program(nil, times(1000, 0x02, 0x40), times(1000, 0x0b)),
		"extended constants":         module(vector(wasm.SectionGlobal, []byte{0x7f, 0, 0x41, 1, 0x41, 2, 0x6a, 0x0b})),
		"operands that never happen": program(nil, 0x00, 0x6a, 0x1a),
	} {
		if _, err := Check(m, Default()); err != nil {
			t.Errorf("%s: %v", why, err)
		}
		if err := accepts(m); err != nil {
			t.Errorf("%s: wazero: %v", why, err)
		}
	}
}
