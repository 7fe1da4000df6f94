package span

import (
	"encoding/hex"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

const client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestOf: every node finds the same trace, and no two spans of a job have one id.
func TestOf(t *testing.T) {
	job, other := ledger.JobID{1}, ledger.JobID{2}
	own := Of(job, "")
	if own.ID != job || own.Above != (ID{}) || own != Of(job, "") || own != Of(job, "nonsense") {
		t.Errorf("own trace: %+v", own)
	}
	given := Of(job, client)
	if hex.EncodeToString(given.ID[:]) != "4bf92f3577b34da6a3ce929d0e0e4736" || hex.EncodeToString(given.Above[:]) != "00f067aa0ba902b7" || given.Root != own.Root {
		t.Errorf("the client's trace: %+v", given)
	}
	next := Of(other, "")
	seen := map[ID]bool{}
	for _, id := range []ID{own.Root, own.Lease(1), own.Lease(2), next.Root, next.Lease(1)} {
		if seen[id] || id == (ID{}) {
			t.Errorf("id %x again", id)
		}
		seen[id] = true
	}
}

// TestParent: what is no traceparent is none.
func TestParent(t *testing.T) {
	for text, want := range map[string]bool{
		client:                   true,
		client[:53] + "00":       true, // the client has not sampled its trace
		"01" + client[2:] + "-x": true,
		"01" + client[2:] + "x":  false,
		client + "-x":            false,
		"ff" + client[2:]:        false,
		client[:54]:              false,
		"":                       false,
		"0g" + client[2:]:        false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01": false,
	} {
		trace, above, ok := Parent(text)
		if ok != want {
			t.Errorf("%q: %t, want %t", text, ok, want)
		}
		if again, id, _ := Parent(FormatParent(trace, above)); ok && (again != trace || id != above) {
			t.Errorf("%q: %x, %x again", text, again, id)
		}
	}
}

// FuzzParent: what is read is read the same again, and is never zero.
func FuzzParent(f *testing.F) {
	f.Add(client)
	f.Add("01" + client[2:] + "-")
	f.Fuzz(func(t *testing.T, text string) {
		trace, above, ok := Parent(text)
		if !ok {
			if trace != [16]byte{} || above != (ID{}) {
				t.Errorf("%x, %x of nothing", trace, above)
			}
			return
		}
		if again, id, ok := Parent(FormatParent(trace, above)); !ok || again != trace || id != above || trace == [16]byte{} || above == (ID{}) {
			t.Errorf("%x, %x, then %x, %x", trace, above, again, id)
		}
	})
}
