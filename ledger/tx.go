package ledger

import "errors"

// Tx is what Apply and Check read and write: an ordered map of byte strings,
// inside one transaction. Its errors are faults of the machine underneath, such
// as a damaged disk: they stop a replica, they never refuse a command.
type Tx interface {
	// Get returns the value of key, or nil when there is none. The caller must
	// neither change nor keep it beyond the transaction.
	Get(key []byte) ([]byte, error)
	// Set stores a copy of value under key.
	Set(key, value []byte) error
	// Delete removes key; a key that does not exist is no error.
	Delete(key []byte) error
	// Scan calls visit with every key that has the prefix and is not below
	// from, in ascending order, until visit returns false. Key and value are
	// valid during the call only. A visit must not write.
	Scan(prefix, from []byte, visit func(key, value []byte) bool) error
}

// ErrUnknownCommand is returned by Apply for a command that this version does
// not know. The replica has to stop: whoever wrote the command is newer.
var ErrUnknownCommand = errors.New("unknown command")
