package httpd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

// stretch is some tasks in a state.
type stretch struct {
	state      ledger.TaskState
	first, end uint32
}

// TestCells: each cell counts its tasks, however many are in one, and the last those
// that are left.
func TestCells(t *testing.T) {
	tests := []struct {
		name  string
		q     mapQuery
		count uint32
		add   []stretch
		final bool
		want  api.TaskMap
	}{
		{
			"one",
			mapQuery{},
			1,
			[]stretch{{ledger.TaskSucceeded, 0, 1}},
			true,
			api.TaskMap{End: 1, Per: 1, Cells: []api.Tasks{{Succeeded: 1}}},
		},
		{
			"several in a cell",
			mapQuery{Cells: 3},
			10,
			[]stretch{{ledger.TaskSucceeded, 0, 5}, {ledger.TaskRunning, 5, 9}, {ledger.TaskQueued, 9, 10}},
			false,
			api.TaskMap{End: 10, Per: 4, Cells: []api.Tasks{{Succeeded: 4}, {Succeeded: 1, Running: 3}, {Running: 1, Queued: 1}}},
		},
		{
			"a part",
			mapQuery{From: 4, End: 8, Cells: 2},
			10,
			[]stretch{{ledger.TaskFailed, 4, 8}},
			true,
			api.TaskMap{From: 4, End: 8, Per: 2, Cells: []api.Tasks{{Failed: 2}, {Failed: 2}}},
		},
		{
			"behind the end",
			mapQuery{From: 8, End: 400, Cells: 2},
			10,
			[]stretch{{ledger.TaskFailed, 8, 10}},
			true,
			api.TaskMap{From: 8, End: 10, Per: 1, Cells: []api.Tasks{{Failed: 1}, {Failed: 1}}},
		},
		{
			"a spare counts once",
			mapQuery{Cells: 1},
			3,
			[]stretch{{ledger.TaskRunning, 0, 3}, {ledger.TaskLeased, 1, 2}},
			false,
			api.TaskMap{End: 3, Per: 3, Cells: []api.Tasks{{Running: 3}}},
		},
		{
			"killed while they waited",
			mapQuery{Cells: 2},
			4,
			[]stretch{{ledger.TaskSucceeded, 0, 1}},
			true,
			api.TaskMap{End: 4, Per: 2, Cells: []api.Tasks{{Succeeded: 1, Killed: 1}, {Killed: 2}}},
		},
		{
			"all that there can be",
			mapQuery{Cells: 2},
			ledger.CountMax,
			[]stretch{{ledger.TaskQueued, 0, ledger.CountMax}},
			false,
			api.TaskMap{End: ledger.CountMax, Per: ledger.CountMax / 2, Cells: []api.Tasks{{Queued: ledger.CountMax / 2}, {Queued: ledger.CountMax / 2}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCells(&tt.q, tt.count)
			for _, s := range tt.add {
				c.add(s.state, s.first, s.end)
			}
			if diff := cmp.Diff(tt.want, c.answer(tt.final)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
