package p2p

import (
	"errors"
	"fmt"
	"time"
)

// What is wrong with a key, a membership, an invitation or a connection.
var (
	// ErrKey is returned for a key file that holds no Ed25519 key.
	ErrKey = errors.New("not a key file")
	// ErrKeyMode is returned for a key file that others than its owner may
	// read or write.
	ErrKeyMode = errors.New("key file is open to others than its owner")
	// ErrMalformed is returned for bytes that no member of this version writes.
	ErrMalformed = errors.New("malformed encoding")
	// ErrVersion is returned for the encoding or the hello of another version.
	ErrVersion = errors.New("unknown version")
	// ErrWrongGrid is returned for what belongs to another grid.
	ErrWrongGrid = errors.New("belongs to another grid")
	// ErrSignature is returned when a signature is not by who should have signed.
	ErrSignature = errors.New("signature is not valid")
	// ErrNotAdmin is returned when who signed, or asks, is a member but no admin.
	ErrNotAdmin = errors.New("signed by a member that is no admin")
	// ErrExpired is returned for a membership whose time has passed.
	ErrExpired = errors.New("membership has expired")
	// ErrClock is returned for what is not valid yet: one of two clocks is wrong.
	ErrClock = errors.New("not valid yet: a clock is wrong")
	// ErrExpelled is returned for a node that is out of the grid, and for what an
	// admin signed after it was.
	ErrExpelled = errors.New("expelled from the grid")
	// ErrNoMembership is returned by a node that has not joined yet, and to one
	// that shows no membership of its own.
	ErrNoMembership = errors.New("no membership")
	// ErrInvitationTypo is returned for the text of an invitation that was not
	// copied whole.
	ErrInvitationTypo = errors.New("invitation was not copied whole")
	// ErrInvitationExpired is returned for an invitation whose time has passed.
	ErrInvitationExpired = errors.New("invitation has expired")
	// ErrInvitationUsedUp is returned for an invitation that was redeemed as
	// often as it allows.
	ErrInvitationUsedUp = errors.New("invitation is used up")
	// ErrInvitationUnknown is returned by an authority for an invitation that
	// it has not signed: its uses are counted elsewhere.
	ErrInvitationUnknown = errors.New("invitation was signed elsewhere")
	// ErrNoAuthority is returned when nobody who can redeem an invitation is
	// connected.
	ErrNoAuthority = errors.New("no admin that can redeem the invitation is connected")
	// ErrBusy is returned when a limit of this or the other side is reached.
	ErrBusy = errors.New("too many at once")
	// ErrFull is returned when a list has reached its named limit.
	ErrFull = errors.New("list is full")
	// ErrUnreachable is returned when no address of a member answered.
	ErrUnreachable = errors.New("not reachable")
	// ErrUnknownMember is returned for a node that no address is known of.
	ErrUnknownMember = errors.New("no address known")
	// ErrNotHandled is returned for a protocol that the other side does not handle.
	ErrNotHandled = errors.New("protocol is not handled there")
	// ErrAddressInUse is returned by Open when it cannot listen on an address:
	// as a rule another program does.
	ErrAddressInUse = errors.New("cannot listen: another program may use the port, choose another one")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("host is closed")
)

// Code is a refusal on the wire. The numbers and the names are stable; new ones
// go to the end.
type Code uint8

// The codes. CodeOK is no refusal.
const (
	CodeOK Code = iota
	CodeMalformed
	CodeVersion
	CodeWrongGrid
	CodeNoMembership
	CodeSignature
	CodeNotAdmin
	CodeExpired
	CodeClock
	CodeExpelled
	CodeInvitationExpired
	CodeInvitationUsedUp
	CodeInvitationUnknown
	CodeNoAuthority
	CodeBusy
	CodeOther

	codes
)

// codeTable names every code, the sentinel that it stands for, and what would
// help whoever is refused.
var codeTable = [codes]struct {
	name string
	err  error
	help string
}{
	CodeOK:                {"ok", nil, ""},
	CodeMalformed:         {"malformed", ErrMalformed, "check that the other side is a node of this grid"},
	CodeVersion:           {"version", ErrVersion, "run the same version on both sides"},
	CodeWrongGrid:         {"wrong_grid", ErrWrongGrid, "use an invitation of the grid that the other node is in"},
	CodeNoMembership:      {"no_membership", ErrNoMembership, "join with an invitation first"},
	CodeSignature:         {"bad_signature", ErrSignature, "ask for a new invitation"},
	CodeNotAdmin:          {"not_admin", ErrNotAdmin, "ask an admin for a new invitation"},
	CodeExpired:           {"expired", ErrExpired, "ask an admin for a new invitation"},
	CodeClock:             {"clock", ErrClock, "set the clock that is wrong"},
	CodeExpelled:          {"expelled", ErrExpelled, "ask an admin why; a node that is out needs a new key to join again"},
	CodeInvitationExpired: {"invitation_expired", ErrInvitationExpired, "ask for a new invitation"},
	CodeInvitationUsedUp:  {"invitation_used_up", ErrInvitationUsedUp, "ask for a new invitation"},
	CodeInvitationUnknown: {"invitation_unknown", ErrInvitationUnknown, "join through the node that made the invitation"},
	CodeNoAuthority:       {"no_authority", ErrNoAuthority, "try again when the node that made the invitation is up"},
	CodeBusy:              {"busy", ErrBusy, "try again later"},
	CodeOther:             {"other", nil, "see the log of the other node"},
}

// String returns the code's stable name.
func (c Code) String() string {
	if c < codes {
		return codeTable[c].name
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// Help says what would help, in a sentence without a capital; "" for CodeOK.
func (c Code) Help() string {
	if c < codes {
		return codeTable[c].help
	}
	return ""
}

// CodeOf returns the code that err has on the wire, CodeOther for one that
// crosses no wire.
func CodeOf(err error) Code {
	if err == nil {
		return CodeOK
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	for c := CodeMalformed; c < CodeOther; c++ {
		if errors.Is(err, codeTable[c].err) {
			return c
		}
	}
	return CodeOther
}

// Refusal is the other side's no. It unwraps to the sentinel that its code
// stands for.
type Refusal struct {
	Code Code
	// Text is the other side's sentence.
	Text string
	// Clock is what the other side's clock showed.
	Clock time.Time
	// Member says that the other side had shown a membership before.
	Member bool
	// proof came with the sentence; nothing of it was verified.
	proof []byte
}

// Error returns the other side's sentence.
func (r *Refusal) Error() string {
	text := r.Text
	if text == "" {
		text = r.Code.String()
	}
	return "refused by the other node: " + text
}

// Unwrap returns the sentinel that the code stands for, or nil.
func (r *Refusal) Unwrap() error {
	if r.Code < codes {
		return codeTable[r.Code].err
	}
	return nil
}
