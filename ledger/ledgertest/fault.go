package ledgertest

import (
	"errors"

	"github.com/dugnad/dugnad/ledger"
)

// ErrInjected is the fault that a Faulty transaction answers with.
var ErrInjected = errors.New("injected fault")

// Faulty is a transaction that fails at one write: the one after Writes others.
// It stands for a crash or a full disk in the middle of a command.
type Faulty struct {
	ledger.Tx
	// Writes is the number of writes that still succeed.
	Writes int
}

// Set implements ledger.Tx.
func (f *Faulty) Set(key, value []byte) error {
	if f.Writes--; f.Writes < 0 {
		return ErrInjected
	}
	return f.Tx.Set(key, value)
}

// Delete implements ledger.Tx.
func (f *Faulty) Delete(key []byte) error {
	if f.Writes--; f.Writes < 0 {
		return ErrInjected
	}
	return f.Tx.Delete(key)
}
