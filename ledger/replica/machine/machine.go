// Package machine makes the ledger what a replica applies. It stands between the
// two so that neither knows the other.
package machine

import (
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
)

// Ledger is ledger.Apply as a replica.Machine, and ledger.Admit as the Accept of
// a replica.Config.
type Ledger struct {
	// Now is the leader's clock; nil is time.Now.
	Now func() time.Time
}

var _ replica.Machine = Ledger{}

// Apply implements replica.Machine.
func (Ledger) Apply(tx ledger.Tx, index uint64, command []byte) ([]byte, error) {
	return ledger.Apply(tx, index, command)
}

// Accept refuses what ledger.Admit refuses: a command that this version does not
// know, which would stop every member, bytes that are none, and a time that is
// far from the leader's.
func (l Ledger) Accept(command []byte) error {
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	_, err := ledger.Admit(command, ledger.Time(now().UnixNano()))
	return err
}
