// Package disk makes a store.Store what a replica needs. It stands between the
// two so that neither knows the other.
package disk

import (
	"io"

	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/store"
)

// Store is a store.Store as a replica.Store.
type Store struct{ *store.Store }

var _ replica.Store = Store{}

// Snapshot implements replica.Store.
func (d Store) Snapshot(w io.Writer) (uint64, error) {
	s, err := d.Store.Snapshot(store.Header{Writer: "dugnad replica"})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	_, err = s.WriteTo(w)
	return s.Index(), err
}

// Restore implements replica.Store.
func (d Store) Restore(r io.Reader) (uint64, error) {
	h, err := d.Store.Restore(r)
	return h.Index, err
}
