package nodetest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/node/nodetest"
)

// TestDir: a folder to which somebody writes goes when that has ended, and a test whose
// folder does is no failure.
func TestDir(t *testing.T) {
	var dir string
	end, ended := make(chan struct{}), make(chan struct{})
	t.Run("written to", func(t *testing.T) {
		dir = nodetest.Dir(t)
		sub := filepath.Join(dir, "sub")
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan struct{})
		go func() {
			defer close(ended)
			for i := 0; ; i++ {
				_ = os.WriteFile(filepath.Join(sub, string(rune('a'+i%26))), nil, 0o600)
				if i == 0 {
					close(wrote)
				}
				select {
				case <-end:
					return
				default:
				}
				if _, err := os.Stat(sub); err != nil {
					return
				}
			}
		}()
		<-wrote
	})
	close(end)
	<-ended
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}
