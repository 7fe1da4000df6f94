package replica

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoLeader is returned by Propose and Read when the context ended and
	// no leader was found. A command did not happen and will not.
	ErrNoLeader = errors.New("no leader")
	// ErrOverloaded is returned by Propose when the leader's queue, or the
	// queue of this member's forwarded commands, is full. The command did not
	// happen and will not.
	ErrOverloaded = errors.New("too many commands wait")
	// ErrUncertain is returned by Propose when the context ended after the
	// command was sent: it may have been applied, may be later, or never.
	// The same bytes may be proposed again.
	ErrUncertain = errors.New("outcome of the command is not known")
	// ErrStopped is returned when the state machine had a fault, such as an
	// unknown command. The cause is wrapped beside it. The member still
	// answers View, Watch and Backup; nothing is lost.
	ErrStopped = errors.New("replica has stopped")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("replica is closed")
	// ErrTooOld is returned by Watch when the changes from that index are no
	// longer kept: take a View first and watch from its index.
	ErrTooOld = errors.New("changes from this index are no longer kept")
	// ErrTooLarge is returned by Propose for a command above CommandBytesMax.
	ErrTooLarge = errors.New("command is too large")
	// ErrMember is returned by Found and Join for a member that is already in
	// a grid, by Restore and Recover for one that is running or has no state.
	ErrMember = errors.New("member is already in a grid")
	// ErrNotMember is returned by operations that need a grid before Found or
	// Join, and when another member refuses this one as a stranger.
	ErrNotMember = errors.New("not a member of the grid")
	// ErrRefused is returned by Propose for a command that Config.Accept has
	// refused at the leader. It did not happen and will not.
	ErrRefused = errors.New("leader does not accept the command")
	// ErrNoRoom is returned by a Store or RaftLog that has no room at present:
	// nothing was written, and the same may be written later. The member waits
	// for room and leaves leading to others. Propose and Read return it when
	// that did not help until their context ended; a command did not happen and
	// will not.
	ErrNoRoom = errors.New("store has no room at present")
	// ErrCorrupt is returned for bytes that no member of this version writes.
	ErrCorrupt = errors.New("corrupt encoding")
)

// Internal outcomes of one attempt.
var (
	// errNotLeader: the member asked is not the leader; nothing happened.
	errNotLeader = errors.New("not the leader")
	// errLost: the command was handed on and its outcome is not known.
	errLost = errors.New("leadership or connection was lost")
	// errFull: no more children are taken; others are named.
	errFull = errors.New("member feeds as many followers as it may")
	// errUnattached: the member has no fresh source itself.
	errUnattached = errors.New("member has no source of changes")
	// errBusy: a limit of the other side was reached.
	errBusy = errors.New("member is busy")
)

// code is an error on the wire: append-only.
type code uint8

const (
	codeOK code = iota
	codeNotLeader
	codeLost
	codeOverloaded
	codeStopped
	codeClosed
	codeTooOld
	codeTooLarge
	codeNotMember
	codeFull
	codeUnattached
	codeBusy
	codeVersion
	codeOther
	codeRefused
	codeNoRoom
	// codes is how many there are.
	codes
)

var codeErrors = map[code]error{
	codeNotLeader: errNotLeader, codeLost: errLost, codeOverloaded: ErrOverloaded, codeStopped: ErrStopped,
	codeClosed: ErrClosed, codeTooOld: ErrTooOld, codeTooLarge: ErrTooLarge, codeNotMember: ErrNotMember,
	codeFull: errFull, codeUnattached: errUnattached, codeBusy: errBusy,
	codeRefused: ErrRefused, codeNoRoom: ErrNoRoom,
}

// codeOf returns the code that stands for err on the wire.
func codeOf(err error) code {
	if err == nil {
		return codeOK
	}
	for c := codeNotLeader; c < codes; c++ {
		if known := codeErrors[c]; known != nil && errors.Is(err, known) {
			return c
		}
	}
	return codeOther
}

// errorTextMax bounds the text that goes with a code.
const errorTextMax = 1024

// appendCode encodes c and the text of err, which may be nil.
func appendCode(c code, err error) []byte {
	text := ""
	if err != nil {
		text = err.Error()
	}
	return appendBytes([]byte{byte(c)}, text[:min(len(text), errorTextMax)])
}

// errorOf is the inverse of codeOf.
func errorOf(c code, text string) error {
	known := codeErrors[c]
	switch {
	case c == codeOK:
		return nil
	case c == codeVersion:
		return fmt.Errorf("speak with member: other version: %s", text)
	case c == codeNotLeader:
		return parseHint(text)
	case known == nil:
		return fmt.Errorf("member refused: %s", text)
	}
	switch rest, is := strings.CutPrefix(text, known.Error()); {
	case rest == "":
		return known
	case is:
		return fmt.Errorf("%w%s", known, rest)
	default:
		return fmt.Errorf("%w: %s", known, text)
	}
}
