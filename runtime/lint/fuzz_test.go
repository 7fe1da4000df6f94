package lint

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
)

// small are limits under which an accepted module is cheap for wazero too.
func small() Limits {
	l := Default()
	l.TableEntries, l.MemoryPages = 10_000, 100
	l.LocalsTotal = 100_000
	return l
}

// harmless reports whether wazero can be shown a module that lint refuses: it
// believes any count that it reads, so that no number may be large.
func harmless(module []byte) bool {
	run := 0
	for _, b := range module {
		if run++; b < 0x80 {
			run = 0
		}
		if run > 1 {
			return false
		}
	}
	return true
}

// FuzzCheck checks that every input is decided, within bounded memory, and as
// wazero decides it: what lint accepts compiles, what it calls invalid does not.
func FuzzCheck(f *testing.F) {
	for _, suite := range suites {
		eachCommand(f, suite, func(_ string, _ wasmtest.Command, module []byte) {
			if len(module) < 2000 {
				f.Add(module)
			}
		})
	}
	var before, after runtime.MemStats
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) > 64<<10 {
			return
		}
		runtime.ReadMemStats(&before)
		report, err := Check(module, small())
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20+uint64(len(module))*400 {
			t.Errorf("%d bytes made Check allocate %d", len(module), used)
		}
		var r *Refusal
		switch {
		case err == nil:
			if werr := accepts(module); werr != nil {
				t.Errorf("lint accepts what wazero refuses: %v", werr)
			}
			if n := instructions(t, module); n != report.Instructions {
				t.Errorf("lint reads %d instructions, the reader %d", report.Instructions, n)
			}
		case !errors.As(err, &r):
			t.Errorf("the error is no refusal: %v", err)
		case r.Offset < 0 || r.Offset > len(module) || r.Detail == "" || r.Section == "":
			t.Errorf("incomplete refusal %+v", r)
		case r.Code == CodeInvalid && harmless(module):
			if werr := accepts(module); werr == nil && !lenient(r) {
				t.Errorf("lint refuses what wazero accepts: %v", err)
			}
		}
	})
}

// lenient reports whether wazero is known not to check what r is about.
// It lets segments and elements begin at globals that change, or that the module
// itself defines, and it looks neither at the sizes within a name section nor at the
// types of tables.
func lenient(r *Refusal) bool {
	tableType := (r.Section == "import" || r.Section == "table") && strings.Contains(r.Detail, "type")
	return r.Section == "custom" || tableType || strings.Contains(r.Detail, "a constant expression names global")
}
