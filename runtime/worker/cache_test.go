package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/prometheus/client_golang/prometheus"
)

// metric returns the sum of a counter over its labels.
func metric(t testing.TB, c *Cache, name string) (sum float64) {
	t.Helper()
	families, err := c.config.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestCacheHit(t *testing.T) {
	cache := openTestCache(t, nil)
	module := guest(t, "hello")
	var phases []Phase
	first, err := cache.Image(t.Context(), module, func(p Progress) {
		if p.Done {
			phases = append(phases, p.Phase)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(phases); got != "[lint meter compile]" {
		t.Errorf("phases %s", got)
	}
	if first.Cached || first.CompileTime <= 0 || first.CompileMemoryBytes == 0 || first.CodeBytes == 0 {
		t.Errorf("first image %+v", first)
	}
	second, err := cache.Image(t.Context(), module, func(p Progress) { t.Errorf("progress %+v of a cached module", p) })
	if err != nil {
		t.Fatal(err)
	}
	first.Cached = true
	if second != first {
		t.Errorf("second image %+v, first %+v", second, first)
	}
	if n := metric(t, cache, "dugnad_code_cache_hits_total"); n != 1 {
		t.Errorf("%v hits", n)
	}
	left, err := os.ReadDir(cache.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("temporary folders left: %v %v", left, err)
	}
}

func TestCacheIsPrivate(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "hello")
	err := filepath.Walk(cache.config.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && path != cache.config.Dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(img.dir, codeFile)); err != nil {
		t.Error(err)
	}
}

// damage lists ways to harm a file.
func damage() map[string]func([]byte) []byte {
	ways := map[string]func([]byte) []byte{
		"removed": func([]byte) []byte { return nil },
		"empty":   func([]byte) []byte { return []byte{} },
		"longer":  func(b []byte) []byte { return append(b, 0) },
	}
	for name, at := range map[string]func(n int) int{
		"the first byte":   func(int) int { return 0 },
		"the second byte":  func(int) int { return 1 },
		"a third":          func(n int) int { return n / 3 },
		"the middle":       func(n int) int { return n / 2 },
		"the last but one": func(n int) int { return n - 2 },
		"the last byte":    func(n int) int { return n - 1 },
	} {
		ways["a bit of "+name] = func(b []byte) []byte { b[at(len(b))] ^= 4; return b }
		ways["cut at "+name] = func(b []byte) []byte { return b[:at(len(b))] }
	}
	return ways
}

func TestCacheDamage(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	// What a worker has taken over is its own.
	intact := testImage(t, cache, "exit1")
	damaged := 0
	for _, file := range []string{codeFile, skeletonFile, manifestFile} {
		path := filepath.Join(testImage(t, cache, "hello").dir, file)
		for name, harm := range damage() {
			t.Run(file+"/"+name, func(t *testing.T) {
				testImage(t, cache, "hello")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				replace(t, path, harm(b))
				damaged++
				img := testImage(t, cache, "hello")
				if img.Cached {
					t.Fatal("the damaged entry was used")
				}
				if !testImage(t, cache, "hello").Cached {
					t.Fatal("the new entry is not used")
				}
				if n := metric(t, cache, "dugnad_code_cache_damaged_total"); int(n) != damaged {
					t.Errorf("%v entries counted as damaged, want %d", n, damaged)
				}
			})
		}
	}
	var out bytes.Buffer
	wantKind(t, w.Run(t.Context(), testImage(t, cache, "hello"), task.Spec{}, Streams{Stdout: &out}), task.Exited)
	if o := w.Run(t.Context(), intact, task.Spec{}, Streams{}); o.ExitCode != 1 || out.String() != "hello\n" {
		t.Errorf("outcome %+v, output %q", o, out.String())
	}
}

// replace writes other bytes into a file's place, or removes it for nil.
func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if b == nil {
		return
	}
	if err := os.WriteFile(path, b, 0o400); err != nil {
		t.Fatal(err)
	}
}

func TestCacheForeignEntry(t *testing.T) {
	cache := openTestCache(t, nil)
	one, two := testImage(t, cache, "exit1"), testImage(t, cache, "exit2")
	if err := os.RemoveAll(one.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(two.dir, one.dir); err != nil {
		t.Fatal(err)
	}
	if testImage(t, cache, "exit1").Cached {
		t.Error("an entry of another module was used")
	}
}

func TestCacheConcurrent(t *testing.T) {
	cache := openTestCache(t, nil)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { testImage(t, cache, "hello") })
	}
	all.Wait()
	if n := metric(t, cache, "dugnad_code_cache_misses_total"); n != 1 {
		t.Errorf("%v compilations, want 1", n)
	}
}

// cacheCommand makes the test binary make one image in a cache.
const cacheEnv = "DUGNAD_WORKER_TEST_CACHE"

func TestCacheTwoProcesses(t *testing.T) {
	if dir := os.Getenv(cacheEnv); dir != "" {
		cache := openTestCache(t, func(c *CacheConfig) { c.Dir = dir })
		testImage(t, cache, "hello")
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cache := openTestCache(t, nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestCacheTwoProcesses$")
			cmd.Env = append(os.Environ(), cacheEnv+"="+cache.config.Dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	if !testImage(t, cache, "hello").Cached {
		t.Error("no entry was made")
	}
	left, err := os.ReadDir(cache.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("temporary folders left: %v %v", left, err)
	}
}

func TestCacheEviction(t *testing.T) {
	cache := openTestCache(t, func(c *CacheConfig) { c.CacheBytesMax = 1 << 20 })
	var dirs []string
	for i, name := range []string{"exit1", "exit2", "tiny"} {
		dir := testImage(t, cache, name).dir
		dirs = append(dirs, dir)
		// Make the entry as large as half of the cache and as old as it is early.
		replace(t, filepath.Join(dir, skeletonFile), make([]byte, 600<<10))
		old := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	testImage(t, cache, "hello")
	for i, dir := range dirs {
		_, err := os.Stat(dir)
		if kept := err == nil; kept != (i == 2) {
			t.Errorf("entry %d: kept is %v", i, kept)
		}
	}
	// The second was evicted when the third was made or now; all but one are gone.
	if n := metric(t, cache, "dugnad_code_cache_evictions_total"); n != 2 {
		t.Errorf("%v evictions, want 2", n)
	}
}

func TestCacheRemovesStale(t *testing.T) {
	cache := openTestCache(t, nil)
	old := time.Now().Add(-2 * time.Hour)
	make := func(name string, age time.Time) string {
		dir := filepath.Join(cache.TempDir(), name)
		if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, age, age); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	stale, fresh, locked := make("stale", old), make("fresh", time.Now()), make("locked", old)
	lock, err := lockDir(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	openTestCache(t, func(c *CacheConfig) { c.Dir = cache.config.Dir })
	for dir, want := range map[string]bool{stale: false, fresh: true, locked: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
}

func TestImageErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	evil := func(behaviour string) func(*CacheConfig) {
		return func(c *CacheConfig) { c.Executable = evilExecutable(t, behaviour) }
	}
	tests := []struct {
		name   string
		ctx    context.Context
		module []byte
		change func(*CacheConfig)
		want   error
	}{
		{"cancelled", ctx, guest(t, "hello"), nil, context.Canceled},
		{"timeout", nil, guest(t, "hello"), func(c *CacheConfig) { c.CompileTimeout = time.Nanosecond }, ErrCompileTimeout},
		{"hangs", nil, guest(t, "hello"), func(c *CacheConfig) {
			evil("compiles for ever")(c)
			c.CompileTimeout = 100 * time.Millisecond
		}, ErrCompileTimeout},
		{"out of memory", nil, guest(t, "hello"), evil("compiler out of memory"), ErrCompileMemory},
		{"lost", nil, guest(t, "hello"), evil("exit at once"), ErrCompilerLost},
		{"dies", nil, guest(t, "hello"), evil("compiler dies"), ErrCompilerLost},
		{"no code", nil, guest(t, "hello"), evil("compiler without code"), ErrCompilerLost},
		{"unknown import", nil, guest(t, "import"), nil, ErrInvalid},
		{"invalid", nil, guest(t, "hello"), evil("compiler says invalid"), ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := openTestCache(t, tt.change)
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := cache.Image(ctx, tt.module, nil)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			t.Log(err)
			left, err := os.ReadDir(cache.TempDir())
			if err != nil || len(left) > 0 {
				t.Errorf("temporary folders left: %v %v", left, err)
			}
		})
	}
}

func TestImageRefused(t *testing.T) {
	reg := prometheus.NewRegistry()
	cache := openTestCache(t, func(c *CacheConfig) { c.Registerer = reg })
	for name, module := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "truncated": guest(t, "hello")[:40],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cache.Image(t.Context(), module, nil)
			var refusal *lint.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("error %v", err)
			}
		})
	}
	if n := metric(t, cache, "dugnad_module_refusals_total"); n != 3 {
		t.Errorf("%v refusals counted, want 3", n)
	}
	// A second cache and a worker share the metrics.
	second := openTestCache(t, func(c *CacheConfig) { c.Registerer = reg })
	openTestWorker(t, second, func(c *Config) { c.Registerer = reg })
	if second.metrics.refusals != cache.metrics.refusals {
		t.Error("the second cache has metrics of its own")
	}
}

func TestCacheClosed(t *testing.T) {
	cache := openTestCache(t, nil)
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Image(t.Context(), guest(t, "hello"), nil); !errors.Is(err, ErrCacheClosed) {
		t.Errorf("error %v", err)
	}
}

func TestCompileCPULimit(t *testing.T) {
	cache := openTestCache(t, func(c *CacheConfig) {
		c.Executable, c.CompileCPU = evilExecutable(t, "compiler spins"), time.Second
	})
	_, err := cache.Image(t.Context(), guest(t, "hello"), nil)
	if !errors.Is(err, ErrCompileTimeout) || !strings.Contains(err.Error(), "processor time") {
		t.Errorf("error %v", err)
	}
}

func TestKeyDependsOnModule(t *testing.T) {
	seen := map[string]bool{}
	for i := range byte(3) {
		seen[entryKey([32]byte{i})] = true
	}
	if len(seen) != 3 || !strings.Contains(machine(), "wazero "+wazeroVersion()) {
		t.Errorf("keys %v on %q", seen, machine())
	}
}
