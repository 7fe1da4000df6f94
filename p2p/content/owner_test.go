package content

import (
	"errors"
	"slices"
	"testing"
)

// TestDisown: all pins of an owner go at once, for good, and those of others stay.
func TestDisown(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, testConfig(dir))
	var list []Hash
	for i := range 3 * disownStep / 2 {
		h := put(t, s, noise(uint64(i), 10), "job:a")
		list = append(list, h)
	}
	put(t, s, noise(0, 10), "job:a") // pinned twice
	put(t, s, noise(0, 10), "job:b")
	other := put(t, s, noise(1<<20, 10), "modules")
	owners := s.Owners("job:")
	slices.Sort(owners)
	of := s.OwnersOf(list[0])
	slices.Sort(of)
	if !slices.Equal(owners, []string{"job:a", "job:b"}) || !slices.Equal(of, owners) || len(s.Owned("job:a")) != len(list) || s.OwnersOf(Sum([]byte("nothing"))) != nil {
		t.Fatal(owners, of, len(s.Owned("job:a")))
	}
	if n, err := s.Disown("job:a", append(s.Owned("job:a"), other)); n != len(list) || err != nil {
		t.Fatalf("disowned %d of %d: %v", n, len(list), err)
	}
	for range 2 {
		if n, err := s.Disown("job:a", list); n != 0 || err != nil || s.OwnerBytes("job:a") != 0 || s.Owned("job:a") != nil {
			t.Fatal("still pinned:", n, err, s.OwnerBytes("job:a"))
		}
		for i, want := range []int{1, 0, 1} {
			h := []Hash{list[0], list[1], other}[i]
			if info, err := s.Stat(h); err != nil || info.Pins != want {
				t.Errorf("object %d: %+v, %v; want %d pins", i, info, err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Disown("job:b", list); !errors.Is(err, ErrClosed) {
			t.Error("disowned by a store that is closed:", err)
		}
		s = openStore(t, testConfig(dir))
	}
}
