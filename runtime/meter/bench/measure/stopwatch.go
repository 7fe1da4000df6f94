package measure

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// stopwatch measures the processor time of its thread, which is that of a guest
// when the goroutine is locked to it: what others do on the machine lengthens
// it less than it lengthens the time on the wall.
type stopwatch time.Duration

func begin() (stopwatch, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the thread's clock: %w", err)
	}
	return stopwatch(t.Nano()), nil
}

// nanos is the time since begin, at least 1.
func (s stopwatch) nanos() (int64, error) {
	now, err := begin()
	return max(1, int64(now-s)), err
}

// timed returns how long f takes.
func timed(f func() error) (nanos int64, err error) {
	s, err := begin()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	return s.nanos()
}
