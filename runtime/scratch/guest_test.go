package scratch

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/dugnad/dugnad/runtime/task"
)

const wantGuest = `walked 17
/
bee
deep
/input d--------- 0 2026-01-01 00:00:00 +0000 UTC
/input/one ---------- 3 2026-01-01 00:00:00 +0000 UTC
/input/tree d--------- 0 2026-01-01 00:00:00 +0000 UTC
/input/tree/a.txt ---------- 2 2026-01-01 00:00:00 +0000 UTC
/input/tree/b.txt ---------- 3 2026-01-01 00:00:00 +0000 UTC
/input/tree/back L--------- 12 2026-01-01 00:00:00 +0000 UTC
/input/tree/in L--------- 12 2026-01-01 00:00:00 +0000 UTC
/input/tree/insub L--------- 3 2026-01-01 00:00:00 +0000 UTC
/input/tree/outside L--------- 10 2026-01-01 00:00:00 +0000 UTC
/input/tree/passwd L--------- 11 2026-01-01 00:00:00 +0000 UTC
/input/tree/pipe ---------- 0 2026-01-01 00:00:00 +0000 UTC
/input/tree/sub d--------- 0 2026-01-01 00:00:00 +0000 UTC
/input/tree/sub/deep.txt ---------- 4 2026-01-01 00:00:00 +0000 UTC
/input/tree/up L--------- 31 2026-01-01 00:00:00 +0000 UTC
full: write /tmp/big: I/O error
done
`

// TestGuest runs testdata/guest, built for WASI, on wazero with the file
// system mounted as in production.
func TestGuest(t *testing.T) {
	module := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-o", module, ".")
	build.Dir = filepath.Join("testdata", "guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	code, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := runGuest(t, r, compiled); got != wantGuest {
			t.Errorf("output:\n%s", got)
		}
	}
}

func runGuest(t *testing.T, r wazero.Runtime, compiled wazero.CompiledModule) string {
	t.Helper()
	tree, _ := hostTree(t)
	// What differs from one copy of the folder to the next is left out.
	if err := os.Remove(filepath.Join(tree, "abs")); err != nil {
		t.Fatal(err)
	}
	f := open(t, Config{BytesMax: 8 << 20, FilesMax: 1000, Inputs: []task.Input{
		{Name: "tree", Path: tree}, {Name: "one", Path: filepath.Join(tree, "b.txt")},
	}})
	var out, errs bytes.Buffer
	mount := wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(f, "/")
	config := wazero.NewModuleConfig().WithArgs("guest").WithStdout(&out).WithStderr(&errs).
		WithEnv("PWD", "/").WithFSConfig(mount)
	ctx := context.Background()
	m, err := r.InstantiateModule(ctx, compiled, config.WithName(""))
	if err != nil {
		t.Fatalf("run: %v\n%s\n%s", err, out.String(), errs.String())
	}
	if name, _ := f.LimitHit(); name != LimitBytes {
		t.Errorf("LimitHit = %q", name)
	}
	if f.handles > 1 {
		t.Errorf("%d handles are open after the guest ended", f.handles)
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkTree(t, f, nil)
	return out.String()
}
