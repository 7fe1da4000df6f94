package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

//go:generate sh -c "for f in testdata/*.wat; do wat2wasm $f -o ${f%.wat}.wasm; done"

// evilCommand is the first argument of a child that breaks the rules.
const evilCommand = "evil-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ChildCommand {
		os.Exit(Main(context.Background()))
	}
	if len(os.Args) > 2 && os.Args[1] == evilCommand {
		os.Exit(evilMain(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == tickerCommand {
		os.Exit(tickerMain(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == parentCommand {
		os.Exit(parentMain(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == strangerCommand {
		os.Exit(strangerMain(os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

// deadline bounds every test's wait for something that must happen.
const deadline = 5 * time.Minute

func guest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openTestCache(t testing.TB, change func(*CacheConfig)) *Cache {
	t.Helper()
	c := DefaultCache()
	c.Dir, c.Registerer = t.TempDir(), prometheus.NewRegistry()
	if change != nil {
		change(&c)
	}
	cache, err := OpenCache(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return cache
}

func openTestWorker(t testing.TB, cache *Cache, change func(*Config)) *Worker {
	t.Helper()
	c := Default()
	c.Dir = cache.TempDir()
	if change != nil {
		change(&c)
	}
	w, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func testImage(t testing.TB, cache *Cache, name string) Image {
	t.Helper()
	img, err := cache.Image(context.Background(), guest(t, name), nil)
	if err != nil {
		t.Fatalf("image of %s: %v", name, err)
	}
	return img
}

// firstWrite is a writer that tells of its first write.
type firstWrite struct {
	happened chan struct{}
	buffer   bytes.Buffer
}

func newFirstWrite() *firstWrite { return &firstWrite{happened: make(chan struct{})} }

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.buffer.Len() == 0 {
		defer close(f.happened)
	}
	return f.buffer.Write(p)
}

// wait fails the test when the event does not happen.
func wait(t testing.TB, event <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(deadline):
		t.Fatalf("%s: does not happen", what)
	}
}

// running is a task whose outcome is awaited.
type running struct {
	outcome task.Outcome
	ended   chan struct{}
}

func runInBackground(ctx context.Context, w *Worker, img Image, spec task.Spec, s Streams) *running {
	r := &running{ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.outcome = w.Run(ctx, img, spec, s)
	}()
	return r
}

func wantKind(t testing.TB, o task.Outcome, kind task.Kind) {
	t.Helper()
	if o.Kind != kind {
		t.Errorf("outcome %s (%s), want %s", o.Kind, o.Message, kind)
	}
}

func evilMain(behaviour string) int {
	f, ok := evil[behaviour]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such behaviour:", behaviour)
		return 9
	}
	return f()
}
