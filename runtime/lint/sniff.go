package lint

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

const expected = "a WebAssembly module begins with the bytes 00 61 73 6d 01 00 00 00; build one for wasm32-wasip1"

// kinds are the files that are mistaken for modules, by how they begin.
var kinds = []struct{ magic, what string }{
	{"\x7fELF", "an ELF program or object for a real machine"},
	{"MZ", "a Windows program"},
	{"\xcf\xfa\xed\xfe", "a macOS program"},
	{"\xca\xfe\xba\xbe", "a macOS universal program or a Java class"},
	{"\x1f\x8b", "a gzip archive (unpack it first)"},
	{"\x28\xb5\x2f\xfd", "a zstd archive (unpack it first)"},
	{"\xfd7zXZ", "an xz archive (unpack it first)"},
	{"BZh", "a bzip2 archive (unpack it first)"},
	{"PK\x03\x04", "a zip archive (unpack it first)"},
	{"!<arch>", "a static library (link it first)"},
	{"BC\xc0\xde", "LLVM bitcode (compile and link it first)"},
	{"#!", "a script"},
	{"%PDF", "a PDF document"},
	{"\x89PNG", "a PNG image"},
}

func notModule(code, detail, help string) error {
	return &Refusal{Code: code, Section: "module", Function: -1, Detail: detail, Help: help}
}

// sniff refuses what does not begin like a module, and says what it looks like.
func sniff(module []byte) error {
	if len(module) >= 8 && string(module[:8]) == wasm.Magic {
		return nil
	}
	if len(module) == 0 {
		return notModule(CodeNotModule, "the file is empty", expected)
	}
	if bytes.HasPrefix(module, []byte("\x00asm")) {
		return version(module)
	}
	if bytes.HasPrefix([]byte(wasm.Magic), module) {
		return notModule(CodeNotModule, "the file ends within the module's first 8 bytes", expected)
	}
	for _, k := range kinds {
		if bytes.HasPrefix(module, []byte(k.magic)) {
			return notModule(CodeNotModule, "the file looks like "+k.what, expected)
		}
	}
	return text(module)
}

// version refuses what begins with the magic number but not with version 1.
func version(module []byte) error {
	if len(module) < 8 {
		return notModule(CodeNotModule, "the file ends within the module's first 8 bytes", expected)
	}
	if module[6] == 1 && module[7] == 0 {
		return notModule(CodeComponent, "the file is a component of the component model, not a core module",
			"build a core module for wasm32-wasip1 (not wasip2), or take one out with `wasm-tools component unbundle`")
	}
	return notModule(CodeNotModule, fmt.Sprintf("the module has version % x instead of 01 00 00 00", module[4:8]), expected)
}

// text refuses text and anything else.
func text(module []byte) error {
	head := module[:min(len(module), 512)]
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	lower := bytes.ToLower(trimmed)
	switch {
	case bytes.HasPrefix(trimmed, []byte("(module")), bytes.HasPrefix(trimmed, []byte("(component")),
		bytes.HasPrefix(trimmed, []byte(";;")), bytes.HasPrefix(trimmed, []byte("(;")):
		return notModule(CodeNotModule, "the file is WebAssembly text, not binary", "translate it with `wat2wasm` or `wasm-tools parse`")
	case bytes.HasPrefix(lower, []byte("<!doctype")), bytes.HasPrefix(lower, []byte("<html")):
		return notModule(CodeNotModule, "the file is an HTML page, perhaps an error page that a download saved", expected)
	case bytes.IndexByte(head, 0) < 0 && utf8.Valid(head[:max(0, len(head)-3)]):
		return notModule(CodeNotModule, "the file looks like plain text", expected)
	}
	return notModule(CodeNotModule, fmt.Sprintf("the file begins with % x", head[:min(len(head), 8)]), expected)
}
