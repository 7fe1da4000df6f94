package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Roll is which leases there are, by node: those of all nodes or of one. It is read
// once and then kept by telling it every change, as a Backlog is: LeasesOf steps over
// all the leases that ended and are not compacted yet, which are many beside one that
// goes on for days.
//
//   - Within one view, whose index is i, call NewRoll.
//   - Give it each change after i, in the order of the log, with Change. Those that
//     it knows already do no harm.
//
// A Roll is not older than the last change that it was told: what it names may have
// ended in a newer view, where FindLease says so. It is for one goroutine at a time.
type Roll struct {
	nodes map[NodeID][]Held
	count int
	// notices counts those that have to give way.
	notices int
}

// Held is a lease as it was granted, as far as that never changes, and whether it has
// to give way: see Lease.
type Held struct {
	Epoch   Epoch
	Job     JobID
	Granted Time
	Notice  Time
	For     uint8
}

// RollPrefix is what the keys of all leases begin with: LeasePrefix is it for those of
// one node.
func RollPrefix() []byte { return []byte{tableLease} }

// NewRoll reads which leases there are under keys that begin with prefix, either
// RollPrefix or a LeasePrefix. It keeps 48 bytes for each.
func NewRoll(tx Tx, prefix []byte) (r *Roll, err error) {
	defer catch(&err)
	r = &Roll{nodes: map[NodeID][]Held{}}
	reader{tx}.scan(prefix, nil, func(key, value []byte) bool {
		err = r.Change(key, value)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Change takes a change in: the key and its value, nil when it was deleted. Keys of
// other tables change nothing. An error means that the key or value is not one that
// Apply has written.
func (r *Roll) Change(key, value []byte) error {
	if len(key) == 0 || key[0] != tableLease {
		return nil
	}
	node, epoch, ok := parseLease(key)
	if !ok {
		return fmt.Errorf("read %q: %w", key, ErrMalformed)
	}
	list := r.nodes[node]
	i, found := search(list, epoch)
	switch {
	case value == nil && found:
		r.count--
		if list[i].Notice != 0 {
			r.notices--
		}
		if i == 0 {
			// As a rule the oldest goes: that moves nothing.
			list = list[1:]
		} else {
			list = slices.Delete(list, i, i+1)
		}
	case value != nil && !found:
		var l Lease
		if err := decode(value, &l); err != nil {
			return fmt.Errorf("read %q: %w", key, err)
		}
		r.count++
		list = slices.Insert(list, i, Held{Epoch: epoch, Job: l.Job, Granted: l.Granted})
		r.note(&list[i], &l)
	case found && value[0] >= noticeVersion && list[i].Notice == 0:
		var l Lease
		if err := decode(value, &l); err != nil {
			return fmt.Errorf("read %q: %w", key, err)
		}
		r.note(&list[i], &l)
	}
	if r.nodes[node] = list; len(list) == 0 {
		delete(r.nodes, node)
	}
	return nil
}

// noticeVersion is the first version of a lease's encoding that has its notice: of the
// many changes to leases, only those of such are read.
const noticeVersion = 3

func (r *Roll) note(h *Held, l *Lease) {
	if l.Notice != 0 {
		r.notices++
	}
	h.Notice, h.For = l.Notice, l.For
}

// Hold returns the highest band for which leases of a node have to give way, zero for
// none.
func (r *Roll) Hold(node NodeID) (band uint8) {
	if r.notices == 0 {
		return 0
	}
	for _, h := range r.nodes[node] {
		band = max(band, h.For)
	}
	return band
}

// Find returns a lease of a node, and whether it is there.
func (r *Roll) Find(node NodeID, epoch Epoch) (Held, bool) {
	list := r.nodes[node]
	i, found := search(list, epoch)
	if !found {
		return Held{}, false
	}
	return list[i], true
}

// Of returns the leases of a node in ascending order of epoch, until the next Change.
func (r *Roll) Of(node NodeID) []Held { return r.nodes[node] }

// Has reports whether a node has a lease.
func (r *Roll) Has(node NodeID, epoch Epoch) bool {
	_, found := search(r.nodes[node], epoch)
	return found
}

// search returns where the lease with an epoch is in a node's list, or would be.
func search(list []Held, epoch Epoch) (i int, found bool) {
	return slices.BinarySearchFunc(list, epoch, func(h Held, epoch Epoch) int { return cmp.Compare(h.Epoch, epoch) })
}

// Len returns how many leases there are.
func (r *Roll) Len() int { return r.count }

// FindLease returns a lease, or ErrNotFound when it has ended.
func FindLease(tx Tx, node NodeID, epoch Epoch) (Lease, error) {
	return one[Lease](tx, keyLease(node, epoch), "lease", epoch)
}

// parseLease is the inverse of keyLease; ok says whether the key is a lease's.
func parseLease(key []byte) (node NodeID, epoch Epoch, ok bool) {
	at := len(key) - 8
	if at < 3 || key[0] != tableLease || key[at-1] != 0 {
		return "", 0, false
	}
	return NodeID(key[1 : at-1]), Epoch(binary.BigEndian.Uint64(key[at:])), true
}
