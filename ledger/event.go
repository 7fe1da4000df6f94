package ledger

// EventKind says what happened to a job. The values are stored.
type EventKind uint8

// The kinds of event.
const (
	// EventSubmitted: the job was accepted; Count is its number of tasks.
	EventSubmitted EventKind = iota
	// EventQueued: it waits for no other job any more.
	EventQueued
	// EventPlaced: a node got a lease on Count tasks.
	EventPlaced
	// EventRunning: the node began.
	EventRunning
	// EventEnded: tasks became final, in State.
	EventEnded
	// EventRequeued: tasks wait again, because of Cause, until Until.
	EventRequeued
	// EventUnreachable: a lease ran out; it is lost at Until.
	EventUnreachable
	// EventReturned: its node is back in time.
	EventReturned
	// EventStopped: nothing is placed any more, because of Cause.
	EventStopped
	// EventFinished: the job ended; Job says how.
	EventFinished
	// EventSpare: a second attempt at a task was placed; with a Cause, it is over
	// and has not ended the task.
	EventSpare
	// EventNotice: a lease has to give way, because of Cause, by Until.
	EventNotice

	eventKinds
)

var eventKindNames = [eventKinds]string{"submitted", "queued", "placed", "running", "ended", "requeued", "unreachable", "returned", "stopped", "finished", "spare", "notice"}

// String returns the kind's name.
func (k EventKind) String() string {
	return nameOf(eventKindNames[:], k, "event")
}

// Event is something that happened to a job. A job's events are numbered from 1
// without gaps; the last EventsKept are kept. When one command does the same to
// many leases of a job, what it does to the fourth and all further ones is one
// event.
type Event struct {
	Number uint32
	At     Time
	Kind   EventKind
	// First is the first of the tasks, Count how many they are; they need not be
	// consecutive.
	First, Count uint32
	// Node and Epoch name the lease; they are empty and zero where it is about
	// several nodes or leases, or none.
	Node  NodeID
	Epoch Epoch
	State TaskState
	Cause Cause
	Exit  uint8
	Until Time
	Job   JobState
	// Band is that of the job which needs the room, for CausePreempted.
	Band uint8
}

func (e *Event) fields(w *wire) {
	w.u32(&e.Number)
	w.time(&e.At)
	w.u8((*uint8)(&e.Kind))
	w.u32(&e.First)
	w.u32(&e.Count)
	text(w, &e.Node)
	w.u64((*uint64)(&e.Epoch))
	w.u8((*uint8)(&e.State))
	w.u8((*uint8)(&e.Cause))
	w.u8(&e.Exit)
	w.time(&e.Until)
	w.u8((*uint8)(&e.Job))
	if w.since(3, e.Band != 0) {
		w.u8(&e.Band)
	}
}

// alike reports whether e says of other tasks what f says, at the same time.
func (e *Event) alike(f *Event) bool {
	return e.Kind == f.Kind && e.State == f.State && e.Cause == f.Cause && e.Exit == f.Exit && e.Until == f.Until && e.Job == f.Job && e.Band == f.Band
}

// Of the events of one command that are alike, noteApart - 1 stay apart and the
// others become one; they are looked for among the last noteLook.
const (
	noteApart = 4
	noteLook  = 16
)

// note adds an event to the job. A command may be about many of its leases, whose
// events would push all older ones out.
func (s *session) note(j *heldJob, e Event) {
	alike := 0
	var last *Event
	for i := max(0, len(j.noted)-noteLook); i < len(j.noted); i++ {
		if is := &j.noted[i]; is.alike(&e) {
			alike, last = alike+1, is
		}
	}
	if alike < noteApart {
		j.noted = append(j.noted, e)
		return
	}
	last.First, last.Count = min(last.First, e.First), last.Count+e.Count
	if last.Node != e.Node {
		last.Node = ""
	}
	last.Epoch = 0
}

// flushEvents numbers and writes the events of the command, and drops those that
// are too many.
func (s *session) flushEvents(j *heldJob) {
	before := j.Events
	j.Events += uint32(len(j.noted))
	for i := range j.noted {
		e := &j.noted[i]
		e.Number, e.At = before+uint32(i)+1, s.now
		if e.Number+EventsKept > j.Events {
			s.save(keyEvent(j.ID, e.Number), e)
		}
		if old := e.Number - EventsKept; e.Number > EventsKept && old <= before {
			s.delete(keyEvent(j.ID, old))
		}
	}
}

// noteLease adds an event about tasks of a lease.
func (s *session) noteLease(j *heldJob, l *Lease, tasks Range, e Event) {
	e.Node, e.Epoch, e.First, e.Count = l.Node, l.Epoch, tasks.First, tasks.Count()
	s.note(j, e)
}
