package worker

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

// herald is a writer that tells when something is written for the first time.
type herald struct {
	bytes.Buffer
	once sync.Once
	tell func()
}

// Write implements io.Writer.
func (s *herald) Write(p []byte) (int, error) {
	defer s.once.Do(s.tell)
	return s.Buffer.Write(p)
}

// TestNotice: a guest that has to give way reads so from /dev/notice, and may end in
// its own way; so does one that is told before it begins.
func TestNotice(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "notice")
	for _, early := range []bool{false, true} {
		notice, give := context.WithCancel(t.Context())
		defer give()
		out := &herald{tell: give}
		if early {
			give()
		}
		var o task.Outcome
		w.RunSeries(t.Context(), img, []Task{{Streams: Streams{Stdout: out}, Notice: notice}}, func(_ int, one task.Outcome) { o = one }, nil)
		if wantKind(t, o, task.Exited); o.ExitCode != 0 || out.String() != "up\npreempted\n" {
			t.Errorf("early %v: %+v, %q", early, o, out.String())
		}
	}
}
