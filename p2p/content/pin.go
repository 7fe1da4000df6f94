package content

import (
	"fmt"
	"slices"
)

// pinnedObject is what the journal says of an object, held or not.
type pinnedObject struct {
	size   int64
	owners map[string]uint32
}

// owned is what one owner pins.
type owned struct {
	bytes  int64
	hashes map[Hash]struct{}
}

func checkOwner(owner string) error {
	if len(owner) < 1 || len(owner) > OwnerNameBytesMax {
		return fmt.Errorf("%w: %d bytes", ErrOwner, len(owner))
	}
	return nil
}

// Pin keeps an object that is held from eviction, for owner, until Unpin was
// called as often as Pin. When it returns, the pin is on disk.
func (s *Store) Pin(h Hash, owner string) error {
	if err := checkOwner(owner); err != nil {
		return err
	}
	seq, err := s.pin(h, owner)
	if err == nil {
		err = s.pins.commit(seq)
	}
	if err != nil {
		return fmt.Errorf("pin object %s: %w", h, classify(err))
	}
	return nil
}

func (s *Store) pin(h Hash, owner string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	e := s.objects[h]
	if e == nil {
		return 0, ErrNotHeld
	}
	return s.addPin(h, e.size, owner)
}

// addPin writes and counts a pin, under the lock.
func (s *Store) addPin(h Hash, size int64, owner string) (uint64, error) {
	p := s.pinned[h]
	var count uint32
	if p != nil {
		count = p.owners[owner]
	}
	if count == 0 {
		if most := s.config.OwnerBytesMax; most > 0 && s.ownerBytes(owner)+size > most {
			s.meter.quota.Inc()
			return 0, fmt.Errorf("%w: %d bytes pinned of %d, %d more wanted", ErrQuota, s.ownerBytes(owner), most, size)
		}
		if s.pinCount >= s.config.PinsMax {
			return 0, fmt.Errorf("%w: %d of %d", ErrPins, s.pinCount, s.config.PinsMax)
		}
	}
	if count+1 == 0 {
		return 0, fmt.Errorf("%w: %d by one owner", ErrPins, count)
	}
	seq, err := s.record(pinRecord{hash: h, size: size, owner: owner, count: count + 1})
	if err != nil {
		return 0, err
	}
	if e := s.objects[h]; e != nil {
		s.unsettle(e)
	}
	return seq, nil
}

// Unpin takes one Pin back. It returns ErrNotHeld if there is none.
func (s *Store) Unpin(h Hash, owner string) error {
	s.mu.Lock()
	seq, err := s.dropPin(h, owner)
	s.mu.Unlock()
	if err == nil {
		err = s.pins.commit(seq)
	}
	if err != nil {
		return fmt.Errorf("unpin object %s: %w", h, classify(err))
	}
	return nil
}

func (s *Store) dropPin(h Hash, owner string) (uint64, error) {
	if s.closed {
		return 0, ErrClosed
	}
	p := s.pinned[h]
	if p == nil || p.owners[owner] == 0 {
		return 0, ErrNotHeld
	}
	seq, err := s.record(pinRecord{hash: h, size: p.size, owner: owner, count: p.owners[owner] - 1})
	if err != nil {
		return 0, err
	}
	if e := s.objects[h]; e != nil {
		s.settle(e)
	}
	return seq, nil
}

// record writes a pin to the journal and applies it.
func (s *Store) record(r pinRecord) (uint64, error) {
	if s.pins.bloated(s.pinCount) {
		s.compact()
	}
	seq, err := s.pins.append(r)
	if err != nil {
		return 0, err
	}
	s.apply(r)
	return seq, nil
}

// apply counts what a record of the journal says.
func (s *Store) apply(r pinRecord) {
	p := s.pinned[r.hash]
	if p == nil {
		if r.count == 0 {
			return
		}
		p = &pinnedObject{size: r.size, owners: map[string]uint32{}}
		s.pinned[r.hash] = p
	}
	_, had := p.owners[r.owner]
	switch {
	case r.count > 0 && !had:
		s.pinCount++
		o := s.owners[r.owner]
		if o == nil {
			o = &owned{hashes: map[Hash]struct{}{}}
			s.owners[r.owner] = o
		}
		o.bytes += p.size
		o.hashes[r.hash] = struct{}{}
	case r.count == 0 && had:
		s.pinCount--
		delete(p.owners, r.owner)
		o := s.owners[r.owner]
		o.bytes -= p.size
		if delete(o.hashes, r.hash); len(o.hashes) == 0 {
			delete(s.owners, r.owner)
		}
	}
	if r.count > 0 {
		p.owners[r.owner] = r.count
	}
	if len(p.owners) == 0 {
		delete(s.pinned, r.hash)
	}
}

// OwnerBytes returns the bytes that an owner pins: each object counts once.
func (s *Store) OwnerBytes(owner string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ownerBytes(owner)
}

func (s *Store) ownerBytes(owner string) int64 {
	if o := s.owners[owner]; o != nil {
		return o.bytes
	}
	return 0
}

// Missing returns the objects that are pinned but not held, because they were
// found corrupt or their file was lost. Put or Fetch brings them back.
func (s *Store) Missing() []Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Hash
	for h := range s.pinned {
		if s.objects[h] == nil {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
	return out
}

// records returns the pins as the shortest journal.
func (s *Store) records(yield func(pinRecord) bool) {
	for h, p := range s.pinned {
		for owner, count := range p.owners {
			if !yield(pinRecord{hash: h, size: p.size, owner: owner, count: count}) {
				return
			}
		}
	}
}
