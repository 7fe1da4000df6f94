package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/task"
)

// writes notes each write.
type writes struct{ sizes []int }

func (w *writes) WriteContext(_ context.Context, p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return len(p), nil
}

func (w *writes) Write(p []byte) (int, error) { return w.WriteContext(context.Background(), p) }

// TestVectorIsOneWrite: the buffers of one fd_write go out together, as far as
// they are small, and in order.
func TestVectorIsOneWrite(t *testing.T) {
	iovec := func(n int) string {
		return string([]byte{0, 0, 16, 0, byte(n), byte(n >> 8), byte(n >> 16), 0})
	}
	for name, tt := range map[string]struct {
		vector string
		want   []int
	}{
		"small":            {strings.Repeat(iovec(1), 1000), []int{1000}},
		"more than held":   {strings.Repeat(iovec(1000), 100), []int{65_000, 35_000}},
		"large":            {iovec(heldMax), []int{heldMax}},
		"large in between": {iovec(7) + iovec(2*heldMax) + iovec(5) + iovec(6), []int{7, 2 * heldMax, 11}},
		"empty":            {iovec(0), nil},
	} {
		p := priceProgram{
			before: wasi("fd_write", 1, 2<<20, len(tt.vector)/8, 8),
			module: fmt.Sprintf("data 2097152 %q\n", tt.vector),
		}
		w := &writes{}
		m := load(t, open(t, nil), metered(t, p.bytes()))
		if o := m.Run(t.Context(), task.Spec{}, Streams{Stdout: w}); o.Kind != task.Exited {
			t.Errorf("%s: got %+v", name, o)
		}
		if got := w.sizes; !slices.Equal(got, tt.want) {
			t.Errorf("%s: writes of %v, want %v", name, got, tt.want)
		}
	}
}

// TestVectorTellsOfItsError: a stdout that is gone is known when fd_write returns.
func TestVectorTellsOfItsError(t *testing.T) {
	module := wasmtest.Assemble(`import "wasi_snapshot_preview1" "fd_write" (i32 i32 i32 i32) -> (i32)
		memory 1
		data 0 "\x40\x00\x00\x00\x01\x00\x00\x00\x40\x00\x00\x00\x01\x00\x00\x00"
		func "write" () -> (i32)
		i32.const 1
		i32.const 0
		i32.const 2
		i32.const 100
		call 0
		end`)
	m := load(t, open(t, nil), metered(t, module))
	results, o := m.RunExport(t.Context(), task.Spec{}, Streams{Stdout: broken{}}, "write")
	if o.Kind != task.Exited || len(results) != 1 || results[0] != errnoPipe {
		t.Errorf("got %v, %+v, want %d", results, o, errnoPipe)
	}
}
