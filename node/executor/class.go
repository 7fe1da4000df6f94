package executor

import (
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
)

// Class is how an attempt ended, as ledger.Run.Exit and ledger.Ending.Exit keep
// it. The numbers are stored and the names are stable; new ones go to the end.
type Class uint8

// The classes.
const (
	// ClassNone: the guest exited with 0, or the task never ran.
	ClassNone Class = iota
	// ClassExit: the guest exited with another code than 0.
	ClassExit
	ClassTrap
	ClassOutOfFuel
	ClassDeadline
	ClassCancelled
	ClassOutputLimit
	ClassScratchLimit
	ClassMemoryLimit
	ClassRefused
	ClassWorkerLost
	// ClassUnkept: the task ended, but its output could not be stored.
	ClassUnkept
	// ClassOther: a kind of outcome that this version does not know.
	ClassOther
	// ClassUnread: the guest was not run, as what it was to read of another job's
	// outputs could not be had.
	ClassUnread

	classes
)

// classTable has for each class its name, the kind of outcome that it stands for
// and what becomes of the task.
var classTable = [classes]struct {
	name  string
	kind  task.Kind
	state ledger.TaskState
}{
	ClassNone:         {"none", "", ledger.TaskSucceeded},
	ClassExit:         {"exit", task.Exited, ledger.TaskFailed},
	ClassTrap:         {"trap", task.Trapped, ledger.TaskFailed},
	ClassOutOfFuel:    {"out_of_fuel", task.OutOfFuel, ledger.TaskFailed},
	ClassDeadline:     {"deadline", task.DeadlineExceeded, ledger.TaskFailed},
	ClassCancelled:    {"cancelled", task.Cancelled, ledger.TaskKilled},
	ClassOutputLimit:  {"output_limit", task.OutputLimit, ledger.TaskFailed},
	ClassScratchLimit: {"scratch_limit", task.ScratchLimit, ledger.TaskFailed},
	ClassMemoryLimit:  {"memory_limit", task.MemoryLimit, ledger.TaskFailed},
	ClassRefused:      {"refused", task.Refused, ledger.TaskRefused},
	ClassWorkerLost:   {"worker_lost", task.WorkerLost, ledger.TaskFailed},
	ClassUnkept:       {"output_unkept", "", ledger.TaskFailed},
	ClassOther:        {"other", "", ledger.TaskFailed},
	ClassUnread:       {"input_unread", "", ledger.TaskFailed},
}

// ClassOf returns the class of an outcome.
func ClassOf(o *task.Outcome) Class {
	if o.Kind == task.Exited && o.ExitCode == 0 {
		return ClassNone
	}
	for c := ClassExit; c < ClassUnkept; c++ {
		if classTable[c].kind == o.Kind {
			return c
		}
	}
	return ClassOther
}

// Classes lists every class.
func Classes() []Class {
	list := make([]Class, classes)
	for i := range list {
		list[i] = Class(i)
	}
	return list
}

// State returns what becomes of a task whose attempt ended so. A failed one may
// get another attempt.
func (c Class) State() ledger.TaskState {
	if c < classes {
		return classTable[c].state
	}
	return ledger.TaskFailed
}

// String returns the class's stable name. That of ledger.ExitVarious is
// "various".
func (c Class) String() string {
	switch {
	case c < classes:
		return classTable[c].name
	case c == ledger.ExitVarious:
		return "various"
	}
	return fmt.Sprintf("class %d", uint8(c))
}
