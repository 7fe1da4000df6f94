package content

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
