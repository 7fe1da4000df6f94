package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCountdown: only the time counts in which it is not held.
func TestCountdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("over")
		began := time.Now()
		ctx, c := newCountdown(t.Context(), 14*time.Second, cause)
		defer c.stop()
		for _, held := range []bool{true, true, false, false, true, false} {
			time.Sleep(4 * time.Second)
			c.hold(held)
		}
		<-ctx.Done()
		// It was held from 4 s to 12 s and from 20 s to 24 s.
		if took := time.Since(began); took != 26*time.Second || !errors.Is(context.Cause(ctx), cause) {
			t.Errorf("it has taken %s, %v", took, context.Cause(ctx))
		}

		ctx, c = newCountdown(t.Context(), time.Second, cause)
		c.hold(true)
		time.Sleep(time.Hour)
		if ctx.Err() != nil {
			t.Error("a time that is held is over")
		}
		c.stop()
		if <-ctx.Done(); errors.Is(context.Cause(ctx), cause) {
			t.Error("one that was stopped is over")
		}
	})
}

// state is the letter that Linux has for what a process does: T is stopped.
func state(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name in brackets may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return fields[0]
}

// awaitCompiler returns the one process that compiles when it is stopped, or is not.
func awaitCompiler(t *testing.T, c *Cache, stopped bool) (pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c.compiling.mu.Lock()
		for p, left := range c.compiling.running {
			if left != nil && (state(t, p.pid) == "T") == stopped {
				pid = p.pid
			}
		}
		c.compiling.mu.Unlock()
		if pid != 0 {
			return pid
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no compiler that is stopped: %v", stopped)
		}
	}
}

// TestFreeze: what compiles stands still while the cache is frozen, also when it begins
// only then, goes on afterwards, and ends at once when nobody wants it.
func TestFreeze(t *testing.T) {
	cache := openTestCache(t, nil)
	made := make(chan error, 1)
	ask := func(ctx context.Context, c *Cache, name string) {
		go func() {
			_, err := c.Image(ctx, guest(t, name), nil)
			made <- err
		}()
	}
	cache.Freeze(true)
	ask(t.Context(), cache, "hello")
	awaitCompiler(t, cache, true)
	select {
	case err := <-made:
		t.Fatalf("it was compiled while frozen: %v", err)
	default:
	}
	cache.Freeze(false)
	if err := <-made; err != nil {
		t.Fatal(err)
	}

	endless := openTestCache(t, func(c *CacheConfig) { c.Executable = evilExecutable(t, "compiles for ever") })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ask(ctx, endless, "hello")
	pid := awaitCompiler(t, endless, false)
	endless.Freeze(true)
	if again := awaitCompiler(t, endless, true); again != pid {
		t.Errorf("process %d is frozen, not %d", again, pid)
	}
	endless.Freeze(false)
	awaitCompiler(t, endless, false)
	endless.Freeze(true)
	cancel()
	if err := <-made; !errors.Is(err, context.Canceled) {
		t.Errorf("one that nobody wants: %v", err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("process %d is there: %v", pid, err)
	}
}
