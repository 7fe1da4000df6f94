package scheduler

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

// notes is what the ledger has been told of why jobs wait.
type notes struct {
	noted map[ledger.JobID]noted
	// wanted is what the ledger does not know yet.
	wanted map[ledger.JobID]ledger.Note
	flying bool
	// after is when the next command may go.
	after time.Time
}

// noted is what was last noted of a job.
type noted struct {
	reasons *placement.Reasons
	at      time.Time
	// told says that the ledger has been told of some.
	told bool
}

// newNotes begins with the first command at a time: the first passes of a leader
// whose board fills up see reasons that are none.
func newNotes(first time.Time) notes {
	return notes{noted: map[ledger.JobID]noted{}, wanted: map[ledger.JobID]ledger.Note{}, after: first}
}

// take notes what a pass has left. Reasons are noted again when other
// constraints speak against other numbers of nodes, no sooner than again; those
// of a job that waits no longer are cleared.
func (n *notes) take(list []placement.Left, now time.Time, again time.Duration) {
	waiting := make(map[ledger.JobID]struct{}, len(list))
	for i := range list {
		o := &list[i]
		waiting[o.Job] = struct{}{}
		was, known := n.noted[o.Job]
		if known && (was.reasons == o.Reasons || now.Sub(was.at) < again || alike(was.reasons, o.Reasons)) {
			continue
		}
		n.wanted[o.Job] = o.Reasons.Note(o.Job)
		n.noted[o.Job] = noted{o.Reasons, now, was.told}
	}
	for job, was := range n.noted {
		if _, ok := waiting[job]; ok {
			continue
		}
		delete(n.noted, job)
		delete(n.wanted, job)
		if was.told {
			n.wanted[job] = ledger.Note{Job: job}
		}
	}
}

// alike reports whether two reasons say the same but for amounts and times.
func alike(a, b *placement.Reasons) bool {
	if a.Nodes != b.Nodes || len(a.Counts) != len(b.Counts) {
		return false
	}
	for i, c := range a.Counts {
		if o := b.Counts[i]; o.Code != c.Code || o.Detail != c.Detail || o.Nodes != c.Nodes {
			return false
		}
	}
	return true
}

// noteAt returns when to propose notes, zero for not at all.
func (l *lead) noteAt() time.Time {
	if len(l.notes.wanted) == 0 || l.notes.flying {
		return time.Time{}
	}
	return l.notes.after
}

// note proposes notes, some at a time.
func (l *lead) note(now time.Time) {
	if len(l.notes.wanted) == 0 || l.notes.flying || now.Before(l.notes.after) {
		return
	}
	c := &ledger.NoteReasons{}
	for job, n := range l.notes.wanted {
		if len(c.Notes) == l.config.NotesMax {
			break
		}
		c.Notes = append(c.Notes, n)
		delete(l.notes.wanted, job)
		if was, ok := l.notes.noted[job]; ok {
			was.told = true
			l.notes.noted[job] = was
		}
	}
	l.notes.flying, l.notes.after = true, now.Add(l.config.NoteInterval)
	l.propose([][]ledger.Command{{c}}, func(answers [][]answer) {
		l.notes.flying = false
		a := answers[0][0]
		answered(l.metrics.notes, a.result)
		if a.err == nil {
			return
		}
		for _, n := range c.Notes {
			delete(l.notes.noted, n.Job) // the next pass notes it anew
		}
	})
}
