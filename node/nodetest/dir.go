// Package nodetest has what tests of nodes that are processes need.
package nodetest

import (
	"os"
	"testing"
	"time"
)

// patience is how long a folder is written to at most when its node is gone.
const patience = 2 * time.Minute

// Dir returns a folder that is removed with the test, like tb.TempDir, and in which
// others may still write then: workers outlive a node that was killed, and end when
// nobody has come for them.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	tb.Cleanup(func() {
		pause := time.NewTicker(20 * time.Millisecond)
		defer pause.Stop()
		late := time.After(patience)
		for {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			select {
			case <-pause.C:
			case <-late:
				tb.Errorf("a node's folder cannot be removed: %v", err)
				return
			}
		}
	})
	return dir
}
