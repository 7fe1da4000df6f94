package ledger

import "errors"

// Tx is what Apply and Check read and write: an ordered map of byte strings,
// inside one transaction. Its errors are faults of the machine underneath, such
// as a damaged disk: they stop a replica, they never refuse a command.
type Tx interface {
	// Get returns the value of key, or nil when there is none. The caller must
	// neither change nor keep it beyond the transaction.
	Get(key []byte) ([]byte, error)
	// Set stores a copy of value under a copy of key.
	Set(key, value []byte) error
	// Delete removes key; a key that does not exist is no error.
	Delete(key []byte) error
	// Scan calls visit with every key that has the prefix and is not below
	// from, in ascending order, until visit returns false. Key and value are
	// valid during the call only. A visit must not write.
	Scan(prefix, from []byte, visit func(key, value []byte) bool) error
}

// Why a command may not enter the log. Of these Apply returns the first only.
var (
	// ErrUnknownCommand is returned by Apply, Decode and Admit for a command that
	// this version does not know. A replica that meets one in the log has to stop:
	// whoever wrote it is newer.
	ErrUnknownCommand = errors.New("unknown command")
	// ErrMalformed is returned by Decode and Admit for bytes that no version has
	// written, or too many. In the log they are refused with CodeMalformed.
	ErrMalformed = errors.New("malformed encoding")
	// ErrClock is returned by Admit for a command whose Now is further from the
	// leader's clock than ClockAheadMax or ClockBehindMax, or no time at all: its
	// sender has to set its clock.
	ErrClock = errors.New("clocks differ too much")
)
