package sandbox

import (
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// pollMax bounds the subscriptions of one poll_oneoff.
const pollMax = 4096

// The kinds of subscription.
const (
	eventClock = iota
	eventRead
	eventWrite
)

// eventBytes is the size of an event.
const eventBytes = 32

// layout says where the fields of a subscription lie in one version of WASI.
type layout struct {
	size, clockID, timeout, flags, fd int
}

var (
	layoutOne  = layout{size: 48, clockID: 16, timeout: 24, flags: 40, fd: 16}
	layoutZero = layout{size: 56, clockID: 24, timeout: 32, flags: 48, fd: 16}
)

// subscription is one thing that a guest waits for.
type subscription struct {
	userdata [8]byte
	kind     byte
	errno    uint16
	// due is when a clock subscription fires, in nanoseconds from now.
	due uint64
	// stdin tells that it waits for stdin.
	stdin bool
	bytes uint64
}

func pollOneoff(r *run, m api.Module, stack []uint64) { layoutOne.poll(r, m, stack) }

// poll implements poll_oneoff(in, out, nsubscriptions, result). A guest sleeps
// here: its deterministic clock advances by exactly what it asked for.
func (l layout) poll(r *run, m api.Module, stack []uint64) {
	n, result := uint32(stack[2]), uint32(stack[3])
	if n == 0 || n > pollMax {
		stack[0] = errnoInval
		return
	}
	r.charge(uint64(n) * pricePollEach)
	mem := m.Memory()
	in, ok := mem.Read(uint32(stack[0]), n*uint32(l.size))
	out, ok2 := mem.Read(uint32(stack[1]), n*eventBytes)
	if _, ok3 := mem.ReadUint32Le(result); !ok || !ok2 || !ok3 {
		stack[0] = errnoFault
		return
	}
	subs := make([]subscription, n)
	for i := range subs {
		if errno := l.parse(r, in[i*l.size:][:l.size], &subs[i]); errno != errnoSuccess {
			stack[0] = uint64(errno)
			return
		}
	}
	elapsed, stdin := r.poll(subs)
	count := uint32(0)
	for i := range subs {
		s := &subs[i]
		switch {
		case s.errno != 0:
		case s.kind == eventClock && s.due > elapsed:
			continue
		case s.stdin && !stdin:
			continue
		case s.stdin:
			s.bytes = uint64(max(1, len(r.stdin.arrived)))
		}
		s.write(out[count*eventBytes:][:eventBytes])
		count++
	}
	mem.WriteUint32Le(result, count)
	stack[0] = errnoSuccess
}

func (l layout) parse(r *run, b []byte, s *subscription) (errno uint32) {
	copy(s.userdata[:], b)
	s.kind = b[8]
	switch s.kind {
	case eventClock:
		id, flags := le.Uint32(b[l.clockID:]), le.Uint16(b[l.flags:])
		if flags > 1 {
			return errnoInval
		}
		if id > clockMonotonic {
			s.errno = errnoNotsup
			return errnoSuccess
		}
		s.due = le.Uint64(b[l.timeout:])
		if flags == 1 {
			now := r.read(id)
			s.due -= min(s.due, now)
		}
	case eventRead, eventWrite:
		fd := int32(le.Uint32(b[l.fd:]))
		d, open := r.files[fd]
		if !open {
			s.errno = errnoBadf
			return errnoSuccess
		}
		s.stdin = s.kind == eventRead && fd == fdStdin && d.first
		s.bytes = transferMax
	default:
		return errnoInval
	}
	return errnoSuccess
}

// poll waits until the first subscription is ready. It returns the time that
// has passed for the guest, and whether stdin is ready.
func (r *run) poll(subs []subscription) (elapsed uint64, stdin bool) {
	wait, timed, wanted := uint64(math.MaxUint64), false, false
	for i := range subs {
		s := &subs[i]
		switch {
		case s.stdin && s.errno == 0:
			wanted = true
		case s.kind == eventClock && s.errno == 0:
			wait, timed = min(wait, s.due), true
		default:
			wait, timed = 0, true
		}
	}
	if wanted || wait > 0 {
		// Whether there is something on stdin already depends on the time, so it
		// must not matter.
		r.charge(priceSleep)
	}
	if wanted && r.stdin.start(aheadChunk) {
		return 0, true
	}
	if !timed {
		r.await(r.stdin.busy)
		r.stdin.collect()
		return 0, true
	}
	if wait == 0 && !wanted {
		r.check()
		return 0, false
	}
	if r.sleep(wait, wanted) {
		return 0, true
	}
	r.clock.slept = saturatingAdd(r.clock.slept, wait)
	return wait, false
}

// sleep waits for so many nanoseconds; it reports whether stdin came first.
func (r *run) sleep(nanos uint64, stdin bool) bool {
	timer := time.NewTimer(max(time.Duration(min(nanos, math.MaxInt64)), stdinGrace))
	if !stdin {
		timer.Reset(time.Duration(min(nanos, math.MaxInt64)))
	}
	defer timer.Stop()
	var ready chan struct{}
	if stdin {
		ready = r.stdin.busy
	}
	came, fired := false, false
	r.wait(func() {
		select {
		case <-ready:
			came = true
		case <-timer.C:
			fired = true
		case <-r.ctx.Done():
		}
	})
	switch {
	case came:
		r.stdin.collect()
		return true
	case !fired:
		r.check()
	}
	return false
}

// stdinGrace is what a guest that only looks whether stdin is ready gives a
// read that has just begun.
const stdinGrace = time.Millisecond

func (s *subscription) write(out []byte) {
	clear(out)
	copy(out, s.userdata[:])
	le.PutUint16(out[8:], s.errno)
	out[10] = s.kind
	if s.kind != eventClock && s.errno == 0 {
		le.PutUint64(out[16:], s.bytes)
	}
}
