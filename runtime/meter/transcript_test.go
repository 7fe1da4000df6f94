package meter_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew")

// TestTranscripts shows what becomes of each shape of code. A case is a
// comment, a module, four dashes, the module's functions, metered, and what was
// added to them.
func TestTranscripts(t *testing.T) {
	const path = "testdata/shapes.txt"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, c := range strings.Split(string(data), "\n\n#") {
		head, _, _ := strings.Cut(strings.TrimPrefix(c, "#"), "----")
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		out.WriteString("#" + head + "----\n" + transcript(t, head))
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(data), out.String()); diff != "" && !*rewrite {
		t.Errorf("run with -rewrite and look at the difference:\n%s", diff)
	}
}

func transcript(t *testing.T, head string) string {
	t.Helper()
	var text strings.Builder
	for _, line := range strings.Split(head, "\n")[1:] {
		if !strings.HasPrefix(line, "#") {
			text.WriteString(line + "\n")
		}
	}
	r, err := meter.Rewrite(wasmtest.Assemble(text.String()))
	if err != nil {
		t.Fatalf("%s: %v", head, err)
	}
	mustCompile(t, r.Module)
	mustCompile(t, r.Skeleton)
	var out strings.Builder
	for n := range r.Functions {
		body, err := wasmtest.PrintFunction(r.Module, n)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("func " + body)
	}
	for n := r.Functions; ; n++ {
		body, err := wasmtest.PrintFunction(r.Module, n)
		if err != nil {
			break
		}
		out.WriteString("added " + body)
	}
	fmt.Fprintf(&out, "loops %d, charges %d, checks %d, start fuel %d\n", r.Loops, r.Charges, r.Checks, r.StartFuel)
	return out.String()
}
