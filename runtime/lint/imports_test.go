package lint_test

import (
	"os"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/runtime/lint"
)

func moduleOf(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("../worker/testdata/" + name + ".wasm")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestImports: what is imported is read, also of a module that goes on where nobody
// looks, and of what is none there is nothing.
func TestImports(t *testing.T) {
	module := moduleOf(t, "hoard")
	list := lint.Imports(module)
	if !slices.Contains(list, lint.Import{Module: "dugnad_v1", Name: "http_open"}) || !slices.Contains(list, lint.Import{Module: "wasi_snapshot_preview1", Name: "fd_read"}) {
		t.Errorf("%v", list)
	}
	if cut := lint.Imports(module[:len(module)-1]); !slices.Equal(cut, list) {
		t.Errorf("%v of a module that is cut short, want %v", cut, list)
	}
	for _, b := range [][]byte{nil, module[:8], []byte("no module"), module[:20]} {
		if list := lint.Imports(b); len(list) > 0 {
			t.Errorf("%.20q imports %v", b, list)
		}
	}
}

// FuzzImports: whatever it is given, what is read is in it.
func FuzzImports(f *testing.F) {
	f.Add(moduleOf(f, "hello"))
	f.Add(moduleOf(f, "import"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		for _, i := range lint.Imports(b) {
			size += len(i.Module) + len(i.Name) + 3
		}
		if size > len(b) {
			t.Errorf("%d bytes of imports in %d", size, len(b))
		}
	})
}
