package inspection_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/inspection"
	"github.com/dugnad/dugnad/runtime/lint"
)

func inspect(t *testing.T, module []byte) api.Inspection {
	t.Helper()
	report, result, err := inspection.Of(module)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := inspection.Facts(module, report, result)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// TestFactsAgree compares the facts that come from lint with those that come
// from the meter, for modules of all kinds.
func TestFactsAgree(t *testing.T) {
	files, err := filepath.Glob("../../runtime/worker/testdata/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d modules, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			module, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			facts := inspect(t, module)
			if want := fmt.Sprintf("sha256:%x", sha256.Sum256(module)); facts.Module != want || facts.Bytes != len(module) {
				t.Errorf("module %s of %d bytes, want %s of %d", facts.Module, facts.Bytes, want, len(module))
			}
			instructions := 0
			for _, c := range facts.Classes {
				instructions += c.Instructions
			}
			if instructions != facts.Instructions {
				t.Errorf("classes have %d instructions together, the module %d", instructions, facts.Instructions)
			}
			if !slices.IsSortedFunc(facts.Classes, func(x, y api.ClassShare) int {
				return int(y.Fuel)*y.Instructions - int(x.Fuel)*x.Instructions
			}) {
				t.Errorf("the dearest class is not the first of %+v", facts.Classes)
			}
			if facts.MeteredBytes <= facts.Bytes || facts.Growth <= 1 {
				t.Errorf("metered it has %d bytes, %.2f of %d", facts.MeteredBytes, facts.Growth, facts.Bytes)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	header := []byte("\x00asm\x01\x00\x00\x00")
	tests := []struct {
		name       string
		memory     []byte
		start, top uint64
	}{
		{"none", nil, 0, 0},
		{"unbounded", []byte{5, 3, 1, 0, 2}, 2 << 16, 0},
		{"bounded", []byte{5, 4, 1, 1, 2, 9}, 2 << 16, 9 << 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts := inspect(t, slices.Concat(header, tt.memory))
			if facts.MemoryBytes != tt.start || facts.MemoryBytesMax != tt.top {
				t.Errorf("memory from %d to %d bytes, want %d to %d", facts.MemoryBytes, facts.MemoryBytesMax, tt.start, tt.top)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	var refusal *lint.Refusal
	if _, _, err := inspection.Of([]byte("\x7fELF, say")); !errors.As(err, &refusal) {
		t.Errorf("error %v, want a refusal of lint", err)
	}
}
