package content

import "strconv"

// code says on the wire why a request was refused. Numbers are only ever added;
// testdata/code.golden pins them.
type code uint16

const (
	codeNotHeld code = 1 + iota
	codeBusy
	codeCorrupt
	codeDenied
	codeMalformed
	codeClosing
)

var codeNames = [...]string{"", "not_held", "busy", "corrupt", "denied", "malformed", "closing"}

func (c code) String() string {
	if c < 1 || int(c) >= len(codeNames) {
		return "code_" + strconv.Itoa(int(c))
	}
	return codeNames[c]
}

// Reason says what a holder did wrong.
type Reason uint8

// The reasons.
const (
	// ReasonWrong: it sent bytes that contradict its own chain. No honest
	// holder does; it is not asked again for Config.BanFor.
	ReasonWrong Reason = 1 + iota
	// ReasonChain: it claimed to hold the whole object, with a chain that is
	// not the object's. Not asked again either.
	ReasonChain
	// ReasonMalformed: it sent what is no frame of the protocol, or not asked
	// for. Not asked again either.
	ReasonMalformed
	// ReasonCorrupt: it said itself that its copy is damaged.
	ReasonCorrupt
	// ReasonSlow: it took longer than Config.ChunkTimeout. Asked last.
	ReasonSlow
	// ReasonLost: its stream ended in the middle of an answer. Asked last.
	ReasonLost
	// ReasonUnreachable: there was no connection to be had. Asked last.
	ReasonUnreachable
	// ReasonDenied: it does not serve this node.
	ReasonDenied
)

var reasonNames = [...]string{"", "wrong", "chain", "malformed", "corrupt", "slow", "lost", "unreachable", "denied"}

// String returns the reason's name in metrics.
func (r Reason) String() string {
	if r < 1 || int(r) >= len(reasonNames) {
		return "reason_" + strconv.Itoa(int(r))
	}
	return reasonNames[r]
}

// bans reports whether a holder is left out for a while.
func (r Reason) bans() bool { return r == ReasonWrong || r == ReasonChain || r == ReasonMalformed }
