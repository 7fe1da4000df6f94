package meter_test

import (
	"testing"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/meter"
)

// TestGrowthOfGigabytesIsPaid grows by as much as a memory has, whose fuel is more
// than a state can hold.
func TestGrowthOfGigabytesIsPaid(t *testing.T) {
	for _, pages := range []uint64{32_767, 32_768, 32_769, 49_152, 65_536} {
		h := newHost(t, compiler().WithMemoryCapacityFromMax(true), wasmtest.Assemble("memory 0 65536\nfunc \"run\" (i32) -> (i32)\nlocal.get 0\nmemory.grow\nend"))
		got, fuel, err := h.call("run", pages)
		if err != nil || got[0] != 0 || fuel < int64(pages)*meter.PageFuel || fuel > int64(pages)*meter.PageFuel+1000 {
			t.Errorf("growth by %d pages: %v, %v with fuel %d", pages, got, err, fuel)
		}
		if _, stack := meter.Unpack(h.state.Get()); stack != h.stack {
			t.Errorf("growth by %d pages: %d bytes of stack left, %d given", pages, stack, h.stack)
		}
	}
}
