package replica

import (
	"bytes"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

// reserved begins the replica's own keys, which sort behind everything that a
// state machine writes. Neither the machine nor a View sees them.
var reserved = []byte("\xffreplica/")

func isReserved(key []byte) bool { return len(key) > 0 && key[0] == reserved[0] }

// guard keeps the state machine away from the replica's keys.
type guard struct{ tx ledger.Tx }

// Get implements ledger.Tx.
func (g guard) Get(key []byte) ([]byte, error) {
	if isReserved(key) {
		return nil, nil
	}
	return g.tx.Get(key)
}

// Set implements ledger.Tx.
func (g guard) Set(key, value []byte) error {
	if isReserved(key) {
		return fmt.Errorf("set key %q: keys from 0xff are the replica's", key)
	}
	return g.tx.Set(key, value)
}

// Delete implements ledger.Tx.
func (g guard) Delete(key []byte) error {
	if isReserved(key) {
		return fmt.Errorf("delete key %q: keys from 0xff are the replica's", key)
	}
	return g.tx.Delete(key)
}

// Scan implements ledger.Tx.
func (g guard) Scan(prefix, from []byte, visit func(key, value []byte) bool) error {
	if isReserved(prefix) || isReserved(from) {
		return nil
	}
	return g.tx.Scan(prefix, from, func(key, value []byte) bool {
		return !isReserved(key) && visit(key, value)
	})
}

// frozen is a guard that refuses writes.
type frozen struct{ guard }

// Set implements ledger.Tx.
func (frozen) Set(key, _ []byte) error { return fmt.Errorf("set key %q in a view", key) }

// Delete implements ledger.Tx.
func (frozen) Delete(key []byte) error { return fmt.Errorf("delete key %q in a view", key) }

// own returns the full name of one of the replica's keys.
func own(name string) []byte { return append(bytes.Clone(reserved), name...) }
