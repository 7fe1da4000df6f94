package worker

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// guestEnv names a module for BenchmarkWarmGuest and BenchmarkColdGuest, such
// as a Go program of 2.5 MB.
const guestEnv = "DUGNAD_BENCH_MODULE"

// median reports the median of the measured times besides the mean.
func median(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

func measure(b *testing.B, f func()) {
	var times []time.Duration
	for b.Loop() {
		begin := time.Now()
		f()
		times = append(times, time.Since(begin))
	}
	median(b, times)
}

// BenchmarkWarmStart is a task of a loaded tiny module: task in to outcome out.
func BenchmarkWarmStart(b *testing.B) {
	cache := openTestCache(b, nil)
	w := openTestWorker(b, cache, nil)
	for _, name := range []string{"tiny", "hello"} {
		img := testImage(b, cache, name)
		b.Run(name, func(b *testing.B) { warmStart(b, w, img, "") })
	}
	w = openTestWorker(b, cache, outlives(b))
	b.Run("hello, with a key", func(b *testing.B) { warmStart(b, w, testImage(b, cache, "hello"), benchKey) })
}

// benchKey is a key as long as those of a grid's tasks.
const benchKey = "0123456789abcdef0123456789abcdef"

// outlives has a worker's tasks with keys outlive this process.
func outlives(b *testing.B) func(c *Config) {
	dir := b.TempDir()
	return func(c *Config) { c.OrphanDir, c.OrphanMax = dir, time.Minute }
}

func warmStart(b *testing.B, w *Worker, img Image, key string) {
	b.ReportAllocs()
	measure(b, func() {
		var out bytes.Buffer
		tasks := []Task{{Key: key, Streams: Streams{Stdout: &out}}}
		w.RunSeries(context.Background(), img, tasks, func(_ int, o task.Outcome) {
			if o.Kind != task.Exited {
				b.Fatalf("%+v", o)
			}
		}, nil)
	})
}

// BenchmarkWarmStartParallel is the same from several goroutines.
func BenchmarkWarmStartParallel(b *testing.B) {
	cache := openTestCache(b, nil)
	w := openTestWorker(b, cache, nil)
	img := testImage(b, cache, "tiny")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o := w.Run(context.Background(), img, task.Spec{}, Streams{}); o.Kind != task.Exited {
				b.Errorf("%+v", o)
			}
		}
	})
}

// BenchmarkSeriesParallel is the same in series of 64; the time is that of one
// task.
func BenchmarkSeriesParallel(b *testing.B) {
	cache := openTestCache(b, nil)
	img := testImage(b, cache, "tiny")
	b.Run("no key", func(b *testing.B) { seriesParallel(b, openTestWorker(b, cache, nil), img, "") })
	b.Run("keys", func(b *testing.B) { seriesParallel(b, openTestWorker(b, cache, outlives(b)), img, benchKey) })
}

func seriesParallel(b *testing.B, w *Worker, img Image, key string) {
	const length = 64
	b.RunParallel(func(pb *testing.PB) {
		tasks := make([]Task, length)
		for n := 0; n >= 0; {
			for n = 0; n < length && pb.Next(); n++ {
				tasks[n] = Task{Key: key}
			}
			w.RunSeries(context.Background(), img, tasks[:n], func(_ int, o task.Outcome) {
				if o.Kind != task.Exited {
					b.Errorf("%+v", o)
				}
			}, func(from, to int) { b.Logf("tasks %d to %d of %d did not begin", from, to, n) })
			if n < length {
				return
			}
		}
	})
}

// BenchmarkOpen is the start of a child.
func BenchmarkOpen(b *testing.B) {
	cache := openTestCache(b, nil)
	measure(b, func() {
		c := Default()
		c.Dir = cache.TempDir()
		w, err := Open(context.Background(), c)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func benchGuest(b *testing.B) []byte {
	path := os.Getenv(guestEnv)
	if path == "" {
		b.Skip(guestEnv, "names no module")
	}
	module, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		b.Fatal(err)
	}
	return module
}

// BenchmarkGuest runs a real program: loaded, from the cache into a new child,
// and its look-up in the cache alone.
func BenchmarkGuest(b *testing.B) {
	module := benchGuest(b)
	cache := openTestCache(b, nil)
	img, err := cache.Image(context.Background(), module, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("compiled in %s with %d MiB, %d KiB of code", img.CompileTime, img.CompileMemoryBytes>>20, img.CodeBytes>>10)
	run := func(b *testing.B, w *Worker, img Image) {
		if o := w.Run(context.Background(), img, task.Spec{}, Streams{}); o.Kind != task.Exited {
			b.Fatalf("%+v", o)
		}
	}
	b.Run("look up", func(b *testing.B) {
		measure(b, func() {
			if img, err = cache.Image(context.Background(), module, nil); err != nil || !img.Cached {
				b.Fatal(err)
			}
		})
	})
	b.Run("warm", func(b *testing.B) {
		w := openTestWorker(b, cache, nil)
		run(b, w, img)
		measure(b, func() { run(b, w, img) })
	})
	b.Run("cold", func(b *testing.B) {
		measure(b, func() {
			c := Default()
			c.Dir = cache.TempDir()
			opened := make(chan *Worker)
			go func() {
				w, err := Open(context.Background(), c)
				if err != nil {
					b.Error(err)
				}
				opened <- w
			}()
			img, err := cache.Image(context.Background(), module, nil)
			if err != nil {
				b.Fatal(err)
			}
			w := <-opened
			run(b, w, img)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	})
}
