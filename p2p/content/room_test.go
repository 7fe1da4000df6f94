package content

import (
	"bytes"
	"errors"
	"testing"
)

// TestRoom: what is pinned takes room, what could be evicted does not, and changes are
// counted.
func TestRoom(t *testing.T) {
	c := testConfig(t.TempDir())
	c.BytesMax = 1 << 20
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	free := int64(1 << 40)
	s.free = func() (int64, error) { return free, nil }
	check := func(what string, least, most int64) {
		t.Helper()
		if room, err := s.Room(); err != nil || room < least || room > most {
			t.Errorf("%s: room for %d bytes, from %d to %d are right; %v", what, room, least, most, err)
		}
	}
	check("empty", 1<<20, 1<<20)
	before := s.Changes()
	if _, _, err := s.Put(t.Context(), bytes.NewReader(make([]byte, 1<<18)), ""); err != nil {
		t.Fatal(err)
	}
	// A file has a trailer.
	check("with an idle object", 1<<20, 1<<20)
	h, _, err := s.Put(t.Context(), bytes.NewReader(make([]byte, 1<<17)), "owner")
	if err != nil {
		t.Fatal(err)
	}
	check("with a pinned object", 1<<20-1<<17-1<<10, 1<<20-1<<17)
	after := s.Changes()
	if after <= before {
		t.Errorf("changes went from %d to %d", before, after)
	}
	if err := s.Unpin(h, "owner"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Remove(h); !ok || err != nil || s.Changes() <= after {
		t.Errorf("removed %t, %v, changes went from %d to %d", ok, err, after, s.Changes())
	}
	free = s.config.DiskReserveBytes
	check("on a full disk", 1<<18, 1<<18+1<<10)
}

// TestSetBytesMax: with less room idle objects go at once, and what is pinned stays.
func TestSetBytesMax(t *testing.T) {
	c := testConfig(t.TempDir())
	c.BytesMax = 1 << 20
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.free = func() (int64, error) { return 1 << 40, nil }
	h, _, err := s.Put(t.Context(), bytes.NewReader(make([]byte, 1<<17)), "owner")
	if err == nil {
		_, _, err = s.Put(t.Context(), bytes.NewReader(make([]byte, 1<<18)), "")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetBytesMax(1 << 18); err != nil {
		t.Fatal(err)
	}
	if list := s.List(); len(list) != 1 || list[0].Hash != h {
		t.Errorf("with less room there are %d objects", len(list))
	}
	if err := s.SetBytesMax(1 << 10); err != nil || len(s.List()) != 1 {
		t.Errorf("what is pinned does not stay: %v", err)
	}
	if room, err := s.Room(); err != nil || room != 0 {
		t.Errorf("there is room for %d, %v", room, err)
	}
	if _, _, err := s.Put(t.Context(), bytes.NewReader(make([]byte, 1<<17)), ""); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the limit: %v", err)
	}
}
