package ledger

import "fmt"

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

	eventKinds
)

var eventKindNames = [eventKinds]string{"submitted", "queued", "placed", "running", "ended", "requeued", "unreachable", "returned", "stopped", "finished"}

// String returns the kind's name.
func (k EventKind) String() string {
	if k < eventKinds {
		return eventKindNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is something that happened to a job. A job's events are numbered from 1
// without gaps; the last EventsKept are kept.
type Event struct {
	Number uint32
	At     Time
	Kind   EventKind
	// First is the first of the tasks, Count how many they are; they need not be
	// consecutive.
	First, Count uint32
	Node         NodeID
	Epoch        Epoch
	State        TaskState
	Cause        Cause
	Exit         uint8
	Until        Time
	Job          JobState
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
}

// note adds an event to the job and drops the one that is too many.
func (s *session) note(j *heldJob, e Event) {
	j.Events++
	e.Number, e.At = j.Events, s.now
	s.save(keyEvent(j.ID, e.Number), &e)
	if e.Number > EventsKept {
		s.delete(keyEvent(j.ID, e.Number-EventsKept))
	}
}

// noteLease adds an event about tasks of a lease.
func (s *session) noteLease(j *heldJob, l *Lease, tasks Range, e Event) {
	e.Node, e.Epoch, e.First, e.Count = l.Node, l.Epoch, tasks.First, tasks.Count()
	s.note(j, e)
}
