package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// load tells how busy others keep the machine while this program and its
// children work.
type load struct {
	begin time.Time
	busy  float64
}

func newLoad() *load { return &load{begin: time.Now(), busy: busySeconds()} }

// others is how many cores others have taken since the begin, on average. What
// children that still run have taken counts as others', so ask when there are
// none.
func (l *load) others() float64 {
	span := time.Since(l.begin).Seconds()
	return max(0, (busySeconds()-l.busy-ownSeconds())/span)
}

// average is the load average of the last minute.
func (l *load) average() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	v, _, _ := strings.Cut(string(b), " ")
	f, _ := strconv.ParseFloat(v, 64)
	return f
}

// ticksPerSecond is the unit of /proc/stat on Linux.
const ticksPerSecond = 100

// busySeconds is what all cores have worked since the machine started, with
// what a hypervisor has taken away.
func busySeconds() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	total := 0.0
	// After the name: user, nice, system, idle, waiting, interrupts, soft
	// interrupts, stolen; what follows is part of the first two.
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0
		}
		total += v
	}
	return total / ticksPerSecond
}

// ownSeconds is the processor time of this process and of its children that
// have ended.
func ownSeconds() float64 {
	total := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
	}
	return total
}

// machine describes the processor, the system and the engines.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := ""
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = " " + strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d cores of %s, %s%s, %s, wazero %s, Wasmtime %s", runtime.NumCPU(), model, runtime.GOOS, kernel,
		runtime.Version(), version("github.com/tetratelabs/wazero"), version("github.com/bytecodealliance/wasmtime-go/v39"))
}

// commit is that of the repository, with a mark when it has been changed.
func (c *config) commit(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*")
	cmd.Dir = c.repository
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
