package pool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// firstVariable makes this test's binary a process that has a pool until it is
// killed: its value is the pool's folder.
const firstVariable = "DUGNAD_TEST_POOL"

// adoptStdin is what the task reads; the process that is killed gives the first half.
var adoptStdin = bytes.Repeat([]byte("0123456789"), 4000)

// orphanConfig is that of a pool whose tasks outlive its process.
func orphanConfig(dir string) Config {
	c := Default(dir)
	c.OrphanMax = worker.OrphanMaxMax
	return c
}

// firstMain begins a task, and says so.
func firstMain(dir string) int {
	ctx := context.Background()
	p, err := Open(ctx, orphanConfig(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, tenant := range []string{"a", "b"} {
		inputs, err := p.InputDir(tenant)
		if err == nil {
			err = os.WriteFile(filepath.Join(inputs, "file"), nil, 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	module, err := os.ReadFile(guestFile("cat"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	image, err := p.Prepare(ctx, "a", sha256.Sum256(module), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(module)), nil })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stdin := io.MultiReader(bytes.NewReader(adoptStdin[:len(adoptStdin)/2]), never{})
	t := worker.Task{Key: "k", Streams: worker.Streams{Stdin: stdin, Stdout: first(func() { fmt.Println("begun") })}}
	p.RunSeries(ctx, "a", image, []worker.Task{t}, func(int, task.Outcome) {}, nil)
	return 1
}

// never is a reader that has nothing, and does not end.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }

func guestFile(name string) string {
	return filepath.Join("..", "..", "runtime", "worker", "testdata", name+".wasm")
}

// TestAdopt: the pool of another process goes on with a task, leaves the inputs of its
// tenant as long as that needs them, and runs what is new as always.
func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env, cmd.Stderr = append(os.Environ(), firstVariable+"="+dir), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("begun"))); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	p, err := Open(t.Context(), orphanConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if keys := p.Kept(); !slices.Equal(keys, []string{"k"}) {
		t.Fatalf("tasks %q are kept, want k", keys)
	}
	old := p.adopted[0].ReadOnly()[0]
	if _, err := os.Stat(filepath.Join(old, "file")); err != nil {
		t.Errorf("the input of what is kept: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(old), "b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the input of what is not kept: %v", err)
	}
	if inputs, err := p.InputDir("a"); err != nil || inputs == old {
		t.Errorf("new inputs are in %s, %v", inputs, err)
	}
	hello := prepare(t, p, "hello")
	if o, text := run(t, p, "b", hello, task.Spec{}); o.Kind != task.Exited || text != "hello\n" {
		t.Errorf("a new task: %+v, %q", o, text)
	}
	if _, is := p.firstAdopted("b", []worker.Task{{Key: "k"}}); is != nil {
		t.Error("another tenant could have the task")
	}

	adopted := p.adopted[0]
	ends := adoptBeside(t, p, hello)
	if !slices.Equal(ends, []string{"back 1 2", "new hello\n", "kept " + string(adoptStdin)}) {
		t.Errorf("tasks end as %.40q", ends)
	}
	select {
	case <-adopted.Gone():
	case <-time.After(patience):
		t.Error("the adopted worker stays")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the input of what was kept: %v", err)
	}
}

// adoptBeside runs a new task and one that is kept in one series: the latter comes
// back, to be run first in another one.
func adoptBeside(t *testing.T, p *Pool, image Image) (ends []string) {
	t.Helper()
	var hello, kept bytes.Buffer
	tasks := []worker.Task{
		{Key: "other", Streams: worker.Streams{Stdout: &hello}},
		{Key: "k", Streams: worker.Streams{Stdin: bytes.NewReader(adoptStdin), Stdout: &kept}},
	}
	back := func(from, to int) { ends = append(ends, fmt.Sprint("back ", from, " ", to)) }
	p.RunSeries(t.Context(), "a", image, tasks, func(int, task.Outcome) { ends = append(ends, "new "+hello.String()) }, back)
	p.RunSeries(t.Context(), "a", image, tasks[1:], func(int, task.Outcome) { ends = append(ends, "kept "+kept.String()) }, back)
	return ends
}
