package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/ledger"
)

// residentTables returns the bytes of the tables below a directory that are in this
// process's memory.
func residentTables(t *testing.T, dir string) (total int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	table := false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if first := fields[0]; !strings.HasSuffix(first, ":") { // begins a mapping, which may have no name
			last := fields[len(fields)-1]
			table = strings.HasPrefix(last, dir) && strings.HasSuffix(last, tableSuffix)
		} else if table && first == "Rss:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			total += kib << 10
		}
	}
	return total
}

// TestTablesArePagedOut: once nothing is written, tables take no memory, and are read
// as before.
func TestTablesArePagedOut(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skipf("files there are memory: type %x, %v", fs.Type, err)
	}
	c := Default(dir)
	c.SyncLog = false
	s := openTest(t, c)
	b := newBulk(s)
	last := uint64(3 * c.MemTableBytes / (64 << 10))
	for i := uint64(1); i <= last; i++ {
		b.update(t, i)
		b.log(t, i)
	}
	before := 0
	for start := time.Now(); before < int(c.MemTableBytes); before = residentTables(t, dir) {
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("only %d bytes of tables are in memory after they were written", before)
		}
	}
	if err := pageOut(s.raft.dir); errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel cannot page out")
	}
	after := before
	for start := time.Now(); after > before/4; after = residentTables(t, dir) {
		if time.Since(start) > 3*time.Minute {
			t.Fatalf("%d bytes of tables are in memory at rest, %d when they were written", after, before)
		}
		var k keeper  // another rest: the last table may have come late
		for range 3 { // it is seen that nothing was written
			if err := s.maintain(&k); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = s.View(func(tx ledger.Tx) error {
		v, err := tx.Get(bulkKey(1))
		if err == nil && !bytes.Equal(v, b.value) {
			err = errors.New("a value is another one")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
