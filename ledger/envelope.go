package ledger

import (
	"fmt"
	"time"
)

// Envelope is a command with its time and its sender.
type Envelope struct {
	// Client and Seq make a command apply at most once: a client numbers its
	// commands from 1 upwards and has one under way at a time. The zero Client
	// has no memory: for commands that are harmless when repeated.
	Client [16]byte
	Seq    uint64
	// Now is the proposer's time. The ledger knows no other.
	Now  Time
	Body Command
}

// Encode returns the bytes of a log entry for e: the version, the command's
// number, the envelope's fields and the command's.
func Encode(e Envelope) []byte {
	w := wire{buf: make([]byte, 0, 128)}
	w.write(func() {
		w.buf = append(w.buf[:0], w.version, e.Body.kind())
		e.head(&w)
		e.Body.fields(&w)
	})
	return w.buf
}

// Decode is the inverse of Encode. The error wraps ErrUnknownCommand when the
// version or the command's number is not known here, and ErrMalformed when the
// bytes are wrong or more than CommandBytesMax.
func Decode(b []byte) (Envelope, error) {
	var e Envelope
	if len(b) < 2 || len(b) > CommandBytesMax {
		return e, fmt.Errorf("decode command: %w: %d bytes, from 2 to %d", ErrMalformed, len(b), CommandBytesMax)
	}
	w := wire{decoding: true, version: b[0], buf: b[2:]}
	if e.Body = newCommand(b[1]); e.Body != nil && w.version <= wireVersion {
		e.head(&w)
		e.Body.fields(&w)
	}
	if e.Body == nil || w.unknown() {
		return Envelope{}, fmt.Errorf("decode command: %w: number %d, version %d", ErrUnknownCommand, b[1], w.version)
	}
	if w.err == nil && len(w.buf) != 0 {
		w.fail("trailing bytes")
	}
	if w.err != nil {
		return Envelope{}, fmt.Errorf("decode command: %w", w.err)
	}
	return e, nil
}

// Admit says whether an encoded command may enter the log, and returns what it
// is. The leader asks it about every command before it proposes it, now being
// its own clock; nothing that it lets pass can stop a replica of this version or
// end leases and deadlines ahead of their time. The error wraps ErrMalformed,
// ErrUnknownCommand or ErrClock; none of them depends on the state, and the
// command has had no effect.
func Admit(b []byte, now Time) (Envelope, error) {
	e, err := Decode(b)
	if err != nil {
		return Envelope{}, err
	}
	if e.Now <= 0 || e.Now > TimeMax || e.Now > now+ClockAheadMax || e.Now < now-ClockBehindMax {
		return Envelope{}, fmt.Errorf("%w: the command says %s, the leader %s; at most %s ahead and %s behind",
			ErrClock, e.Now, now, time.Duration(ClockAheadMax), time.Duration(ClockBehindMax))
	}
	return e, nil
}

func (e *Envelope) head(w *wire) {
	w.fixed(e.Client[:])
	w.u64(&e.Seq)
	w.time(&e.Now)
}
