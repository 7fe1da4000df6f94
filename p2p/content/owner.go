package content

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// disownStep bounds the pins that are dropped under the lock at once.
const disownStep = 1024

// Owners returns the owners whose names begin with prefix and who pin anything, in
// no order.
func (s *Store) Owners(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for owner := range s.owners {
		if strings.HasPrefix(owner, prefix) {
			out = append(out, owner)
		}
	}
	return out
}

// OwnersOf returns who pins an object, held or not, in no order.
func (s *Store) OwnersOf(h Hash) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pinned[h]; p != nil {
		return slices.Collect(maps.Keys(p.owners))
	}
	return nil
}

// Owned returns the objects that an owner pins, held or not, in no order.
func (s *Store) Owned(owner string) []Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.owners[owner]; o != nil {
		return slices.Collect(maps.Keys(o.hashes))
	}
	return nil
}

// Disown drops an owner's pins on the objects listed, however often each was pinned,
// and returns how many objects had one. When it returns, that is on disk.
func (s *Store) Disown(owner string, list []Hash) (n int, err error) {
	var seq uint64
	for len(list) > 0 && err == nil {
		step := list[:min(len(list), disownStep)]
		list = list[len(step):]
		var dropped int
		dropped, seq, err = s.disown(owner, step)
		n += dropped
	}
	if err == nil && n > 0 {
		err = s.pins.commit(seq)
	}
	if err != nil {
		return n, fmt.Errorf("disown objects of %s: %w", owner, classify(err))
	}
	return n, nil
}

func (s *Store) disown(owner string, list []Hash) (n int, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, ErrClosed
	}
	for _, h := range list {
		p := s.pinned[h]
		if p == nil || p.owners[owner] == 0 {
			continue
		}
		if seq, err = s.record(pinRecord{hash: h, size: p.size, owner: owner}); err != nil {
			return n, seq, err
		}
		n++
		if e := s.objects[h]; e != nil {
			s.settle(e)
		}
	}
	return n, seq, nil
}
