package pool

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// Activity is what a worker process does now.
type Activity struct {
	Tenant string
	PID    int
	// Series is how many series of tasks it runs at the same time; for one that an
	// earlier process has left, how many tasks are still to be asked for.
	Series int
	// Adopted says that an earlier process has left it.
	Adopted bool
	// CPU is the processor time that it has used since it started, MemoryBytes what it
	// has in memory; both are 0 where the system does not say.
	CPU         time.Duration
	MemoryBytes uint64
}

// Activity returns what the workers do, by tenant.
func (p *Pool) Activity() []Activity {
	list := p.workers()
	for i := range list {
		// A process that has just ended has used nothing that anybody could see.
		list[i].CPU, list[i].MemoryBytes, _ = usage(list[i].PID)
	}
	slices.SortFunc(list, func(a, b Activity) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.PID, b.PID)) })
	return list
}

func (p *Pool) workers() (list []Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.crews {
		select {
		case <-c.ready:
		default:
			continue
		}
		if c.worker != nil {
			list = append(list, Activity{Tenant: c.tenant, PID: c.worker.PID(), Series: c.uses})
		}
	}
	for _, a := range p.adopted {
		list = append(list, Activity{Tenant: a.Label(), PID: a.PID(), Series: len(a.Keys()), Adopted: true})
	}
	return list
}

// ticksPerSecond is the unit of processor time in /proc on Linux, on every machine.
const ticksPerSecond = 100

// usage reads what a process has used.
func usage(pid int) (cpu time.Duration, memoryBytes uint64, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, 0, err
	}
	statm, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return 0, 0, err
	}
	if cpu, err = parseStat(stat); err != nil {
		return 0, 0, err
	}
	var whole, resident uint64
	if _, err = fmt.Sscan(string(statm), &whole, &resident); err != nil {
		return 0, 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return cpu, resident * uint64(os.Getpagesize()), nil
}

// The places of user and system time in /proc/PID/stat, behind the name.
const (
	statUser   = 11
	statSystem = 12
)

// parseStat reads the processor time in /proc/PID/stat. The name in it may hold
// anything, the last parenthesis ends it.
func parseStat(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= statSystem {
		return 0, fmt.Errorf("read processor time: %d fields, want more than %d", len(fields), statSystem)
	}
	ticks := time.Duration(0)
	for _, field := range fields[statUser : statSystem+1] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / ticksPerSecond, nil
}
