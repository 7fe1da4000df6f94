package jobspec

import (
	"fmt"
	"math/bits"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
)

// TestDefaultFuel: an array of any length is accepted without a fuel limit, and a
// limit that is written is never another.
func TestDefaultFuel(t *testing.T) {
	module := "module: sha256:" + fmt.Sprintf("%064d", 1) + "\n"
	for count, want := range map[uint64]uint64{
		1:               task.Default().Fuel,
		10_000:          task.Default().Fuel,
		10_001:          99_900_000_000_000,
		30_000:          33_300_000_000_000,
		1_000_000:       1_000_000_000_000,
		ledger.CountMax: ArrayFuel / ledger.CountMax,
	} {
		j, err := Parse(fmt.Appendf(nil, "%scount: %d\n", module, count))
		if err != nil {
			t.Errorf("%d tasks: %v", count, err)
			continue
		}
		if uint64(j.Limits.Fuel) != want {
			t.Errorf("%d tasks: %d fuel each, want %d", count, j.Limits.Fuel, want)
		}
		if high, sum := bits.Mul64(count, uint64(j.Limits.Fuel)); high > 0 || sum > ArrayFuel {
			t.Errorf("%d tasks: %d fuel each is too much", count, j.Limits.Fuel)
		}
		j, err = Parse(fmt.Appendf(nil, "%scount: %d\nlimits: {fuel: 1234567890}\n", module, count))
		if err != nil || j.Limits.Fuel != 1_234_567_890 {
			t.Errorf("%d tasks: written fuel: %+v, %v", count, j, err)
		}
	}
	// One that does not fit is refused, not changed.
	if _, err := Parse(fmt.Appendf(nil, "%scount: 1000000\nlimits: {fuel: 100T}\n", module)); err == nil {
		t.Error("1,000,000 tasks of 100T are accepted")
	}
	if DefaultFuel(0) != Fuel(task.Default().Fuel) {
		t.Errorf("no tasks: %d", DefaultFuel(0))
	}
}
