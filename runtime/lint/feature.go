package lint

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// featureInfo names a feature outside the accepted set.
type featureInfo struct{ code, title, help string }

var (
	featThreads = &featureInfo{
		"threads", "threads (shared memory and atomics)",
		"compile without -pthread, -matomics and shared memory",
	}
	featExceptions = &featureInfo{
		"exceptions", "exception handling",
		"compile with -fno-exceptions, or let exceptions abort (Rust: panic=abort; Emscripten: -sDISABLE_EXCEPTION_CATCHING)",
	}
	featTailCall = &featureInfo{
		"tail_call", "tail calls",
		"compile without -mtail-call",
	}
	featTypedRefs = &featureInfo{
		"typed_references", "typed function references",
		"compile for WebAssembly 2.0 without typed function references",
	}
	featGC = &featureInfo{
		"gc", "garbage-collected types",
		"use a toolchain that manages its own memory in linear memory",
	}
	featMemory64 = &featureInfo{
		"memory64", "the memory64 feature",
		"compile for wasm32 instead of wasm64",
	}
	featMultiMemory = &featureInfo{
		"multi_memory", "the multi-memory feature",
		"keep everything in one memory (`wasm-opt --multi-memory-lowering` does it for a finished module)",
	}
	featPageSize = &featureInfo{
		"custom_page_sizes", "the custom-page-sizes feature",
		"use the standard page size of 64 KiB",
	}
	featRelaxedSIMD = &featureInfo{
		"relaxed_simd", "relaxed SIMD",
		"compile with -msimd128 but without -mrelaxed-simd: its results differ between machines",
	}
	featWide = &featureInfo{
		"wide_arithmetic", "wide arithmetic",
		"compile without -mwide-arithmetic",
	}
	featStackSwitching = &featureInfo{
		"stack_switching", "stack switching",
		"compile without stack switching",
	}
	featMemoryControl = &featureInfo{
		"memory_control", "memory control",
		"compile without memory control instructions",
	}
	featStringRef = &featureInfo{
		"stringref", "string references",
		"keep strings in linear memory",
	}
)

func between(b, lo, hi uint32) bool { return b >= lo && b <= hi }

// unknownOpcode names the feature that an instruction belongs to.
func unknownOpcode(e *wasm.OpcodeError) error {
	name := fmt.Sprintf("instruction %#02x", e.Code)
	if e.Prefix != 0 {
		name = fmt.Sprintf("instruction %#02x %#02x", e.Prefix, e.Code)
	}
	if f := opcodeFeature(e.Prefix, e.Code); f != nil {
		return feature(e.Offset, f, name)
	}
	return invalid(e.Offset, "there is no %s", name)
}

func opcodeFeature(prefix byte, code uint32) *featureInfo {
	switch prefix {
	case 0xfd:
		if between(code, 0x100, 0x1ff) {
			return featRelaxedSIMD
		}
		return nil
	case 0xfc:
		switch {
		case code == 0x12:
			return featMemoryControl
		case between(code, 0x13, 0x16):
			return featWide
		}
		return nil
	}
	switch {
	case between(code, 0x06, 0x0a) || code == 0x18 || code == 0x19 || code == 0x1f:
		return featExceptions
	case code == 0x12 || code == 0x13:
		return featTailCall
	case code == 0x14 || code == 0x15 || between(code, 0xd4, 0xd6):
		return featTypedRefs
	case code == 0xfb || code == 0xd3:
		return featGC
	case between(code, 0xe0, 0xe6):
		return featStackSwitching
	case code == 0xfe:
		return featThreads
	}
	return nil
}

// typeFeature names the feature that a byte in the place of a type belongs to.
func typeFeature(b byte) *featureInfo {
	switch b {
	case 0x63, 0x64:
		return featTypedRefs
	case 0x69, 0x74:
		return featExceptions
	case 0x5d, 0x68, 0x75:
		return featStackSwitching
	case 0x67, 0x66, 0x62, 0x61:
		return featStringRef
	case 0x6e, 0x6d, 0x6c, 0x6b, 0x6a, 0x71, 0x72, 0x73, 0x5f, 0x5e, 0x50, 0x4f, 0x4e, 0x4d, 0x78, 0x77:
		return featGC
	}
	return nil
}

// unknownSection names the feature that a section belongs to.
func unknownSection(id byte, at int) error {
	switch {
	case wasm.SectionID(id).Order() >= 0:
		return nil
	case id == 13:
		return feature(at, featExceptions, "section 13 (tags)")
	case id == 14:
		return feature(at, featStringRef, "section 14 (strings)")
	}
	return invalid(at, "there is no section %d", id)
}

// valType reads a value type and names the feature of one that is unknown.
func valType(r *wasm.Reader) (wasm.ValType, error) {
	at := r.Offset()
	b, err := r.Byte()
	if err != nil {
		return 0, err
	}
	if t := wasm.ValType(b); t.Valid() {
		return t, nil
	}
	if f := typeFeature(b); f != nil {
		return 0, feature(at, f, fmt.Sprintf("type %#02x", b))
	}
	return 0, invalid(at, "%#02x is not a value type", b)
}

// refType reads a reference type.
func refType(r *wasm.Reader) (wasm.ValType, error) {
	at := r.Offset()
	t, err := valType(r)
	if err == nil && !t.IsRef() {
		err = invalid(at, "%s is not a reference type", t)
	}
	return t, err
}
