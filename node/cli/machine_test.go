package cli

import (
	"math"
	"runtime/debug"
	"strings"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	const chosen = 123 << 20
	before := debug.SetMemoryLimit(chosen)
	defer debug.SetMemoryLimit(before)
	percent := debug.SetGCPercent(77)
	defer func() { debug.SetGCPercent(percent) }()
	limitMemory([]string{"GOMEMLIMIT=123MiB", "GOGC=77"})
	if got := debug.SetMemoryLimit(-1); got != chosen {
		t.Errorf("with GOMEMLIMIT the limit is %d, want %d as before", got, chosen)
	}
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("with GOGC the heap grows by %d %%, want 77 as before", got)
	}
	limitMemory([]string{"GOMEMLIMIT="})
	if got := debug.SetMemoryLimit(-1); got != goMemoryBytes {
		t.Errorf("the limit is %d, want %d", got, goMemoryBytes)
	}
	if got := debug.SetGCPercent(77); got != goGCPercent {
		t.Errorf("the heap grows by %d %%, want %d", got, goGCPercent)
	}
}

func TestTotalMemory(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal:       16384 kB\nMemFree: 1 kB\n": 16 << 20,
		"MemFree: 5 kB\nMemTotal: 2048 kB\n":        2 << 20,
		"MemFree: 5 kB\n":                           math.MaxUint64,
		"":                                          math.MaxUint64,
		"MemTotal: many kB\n":                       math.MaxUint64,
	} {
		if got := totalMemory(strings.NewReader(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
