package sandbox

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// cpuMeter adds up the processor time of the threads that run one guest. The
// goroutine is bound to its thread while the guest runs and released while it
// waits, so that a thousand sleeping guests do not hold a thousand threads.
type cpuMeter struct {
	total time.Duration
	since time.Duration
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func (c *cpuMeter) resume() {
	runtime.LockOSThread()
	c.since = threadTime()
}

func (c *cpuMeter) pause() {
	c.total += threadTime() - c.since
	runtime.UnlockOSThread()
}

// now returns the total while the guest is running.
func (c *cpuMeter) now() time.Duration { return c.total + threadTime() - c.since }
