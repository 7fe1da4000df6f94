package ledger_test

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestRevoked: a delegation is revoked until it is over by itself, and no other is.
func TestRevoked(t *testing.T) {
	d := newDriver(t)
	brief, ever := [32]byte{1}, [32]byte{2}
	is := func(id [32]byte) bool {
		t.Helper()
		revoked, err := ledger.Revoked(d.Memory, id)
		if err != nil {
			t.Fatal(err)
		}
		return revoked
	}
	d.do(&ledger.Revoke{ID: brief, Until: d.now + 60*second})
	d.do(&ledger.Revoke{ID: ever})
	if !is(brief) || !is(ever) || is([32]byte{3}) {
		t.Errorf("brief %t, ever %t, other %t", is(brief), is(ever), is([32]byte{3}))
	}
	d.now += 61 * second
	d.do(&ledger.Tick{})
	if is(brief) || !is(ever) {
		t.Errorf("later: brief %t, ever %t", is(brief), is(ever))
	}
	d.check()
}
