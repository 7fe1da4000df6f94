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
	limitMemory([]string{"GOMEMLIMIT=123MiB"})
	if got := debug.SetMemoryLimit(-1); got != chosen {
		t.Errorf("with GOMEMLIMIT the limit is %d, want %d as before", got, chosen)
	}
	limitMemory([]string{"GOMEMLIMIT="})
	if got := debug.SetMemoryLimit(-1); got != goMemoryBytes {
		t.Errorf("the limit is %d, want %d", got, goMemoryBytes)
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
