package placement

import (
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/google/go-cmp/cmp"
)

// TestNote: reasons come back from the ledger as they were.
func TestNote(t *testing.T) {
	want := Reasons{Nodes: 9, Sampled: 5, FreeAt: 7, Counts: []Count{
		{Code: CodeFullMemory, Nodes: 4, Need: 3, Nearest: 2},
		{Code: CodeLabel, Detail: "gpu=yes", Nodes: 3},
		{Code: CodeOther, Nodes: 2},
	}}
	b := newBook(t)
	b.do(&ledger.CreateTenant{Tenant: "t", Weight: 1})
	b.do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	b.do(&ledger.Submit{Job: bookJob(1), Spec: ledger.JobSpec{Tenant: "t", Module: ledger.ModuleID{1}, Count: 1, Task: ledger.Resources{Slots: 1}, FuelMax: 1, Retry: ledger.Retry{AttemptsMax: 1}}})
	b.do(&ledger.NoteReasons{Notes: []ledger.Note{want.Note(bookJob(1))}})
	noted, err := ledger.FindReasons(b.Memory, bookJob(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ReadReasons(&noted)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	noted.List[0].What = "phase-of-moon"
	if r := ReadReasons(&noted); r.Counts[0].Code != CodeOther {
		t.Errorf("a name that is not known is %v", r.Counts[0].Code)
	}
}

// TestCommands: the parts are small, complete and in order.
func TestCommands(t *testing.T) {
	for _, n := range []int{0, 1, 16, 17, 100} {
		var in, out []ledger.Placement
		for i := range n {
			in = append(in, ledger.Placement{Start: uint32(i)})
		}
		for _, c := range Commands(in) {
			if len(c.Placements) == 0 || len(c.Placements) > CommandPlacementsMax {
				t.Errorf("%d placements: a command has %d", n, len(c.Placements))
			}
			out = append(out, c.Placements...)
		}
		if !slices.Equal(in, out) {
			t.Errorf("%d placements: the commands have others", n)
		}
	}
}
