package meter_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/meter"
)

// TestVersionNamesTheOutput keeps a sum of what Rewrite makes of each kernel.
// Receipts and cached code name a Version: when this test fails because the
// output was meant to change, raise Version, then run it with -rewrite.
func TestVersionNamesTheOutput(t *testing.T) {
	const path = "testdata/version.golden"
	names := make([]string, 0, len(kernels))
	for name := range kernels {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	fmt.Fprintf(&out, "version %d\n", meter.Version)
	for _, name := range names {
		r, err := meter.Rewrite(kernel(t, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		sum.Write(r.Module)
		sum.Write(r.Skeleton)
		fmt.Fprintf(&out, "%s start fuel %d %x\n", name, r.StartFuel, sum.Sum(nil))
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("another output needs another Version:\n%s", diff)
	}
}
