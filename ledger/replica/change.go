package replica

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

// Change is what one log entry did to one key.
type Change struct {
	// Index is the log entry's.
	Index uint64
	// Key and Value must not be changed.
	Key, Value []byte
	// Deleted tells that Key was removed; Value is nil then.
	Deleted bool
}

// A record is what one log entry did to the state: uvarint index, then writes
// in their order, each an operation, the key and, for opSet, the value.
// Applying a record to a state that already has it changes nothing as long as
// all later records follow.
const (
	opSet    = 1
	opDelete = 2
)

// record is an encoded record with its index.
type record struct {
	index uint64
	data  []byte
}

// parseRecord checks all of data.
func parseRecord(data []byte) (record, error) {
	d := decoder{rest: data}
	r := record{index: d.uvarint(), data: data}
	for d.err == nil && len(d.rest) > 0 {
		readWrite(&d)
	}
	if d.err != nil {
		return r, fmt.Errorf("decode change record: %w", d.err)
	}
	return r, nil
}

func readWrite(d *decoder) (c Change) {
	switch op := d.byte(); op {
	case opSet:
		c.Key, c.Value = d.bytes(frameBytesMax), d.bytes(frameBytesMax)
	case opDelete:
		c.Key, c.Deleted = d.bytes(frameBytesMax), true
	default:
		d.fail("operation")
	}
	return c
}

// each calls visit with every change, until it returns false.
func (r record) each(visit func(Change) bool) {
	d := decoder{rest: r.data}
	d.uvarint()
	for len(d.rest) > 0 {
		c := readWrite(&d)
		c.Index = r.index
		if d.err != nil || !visit(c) {
			return
		}
	}
}

// apply writes the record's changes to tx and reports whether one of them was
// the replica's own.
func (r record) apply(tx ledger.Tx) (own bool, err error) {
	r.each(func(c Change) bool {
		own = own || isReserved(c.Key)
		if c.Deleted {
			err = tx.Delete(c.Key)
		} else {
			err = tx.Set(c.Key, c.Value)
		}
		return err == nil
	})
	return own, err
}

// recorder writes down what a log entry does to tx, below the guard.
type recorder struct {
	ledger.Tx
	data []byte
	own  bool
}

// begin starts the record of a log entry.
func (t *recorder) begin(index uint64) { t.data = binary.AppendUvarint(t.data[:0], index) }

// record returns the record, in no more memory than it needs: it is kept for long.
func (t *recorder) record(index uint64) record { return record{index, bytes.Clone(t.data)} }

func (t *recorder) Set(key, value []byte) error {
	if err := t.Tx.Set(key, value); err != nil {
		return err
	}
	t.own = t.own || isReserved(key)
	t.data = appendBytes(appendBytes(append(t.data, opSet), key), value)
	return nil
}

func (t *recorder) Delete(key []byte) error {
	if err := t.Tx.Delete(key); err != nil {
		return err
	}
	t.own = t.own || isReserved(key)
	t.data = appendBytes(append(t.data, opDelete), key)
	return nil
}
