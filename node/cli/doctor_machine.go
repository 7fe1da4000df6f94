package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// filesLeast are the open files without which a node does not work, filesWell
	// those that it may need: connections of the API and of members, objects, tables.
	filesLeast, filesWell = 512, 4096
	// processesWell are the threads and processes of a node with some workers.
	processesWell = 512
	// guestSpareBytes is what a node needs beside the memory that it offers.
	guestSpareBytes = 512 << 20
	// diskLeast is free space with which a node still writes its ledger, diskWell what
	// should be free at least.
	diskLeast, diskWell = 256 << 20, 2 << 30
	// diskProbeBytes and diskProbeSyncs are what is written to see how fast a disk is.
	diskProbeBytes, diskProbeSyncs = 16 << 20, 5
	// syncWell is how long writing a few bytes for good may take, rateWell the bytes
	// per second of writing many: each command to the ledger waits for the one, what
	// tasks read and put out for the other.
	syncWell = 50 * time.Millisecond
	rateWell = 20e6
)

// checkMachine looks at limits that the system sets, below root.
func checkMachine(root string) []check {
	var files unix.Rlimit
	checks := []check{skipped("open files", "the limit is not known")}
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		checks[0] = checkFiles(files.Cur)
	}
	return append(checks, checkOvercommit(root), checkProcesses(root))
}

// checkFiles judges how many files may be open: Go has raised the soft limit to the
// hard one.
func checkFiles(most uint64) check {
	const name = "open files"
	detail := fmt.Sprintf("at most %d at the same time", most)
	advice := fmt.Sprintf("raise the limit to %d: ulimit -Hn in the shell, LimitNOFILE= in the unit of systemd, --ulimit nofile= for a container", 16*filesWell)
	switch {
	case most < filesLeast:
		return found(name, checkFailed, detail, "a node cannot open its ledger and its connections", advice)
	case most < filesWell:
		return found(name, checkWeak, detail, "connections and objects are refused when many are in use", advice)
	}
	return fine(name, "%s", detail)
}

// checkOvercommit judges whether the kernel lets memory be reserved that is used
// later, which is how guests' memory grows.
func checkOvercommit(root string) check {
	const name = "overcommit"
	b, err := os.ReadFile(filepath.Join(root, "proc/sys/vm/overcommit_memory"))
	switch mode := strings.TrimSpace(string(b)); {
	case err != nil:
		return skipped(name, "%v", err)
	case mode == "2":
		return found(name, checkWeak, "vm.overcommit_memory is 2: reserved memory counts as used",
			"a guest's whole memory limit is taken when it starts, so that few run at the same time", "set vm.overcommit_memory to 0 with sysctl, or raise vm.overcommit_ratio")
	default:
		return fine(name, "vm.overcommit_memory is %s", mode)
	}
}

// checkProcesses judges how many threads and processes the container allows.
func checkProcesses(root string) check {
	const name = "processes"
	most, where, ok := cgroupLeast(root, "pids.max")
	switch {
	case !ok:
		return fine(name, "not limited by a control group")
	case most < processesWell:
		return found(name, checkWeak, fmt.Sprintf("at most %d, by %s", most, where),
			"worker processes may fail to start when several tenants run tasks", fmt.Sprintf("raise it to %d: TasksMax= in the unit of systemd, --pids-limit for a container", 8*processesWell))
	}
	return fine(name, "at most %d, by %s", most, where)
}

// checkMemory judges whether what a node offers is there.
func checkMemory(root string, offered uint64) check {
	const name = "memory"
	most, where, ok := cgroupLeast(root, "memory.max")
	if !ok {
		return fine(name, "%s are offered, not limited by a control group", roundBytes(offered))
	}
	detail := fmt.Sprintf("%s are offered, the limit is %s, by %s", roundBytes(offered), roundBytes(most), where)
	if most < offered+guestSpareBytes {
		return found(name, checkWeak, detail, "the kernel ends workers, or the node, before guests reach the memory that they were promised",
			fmt.Sprintf("raise the limit by %s, or offer less with --offer-memory", roundBytes(offered+guestSpareBytes-most)))
	}
	return fine(name, "%s", detail)
}

// cgroupLeast returns the least value of a limit in this process's control group and
// those above it, and where it is. ok is false without one.
func cgroupLeast(root, limit string) (least uint64, where string, ok bool) {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, "", false
	}
	group := "/"
	for line := range strings.Lines(string(b)) {
		if path, unified := strings.CutPrefix(strings.TrimSpace(line), "0::"); unified {
			group = filepath.Clean("/" + path)
		}
	}
	for {
		name := filepath.Join("/sys/fs/cgroup", group, limit)
		if b, err := os.ReadFile(filepath.Join(root, name)); err == nil {
			n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			if err == nil && (!ok || n < least) { // "max" is no number
				least, where, ok = n, name, true
			}
		}
		if group == "/" {
			return least, where, ok
		}
		group = filepath.Dir(group)
	}
}

// diskState is what was found out about a disk.
type diskState struct {
	free, size uint64
	// sync is how long writing a few bytes for good takes, rate bytes per second of
	// writing many.
	sync time.Duration
	rate float64
}

// checkDisk looks at the disk of a folder.
func checkDisk(dir string) []check {
	state, err := probeDisk(dir)
	if err != nil {
		state := checkWeak
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
			state = checkFailed
		}
		return []check{found("disk", state, fmt.Sprintf("%s: %v", dir, err), "nothing can be written there", "free some space, or name another folder that you may write to")}
	}
	return state.judge(dir)
}

func (d *diskState) judge(dir string) []check {
	room := fmt.Sprintf("%s: %s of %s are free", dir, roundBytes(d.free), roundBytes(d.size))
	speed := fmt.Sprintf("%s: %.1f ms for a few bytes to be safe, %.0f MB/s", dir, float64(d.sync.Microseconds())/1000, d.rate/1e6)
	checks := []check{fine("disk", "%s", room), fine("disk speed", "%s", speed)}
	const advice = "free some space, name a folder on a larger disk with --node-dir or --data-dir, or offer less with --offer-disk"
	switch {
	case d.free < diskLeast:
		checks[0] = found("disk", checkFailed, room, "the ledger cannot be written soon, and the node stops taking part", advice)
	case d.free < diskWell:
		checks[0] = found("disk", checkWeak, room, "objects of the grid are refused, and tasks that put much out fail here", advice)
	}
	if d.sync > syncWell || d.rate < rateWell {
		checks[1] = found("disk speed", checkWeak, speed, "every job that is submitted waits for the disks of most voters", "put the folder on a solid-state disk that is not shared over a network, or start the node with --never-vote")
	}
	return checks
}

// probeDisk writes a file that has no name, and sees how long that takes.
func probeDisk(dir string) (*diskState, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("look at the disk: %w", err)
	}
	d := &diskState{free: fs.Bavail * uint64(fs.Bsize), size: fs.Blocks * uint64(fs.Bsize)}
	f, err := os.CreateTemp(dir, "doctor-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if d.free < 2*diskProbeBytes {
		return d, nil // It is found wanting already.
	}
	began := time.Now()
	if _, err := f.Write(make([]byte, diskProbeBytes)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	d.rate = diskProbeBytes / max(time.Since(began).Seconds(), 1e-9)
	var syncs []time.Duration
	for range diskProbeSyncs {
		began := time.Now()
		_, err := f.Write(make([]byte, 4<<10))
		if err = errors.Join(err, f.Sync()); err != nil {
			return nil, err
		}
		syncs = append(syncs, time.Since(began))
	}
	slices.Sort(syncs)
	d.sync = syncs[len(syncs)/2]
	return d, nil
}
