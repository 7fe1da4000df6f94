package sandbox

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/runtime/meter"
	"github.com/dugnad/dugnad/runtime/task"
)

// TestPopulate checks that a guest cannot make the host fault in much memory
// between two checks: what lies beyond lazyBytes is there before it can touch it.
func TestPopulate(t *testing.T) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	if err := unix.Madvise(page, unix.MADV_POPULATE_WRITE); errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel cannot populate memory")
	}
	const size = lazyBytes + 3*populateBytes/2
	m := memory{limit: 1 << 30, pool: newPool(0)}
	if err := m.reserve(1 << 30); err != nil {
		t.Fatal(err)
	}
	defer m.release()
	if m.Reallocate(lazyBytes/2) == nil || m.Reallocate(size) == nil {
		t.Fatal("memory does not grow")
	}
	if have := present(t, m.reserved[:lazyBytes]); have > 0 {
		t.Errorf("%d pages that nobody touched are there", have)
	}
	if have, want := present(t, m.reserved[lazyBytes:size]), (size-lazyBytes)/os.Getpagesize(); have != want {
		t.Errorf("%d pages are there, want %d", have, want)
	}
	late := false
	m.timeUp = func() bool { late = !late; return !late }
	if m.Reallocate(size+4*populateBytes) != nil || m.linear != size {
		t.Error("memory grows although time is up")
	}
}

// present counts the pages that are in memory.
func present(t *testing.T, b []byte) (n int) {
	t.Helper()
	vec := make([]byte, len(b)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&vec[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}

// TestMemoryComesBack: what an attempt has had is there for the next one, which
// waits for the kernel to take it back.
func TestMemoryComesBack(t *testing.T) {
	const size = 4 * lazyBytes
	p := newPool(size)
	for range 5 {
		m := memory{limit: size, pool: p}
		if err := m.reserve(size); err != nil {
			t.Fatal(err)
		}
		if m.Reallocate(size) == nil {
			t.Fatal("the pool is empty")
		}
		other := memory{limit: size, pool: p}
		if err := other.reserve(size); err != nil {
			t.Fatal(err)
		}
		if other.Reallocate(PageBytes) != nil {
			t.Error("the pool gives more than it has")
		}
		other.release()
		m.release()
	}
	p.close()
	if p.used != 0 {
		t.Errorf("%d bytes are still used", p.used)
	}
}

// TestUnpaidGrowthIsNotMade: a guest that grows by more than its fuel pays for
// ends before it has had the host make the pages.
func TestUnpaidGrowthIsNotMade(t *testing.T) {
	p := priceProgram{module: "memory 1\n", before: "i32.const 4000\nmemory.grow\ndrop"}
	m := load(t, open(t, nil), metered(t, p.bytes()))
	for _, c := range []struct {
		pages uint64 // that the budget pays for
		want  task.Kind
	}{{300, task.OutOfFuel}, {4100, task.Exited}} {
		limits := task.Limits{MemoryBytes: 1 << 30, Fuel: meter.InstanceFuel + (c.pages+1)*meter.PageFuel}
		r := &run{caller: t.Context(), ctx: t.Context(), clock: clock{begin: time.Now()}, module: m, spec: &task.Spec{}, limits: limits.WithDefaults()}
		r.prepare(Streams{})
		defer r.close()
		_, err := r.call("_start", nil)
		if o := r.outcome(err); o.Kind != c.want {
			t.Errorf("got %+v, want %v", o, c.want)
		}
		want := (int(min(c.pages, 4001))*PageBytes - lazyBytes) / os.Getpagesize()
		// What the book does not know yet is at most a portion.
		slack := (portionFuelFirst/meter.PageFuel + 2) * PageBytes / os.Getpagesize()
		if have := present(t, r.memory.reserved[lazyBytes:]); have > want+slack || have < want/2 {
			t.Errorf("%d pages are there with fuel for %d of 64 KiB, want %d", have, c.pages, want)
		}
	}
}

// TestNoMemoryToStart checks that a host without memory is no trap.
func TestNoMemoryToStart(t *testing.T) {
	m := load(t, open(t, nil), metered(t, program(loopForever).memory(16384, -1).bytes()))
	r := &run{caller: t.Context(), ctx: t.Context(), clock: clock{begin: time.Now()}, module: m, spec: &task.Spec{}, limits: task.Limits{MemoryBytes: 1 << 31}.WithDefaults()}
	r.prepare(Streams{})
	defer r.close()
	r.memory.timeUp = func() bool { return true }
	_, err := r.call("_start", nil)
	if o := r.outcome(err); o.Kind != task.MemoryLimit {
		t.Errorf("got %+v", o)
	}
}

// TestCodeFolderGone checks that a disk that fails is not the module's fault.
func TestCodeFolderGone(t *testing.T) {
	dir := t.TempDir() + "/code"
	e := open(t, func(c *Config) { c.CodeDir = dir })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(context.Background(), metered(t, program().bytes())); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}
