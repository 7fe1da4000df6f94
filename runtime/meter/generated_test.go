package meter_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// generator makes a valid module of any bytes; it comes with Binaryen.
const generator = "wasm-opt"

// generate has the generator make a module of the random bytes of a seed.
func generate(t *testing.T, dir string, seed uint64) string {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	input := make([]byte, 1000+r.IntN(4000))
	for i := range input {
		input[i] = byte(r.Uint32())
	}
	from, to := filepath.Join(dir, "bytes"), filepath.Join(dir, fmt.Sprintf("ttf-%d.wasm", seed))
	if err := os.WriteFile(from, input, 0o600); err != nil {
		t.Fatal(err)
	}
	// Without --denan a result may be any NaN, which the engines choose each for
	// itself.
	out, err := exec.Command(generator, "--translate-to-fuzz", from, "-o", to, "--denan", "--enable-simd", "--enable-bulk-memory", "--enable-sign-ext",
		"--enable-nontrapping-float-to-int", "--enable-mutable-globals", "--enable-multivalue").CombinedOutput()
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, out)
	}
	return to
}

// generatedFiles are modules that were generated once, for machines without the
// generator: see testdata/generated/README.md.
func generatedFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/generated/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatalf("no generated modules: %v", err)
	}
	return files
}

func TestGeneratedModulesBehave(t *testing.T) {
	if n := compareFiles(t, generatedFiles(t)); n < len(generatedFiles(t))/2 {
		t.Errorf("only %d modules compared", n)
	}
}

// TestFreshModulesBehave compares modules that are generated now: of a few fixed
// seeds, or with DUGNAD_SUITE=whole of 200 new ones. DUGNAD_SEED names the first.
func TestFreshModulesBehave(t *testing.T) {
	if _, err := exec.LookPath(generator); err != nil {
		t.Skipf("Binaryen is not installed: %v", err)
	}
	first, count := uint64(1000), 8
	if os.Getenv("DUGNAD_SUITE") == "whole" {
		first, count = rand.Uint64N(1e9), 200
	}
	if s := os.Getenv("DUGNAD_SEED"); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seeds %d to %d: repeat with DUGNAD_SEED=%d", first, first+uint64(count)-1, first)
	dir, modules, calls := t.TempDir(), 0, 0
	for seed := first; seed < first+uint64(count); seed++ {
		b, err := os.ReadFile(generate(t, dir, seed))
		if err != nil {
			t.Fatal(err)
		}
		n, err := differential(b)
		if errors.Is(err, errSkip) {
			continue
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		modules, calls = modules+1, calls+n
	}
	t.Logf("%d of %d modules, %d calls compared", modules, count, calls)
}
