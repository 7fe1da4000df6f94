package measure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// patterns are looked for together, as a highlighter of text does.
var patterns = []string{
	`\bnode-(\d+)\b`, `(?<=fuel=)\d{5,}`, `(?i)DEADLINE|trap`, `^(\d{4})-(\d{2})-(\d{2})`, `[0-9a-f]{6}(?=\sended)`,
}

const onigurumaTextBytes = 48 << 10

// oniguruma finds every match of some patterns in a text.
func oniguruma() Workload {
	constants := map[string]uint64{}
	return Workload{
		Name: "Oniguruma", Kind: Program, Licence: "BSD-2-Clause, packaging MIT", What: "regular expressions, in C",
		Source: Source{
			Name: "onig.wasm", NPM: "vscode-oniguruma@2.0.1", Path: "package/release/onig.wasm",
			SHA256: "76ebc1f0d87b2e7449a45ff3cd1a1546a9f05f54bdac44ee03e8a2b8348897be",
		},
		Host: map[string]HostFunc{
			"env.emscripten_memcpy_big": copyMemory,
			"env._embind_register_constant": func(g Guest, args []uint64) uint64 {
				if name, err := g.Read(uint32(args[0]), constantNameBytes); err == nil {
					name, _, _ = bytes.Cut(name, []byte{0})
					constants[string(name)] = uint64(math.Float64frombits(args[2]))
				}
				return 0
			},
		},
		Begin: func(g Guest) (Step, error) { return beginOniguruma(g, constants) },
	}
}

// constantNameBytes is enough for the names that Oniguruma registers.
const constantNameBytes = 40

// constructors are what has to be called in this order before anything else.
var constructors = []string{"__wasm_call_ctors", "_embind_initialize_bindings"}

func beginOniguruma(g Guest, constants map[string]uint64) (Step, error) {
	for _, name := range constructors {
		if _, err := g.Call(name); err != nil {
			return nil, err
		}
	}
	var starts, sizes []byte
	for _, p := range patterns {
		at, err := put(g, "omalloc", []byte(p))
		if err != nil {
			return nil, err
		}
		starts = binary.LittleEndian.AppendUint32(starts, uint32(at))
		sizes = binary.LittleEndian.AppendUint32(sizes, uint32(len(p)))
	}
	text := logText(onigurumaTextBytes)
	var at [3]uint64
	for i, data := range [][]byte{starts, sizes, text} {
		var err error
		if at[i], err = put(g, "omalloc", data); err != nil {
			return nil, err
		}
	}
	scanner, err := g.Call("createOnigScanner", at[0], at[1], uint64(len(patterns)),
		constants["ONIG_OPTION_CAPTURE_GROUP"], constants["ONIG_SYNTAX_DEFAULT"])
	if err != nil {
		return nil, err
	}
	if uint32(scanner) == 0 {
		return nil, fmt.Errorf("the scanner of %d patterns is refused", len(patterns))
	}
	identity := uint64(0)
	return func() (string, error) {
		found, position, sum := 0, uint64(0), uint64(0)
		identity++
		for {
			match, err := g.Call("findNextOnigScannerMatch", scanner, identity, at[2], uint64(len(text)), position, 0)
			if err != nil {
				return "", err
			}
			if uint32(match) == 0 {
				return fmt.Sprint(found, sum), nil
			}
			b, err := g.Read(uint32(match), 16)
			if err != nil {
				return "", err
			}
			start, end := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
			found, sum = found+1, sum*31+uint64(start)
			position = uint64(max(end, start+1))
		}
	}, nil
}
