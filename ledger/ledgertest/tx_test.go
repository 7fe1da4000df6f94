package ledgertest

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// memoryPlace runs the conformance suite's transactions on a Memory.
type memoryPlace struct{ memory *Memory }

func (p memoryPlace) Update(f func(tx ledger.Tx) error) error {
	tx := p.memory.Begin()
	defer tx.Discard()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (p memoryPlace) View(f func(tx ledger.Tx) error) error { return f(p.memory.Clone()) }

func TestMemory(t *testing.T) {
	TestTx(t, func(*testing.T) Transactor { return memoryPlace{NewMemory()} })
}
