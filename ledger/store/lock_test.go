package store

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockEndsWithClose closes a store while its lock's descriptor has a copy, as it
// has for a moment in every process that is being started.
func TestLockEndsWithClose(t *testing.T) {
	c := Default(t.TempDir())
	s := openTest(t, c)
	held, err := unix.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openTest(t, c)
}
