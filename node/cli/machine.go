package cli

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// goMemoryBytes is what the garbage collector keeps the heap below, if it
	// can: most of it is the ledger's tables, which come and go.
	goMemoryBytes = 256 << 20
	// goGCPercent is by how much the heap may grow between two collections. Half of
	// what is live are tables in memory, which hold no pointers and cost a collection
	// nothing: twice as many collections than by default could not be told from noise.
	goGCPercent = 50
	// meminfoPath and cgroupMemoryPath say what memory the machine and the container
	// have.
	meminfoPath      = "/proc/meminfo"
	cgroupMemoryPath = "/sys/fs/cgroup/memory.max"
)

// limitMemory sets how large the heap may grow, by either measure, unless the
// operator has.
func limitMemory(environ []string) {
	if lookup(environ, "GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(goMemoryBytes)
	}
	if lookup(environ, "GOGC") == "" {
		debug.SetGCPercent(goGCPercent)
	}
}

// machineMemory is what this machine, or the container, has; 0 is unknown.
func machineMemory() uint64 {
	least := uint64(math.MaxUint64)
	if f, err := os.Open(meminfoPath); err == nil {
		defer f.Close()
		least = min(least, totalMemory(f))
	}
	if b, err := os.ReadFile(cgroupMemoryPath); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
			least = min(least, n) // "max" is no number
		}
	}
	if least == math.MaxUint64 {
		return 0
	}
	return least
}

// totalMemory reads Linux's meminfo. Without the line that counts it is MaxUint64.
func totalMemory(r io.Reader) uint64 {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var kib uint64
		if _, err := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return math.MaxUint64
}
