package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// goModule builds a Go program for wasip1: the kind of module that is checked
// most.
func goModule(tb testing.TB) []byte {
	tb.Helper()
	dir := tb.TempDir()
	source := "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(dir, "main.wasm")
	cmd := exec.Command("go", "build", "-o", out, filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the Go module: %v\n%s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

func TestGoProgramPasses(t *testing.T) {
	module := goModule(t)
	report, err := Check(module, Default())
	if err != nil {
		t.Fatal(err)
	}
	if n := instructions(t, module); n != report.Instructions {
		t.Errorf("%d instructions, the reader finds %d", report.Instructions, n)
	}
	if report.Functions < 1000 || report.Start || report.Exports != 2 || !report.Memory || report.Instructions < 100_000 {
		t.Errorf("report %+v", report)
	}
}

func BenchmarkCheckGoProgram(b *testing.B) {
	module := goModule(b)
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check(module, Default()); err != nil {
			b.Fatal(err)
		}
	}
}

// instructions counts the instructions of a valid module with the reader that
// the meter uses.
func instructions(tb testing.TB, module []byte) (n int) {
	tb.Helper()
	r := wasm.NewReader(module, len(wasm.Magic), len(module))
	for r.Len() > 0 {
		id, sub, err := r.Section()
		if err != nil {
			tb.Fatal(err)
		}
		if id != wasm.SectionCode {
			continue
		}
		bodies, _ := sub.U32()
		for range bodies {
			size, _ := sub.U32()
			body, err := sub.Sub(size)
			if err != nil {
				tb.Fatal(err)
			}
			groups, _ := body.U32()
			for range groups {
				_, _ = body.U32()
				_, _ = body.ValType()
			}
			for in := (wasm.Instr{}); body.Len() > 0; n++ {
				if err := body.Next(&in); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	return n
}
