package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/task"
)

// guests builds the Go programs under testdata once for each name.
var guests sync.Map

type guest struct {
	once sync.Once
	wasm []byte
	err  error
}

// goGuest returns testdata/NAME compiled for wasip1.
func goGuest(t testing.TB, name string) []byte {
	t.Helper()
	v, _ := guests.LoadOrStore(name, &guest{})
	g := v.(*guest)
	g.once.Do(func() { g.wasm, g.err = buildGuest(name) })
	if g.err != nil {
		t.Fatalf("build guest %s: %v", name, g.err)
	}
	return g.wasm
}

func buildGuest(name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name+".wasm")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// open opens an Engine that is closed at the test's end.
func open(t testing.TB, change func(*Config)) *Engine {
	t.Helper()
	c := Default()
	if change != nil {
		change(&c)
	}
	e, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close engine: %v", err)
		}
	})
	return e
}

// load loads a module that is closed at the test's end.
func load(t testing.TB, e *Engine, image Image) *Module {
	t.Helper()
	m, err := e.Load(context.Background(), image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close module: %v", err)
		}
	})
	return m
}

// capture runs a module and returns what it wrote.
func capture(ctx context.Context, m *Module, spec task.Spec, s Streams) (task.Outcome, string, string) {
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	o := m.Run(ctx, spec, s)
	return o, out.String(), errs.String()
}

// metered returns a module as the meter makes it.
func metered(t testing.TB, module []byte) Image {
	t.Helper()
	r, err := meter.Rewrite(module)
	if err != nil {
		t.Fatalf("meter: %v", err)
	}
	return Image{Wasm: r.Module, FunctionShift: r.FunctionShift, StartFuel: r.StartFuel}
}

// probe runs testdata/probe with one check.
func probe(t *testing.T, m *Module, spec task.Spec, s Streams, check ...string) (task.Outcome, string, string) {
	t.Helper()
	spec.Args = append([]string{"probe"}, check...)
	return capture(context.Background(), m, spec, s)
}

// shared is an Engine with the probe, for tests that need no other.
var shared struct {
	once  sync.Once
	probe *Module
}

func probeModule(t *testing.T) *Module {
	t.Helper()
	shared.once.Do(func() {
		c := Default()
		e, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Load(context.Background(), metered(t, goGuest(t, "probe")))
		if err != nil {
			t.Fatal(err)
		}
		shared.probe = m
	})
	if shared.probe == nil {
		t.Fatal("the probe could not be loaded")
	}
	return shared.probe
}

func TestMain(m *testing.M) {
	code := m.Run()
	if p := shared.probe; p != nil {
		if err := errors.Join(p.Close(), p.engine.Close()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
