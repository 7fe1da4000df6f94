package content

import "os"

// Changes returns a number that grows whenever an object comes or goes.
func (s *Store) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Room returns how many more bytes can be stored, those included for which idle
// objects would make room: what Config.BytesMax leaves, and no more than the file
// system has beyond Config.DiskReserveBytes.
func (s *Store) Room() (int64, error) {
	free, err := s.free()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle int64
	for e := s.idle.Front(); e != nil; e = e.Next() {
		idle += fileBytes(e.Value.(*entry).size)
	}
	room := min(s.config.BytesMax-s.used, free-s.config.DiskReserveBytes-s.unwritten)
	return max(room+idle, 0), nil
}

// SetBytesMax changes Config.BytesMax of an open store.
// Idle objects that have no room any more go at once; those that are pinned or open
// stay, and nothing is stored beside them until there is room.
func (s *Store) SetBytesMax(bytesMax int64) error {
	s.mu.Lock()
	s.config.BytesMax = max(bytesMax, 0)
	s.mu.Unlock()
	for {
		trash, err := s.shrink()
		if err != nil || trash == "" {
			return err
		}
		if err := os.Remove(trash); err != nil {
			return err
		}
	}
}

// shrink drops the object that was used least recently while there are more than
// Config.BytesMax, and returns its file.
func (s *Store) shrink() (trash string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.idle.Front()
	if s.closed || s.used <= s.config.BytesMax || oldest == nil {
		return "", nil
	}
	s.meter.evictions.Inc()
	return s.evict(oldest.Value.(*entry))
}
