package pool

import (
	"os"
	"testing"
	"time"
)

// TestUsage: a process's name may hold anything, and what is not there is an error.
func TestUsage(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"7 (a) S) 1) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0":              2 * time.Second,
		"7 (dugnad) S 1 2 3 4 5 6 7 8 9 10 0 1 99 99 20 0 1 0 1 2 3": 10 * time.Millisecond,
		"": -1, "7 (dugnad) S 1 2": -1, "7 (dugnad) S 1 2 3 4 5 6 7 8 9 10 x 1": -1,
	} {
		got, err := parseStat([]byte(stat))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %s, %v, want %s", stat, got, err, want)
		}
	}
	if _, memory, err := usage(os.Getpid()); err != nil || memory == 0 {
		t.Errorf("this process: %d bytes, %v", memory, err)
	}
	if _, _, err := usage(-1); err == nil {
		t.Error("a process that is not there has used something")
	}
}
