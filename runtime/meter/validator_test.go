package meter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// TestOutputPassesAnotherValidator asks wabt's validator, which shares nothing
// with the engine, about every kernel and every hundredth module of the core
// test suite.
func TestOutputPassesAnotherValidator(t *testing.T) {
	validator, err := exec.LookPath("wasm-validate")
	if err != nil {
		t.Skip("no wasm-validate on this machine: install Debian's package wabt")
	}
	modules := map[string][]byte{}
	for name := range kernels {
		modules[name] = kernel(t, name)
	}
	for i, path := range specFiles(t) {
		if b, err := os.ReadFile(path); err == nil && i%100 == 0 {
			modules[filepath.Base(path)] = b
		}
	}
	folder, checked := t.TempDir(), 0
	for name, b := range modules {
		if _, err := lint.Check(b, lint.Default()); err != nil {
			continue
		}
		r, err := meter.Rewrite(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, out := range [][]byte{r.Module, r.Skeleton} {
			path := filepath.Join(folder, "module.wasm")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if message, err := exec.Command(validator, "--enable-extended-const", path).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, message)
			}
			checked++
		}
	}
	t.Logf("%d modules checked", checked)
	if checked < 40 {
		t.Errorf("only %d modules checked", checked)
	}
}
