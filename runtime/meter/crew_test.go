package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// largeModule has functions that call one another, too many to be scanned by one
// goroutine. Those that are bad take an operand that is not there.
func largeModule(bad map[int]bool) []byte {
	const functions = 200
	var b strings.Builder
	for i := range functions {
		fmt.Fprintf(&b, "func \"f%d\" (i32) -> (i32) local i32\n", i)
		if bad[i] {
			b.WriteString("i32.add\n")
		}
		for range 20 + i%20 {
			fmt.Fprintf(&b, "block\nlocal.get 0\ni32.const %d\ni32.add\nlocal.tee 1\nbr_if 0\nlocal.get 1\nlocal.set 0\nend\n", i)
		}
		if i%3 > 0 {
			fmt.Fprintf(&b, "local.get 1\ncall %d\ndrop\n", (i*7)%functions)
		}
		b.WriteString("local.get 1\nend\n")
	}
	return wasmtest.Assemble(b.String())
}

// rewriteWith rewrites with so many processors.
func rewriteWith(processors int, module []byte) (meter.Result, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	return meter.Rewrite(module)
}

func TestManyProcessorsWriteTheSame(t *testing.T) {
	good, bad := largeModule(nil), largeModule(map[int]bool{60: true, 150: true, 190: true})
	if len(good) < 80<<10 {
		t.Fatalf("the module has only %d bytes", len(good))
	}
	want, err := rewriteWith(1, good)
	if err != nil {
		t.Fatal(err)
	}
	_, wantErr := rewriteWith(1, bad)
	if !errors.Is(wantErr, meter.ErrModule) || !strings.Contains(wantErr.Error(), "function 60") {
		t.Fatalf("a bad module: %v", wantErr)
	}
	for _, processors := range []int{2, 3, 4, 9} {
		got, err := rewriteWith(processors, good)
		if err != nil || !bytes.Equal(got.Module, want.Module) || !bytes.Equal(got.Skeleton, want.Skeleton) || got.Checks != want.Checks {
			t.Errorf("%d processors: another result, %v", processors, err)
		}
		if _, err := rewriteWith(processors, bad); err == nil || err.Error() != wantErr.Error() {
			t.Errorf("%d processors: %v, not %v", processors, err, wantErr)
		}
	}
}
