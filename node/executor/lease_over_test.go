package executor

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// TestPassed: whichever leases come and go, in order of epoch, and whenever somebody
// looks, a look from where the last one left off misses none.
func TestPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var live []ledger.Lease
		var last, over, highest ledger.Epoch
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			for range rapid.IntRange(0, 3).Draw(t, "new") {
				last += ledger.Epoch(rapid.IntRange(1, 5).Draw(t, "gap"))
				live = append(live, ledger.Lease{Epoch: last})
			}
			var kept []ledger.Lease
			for _, l := range live {
				if rapid.IntRange(0, 2).Draw(t, "ends") > 0 {
					kept = append(kept, l)
				}
			}
			live = kept
			var seen []ledger.Lease
			for _, l := range live {
				if l.Epoch > over {
					seen = append(seen, l)
				}
			}
			if len(seen) != len(live) {
				t.Fatalf("%d leases are seen above %d, there are %d", len(seen), over, len(live))
			}
			if over, highest = passed(over, highest, seen); over > last {
				t.Fatalf("all up to %d are taken to be over, the last was %d", over, last)
			}
			if len(live) == 0 && over != highest {
				t.Fatalf("nothing is held, and the next look begins at %d instead of %d", over, highest)
			}
		}
	})
}
