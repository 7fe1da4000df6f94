package sandbox

import (
	"testing"

	"github.com/dugnad/dugnad/runtime/scratch"
	"github.com/dugnad/dugnad/runtime/task"
)

// TestScratchEnding: a full scratch space is why a guest failed, unless it
// ended well or something else stopped it.
func TestScratchEnding(t *testing.T) {
	trap := func(k task.TrapKind) task.Outcome {
		return task.Outcome{Kind: task.Trapped, Trap: &task.Trap{Kind: k}, Message: "unreachable", Stack: []task.Frame{{Function: "f"}}}
	}
	for name, c := range map[string]struct {
		end   task.Outcome
		limit string
		kind  task.Kind
		words string
	}{
		"exits with 0":         {task.Outcome{Kind: task.Exited}, scratch.LimitBytes, task.Exited, ""},
		"exits with 7":         {task.Outcome{Kind: task.Exited, ExitCode: 7}, scratch.LimitFiles, task.ScratchLimit, "the guest filled its scratch space and exited with 7"},
		"traps":                {trap(task.TrapUnreachable), scratch.LimitBytes, task.ScratchLimit, "the guest filled its scratch space and trapped: unreachable"},
		"exhausts its stack":   {trap(task.TrapStack), scratch.LimitBytes, task.Trapped, "unreachable"},
		"has too many open":    {task.Outcome{Kind: task.Exited, ExitCode: 7}, scratch.LimitHandles, task.Exited, ""},
		"is at its deadline":   {task.Outcome{Kind: task.DeadlineExceeded}, scratch.LimitBytes, task.DeadlineExceeded, ""},
		"is at its fuel limit": {task.Outcome{Kind: task.OutOfFuel}, scratch.LimitBytes, task.OutOfFuel, ""},
	} {
		o := scratchEnding(c.end, c.limit)
		if o.Kind != c.kind || o.Message != c.words || len(o.Stack) != len(c.end.Stack) || (o.Kind == task.Trapped) != (o.Trap != nil) {
			t.Errorf("%s: got %+v", name, o)
		}
	}
}
