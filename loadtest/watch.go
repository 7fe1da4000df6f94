package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor time in /proc, on every Linux.
const ticksPerSecond = 100

// gauge is what a process takes.
type gauge struct {
	resident int64
	files    int
	cpu      time.Duration
}

// process is one that a scenario is measured on; its worker processes are not
// part of it.
type process struct {
	PID int `json:"pid"`
	// Begin, Peak and End are megabytes that are resident, Peak as the kernel
	// counts it over the process's whole life.
	Begin float64 `json:"rss_begin_mb"`
	Peak  float64 `json:"rss_peak_mb"`
	End   float64 `json:"rss_end_mb"`
	// FilesBegin and FilesEnd are open file descriptors.
	FilesBegin int `json:"fds_begin"`
	FilesEnd   int `json:"fds_end"`
	// CPU is seconds of processor time, Core the percentage of one core that this
	// is of the time the scenario took.
	CPU  float64 `json:"cpu_s"`
	Core float64 `json:"core_percent"`

	first gauge
}

var errProc = errors.New("not as in Linux")

// look reads what the process takes now.
func look(pid int) (g gauge, peak int64, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return g, 0, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			g.resident = n << 10
		case name == "VmHWM":
			peak = n << 10
		}
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return g, 0, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const user, system = 11, 12 // Counted from the field behind the name.
	if len(fields) <= system {
		return g, 0, fmt.Errorf("%sstat: %w", dir, errProc)
	}
	for _, text := range fields[user : system+1] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return g, 0, fmt.Errorf("%sstat: %w", dir, err)
		}
		g.cpu += time.Duration(n) * time.Second / ticksPerSecond
	}
	files, err := os.ReadDir(dir + "fd")
	g.files = len(files)
	return g, peak, err
}

func megabytes(n int64) float64 { return float64(n/100_000) / 10 }

// watch begins to measure processes.
func watch(pids []int) ([]process, error) {
	list := make([]process, len(pids))
	for i, pid := range pids {
		g, _, err := look(pid)
		if err != nil {
			return nil, fmt.Errorf("measure process: %w", err)
		}
		list[i] = process{PID: pid, Begin: megabytes(g.resident), FilesBegin: g.files, first: g}
	}
	return list, nil
}

// end measures again, after the scenario took so long.
func (p *process) end(took time.Duration) error {
	g, peak, err := look(p.PID)
	if err != nil {
		return fmt.Errorf("measure process: %w", err)
	}
	p.End, p.Peak, p.FilesEnd = megabytes(g.resident), megabytes(peak), g.files
	p.CPU = (g.cpu - p.first.cpu).Seconds()
	p.Core = float64(int(p.CPU/took.Seconds()*10000)) / 100
	return nil
}

// idle does nothing for a while.
func idle(ctx context.Context, span time.Duration) error {
	select {
	case <-time.After(span):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parsePIDs reads a list of process ids with commas between them.
func parsePIDs(text string) ([]int, error) {
	var pids []int
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(part)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("-pids: %q is not a process id", part)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
