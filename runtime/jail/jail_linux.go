package jail

import (
	"fmt"
	"os"
	"runtime"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Probe reports what this kernel offers and changes nothing.
func Probe() Report {
	r := Report{Landlock: landlockABI(), Seccomp: seccomp.Supported()}
	_, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	r.NoNewPrivs = err == nil
	r.Missing = missing(r)
	return r
}

// Apply confines the calling process, every thread of it, to the policy. It
// cannot be undone, and a second call can only take away more. A layer that
// the kernel lacks is reported and is no error; a layer that it offers and
// that then fails is one, and the process should end.
func Apply(p Policy) (Report, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := Probe()
	if err := setLimits(p); err != nil {
		return r, err
	}
	if r.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			r.NoNewPrivs = false
			r.Missing = missing(r)
		}
	}
	if r.Landlock > 0 {
		if err := confineFiles(p); err != nil {
			return r, err
		}
	}
	// A process that is not dumpable leaves no core file, and others of its
	// user id cannot trace it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return r, fmt.Errorf("clear dumpable: %w", err)
	}
	if r.Seccomp {
		f := seccomp.Filter{Flag: seccomp.FilterFlagTSync, Policy: filter(p)}
		if err := seccomp.LoadFilter(f); err != nil {
			return r, fmt.Errorf("install the seccomp filter: %w", err)
		}
	}
	return r, nil
}

func missing(r Report) []string {
	m := landlockMissing(r.Landlock)
	if !r.Seccomp {
		m = append(m, seccompMissing)
	}
	if !r.NoNewPrivs {
		m = append(m, privsMissing)
	}
	return m
}

func landlockABI() int {
	v, err := ll.LandlockGetABIVersion()
	if err != nil || v < 0 {
		return 0
	}
	return v
}

func setLimits(p Policy) error {
	type limit struct {
		name      string
		resource  int
		soft, max uint64
	}
	limits := []limit{{"core file size", unix.RLIMIT_CORE, 0, 0}}
	add := func(name string, resource int, soft, slack uint64) {
		if soft != 0 {
			limits = append(limits, limit{name, resource, soft, soft + slack})
		}
	}
	add("address space", unix.RLIMIT_AS, p.AddressSpaceBytes, 0)
	add("private memory", unix.RLIMIT_DATA, p.DataBytes, 0)
	add("processor seconds", unix.RLIMIT_CPU, p.CPUSeconds, 2)
	add("open files", unix.RLIMIT_NOFILE, p.OpenFiles, 0)
	add("processes", unix.RLIMIT_NPROC, p.Processes, 0)
	add("file size", unix.RLIMIT_FSIZE, p.FileBytes, 0)
	for _, l := range limits {
		if err := setLimit(l.resource, l.soft, l.max); err != nil {
			return fmt.Errorf("%w: %s %d: %w", ErrLimit, l.name, l.soft, err)
		}
	}
	return nil
}

// setLimit lowers a limit; where the limit is already lower it stays so.
func setLimit(resource int, soft, hard uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &now); err != nil {
		return err
	}
	// unix.Prlimit and not unix.Setrlimit: the latter makes the Go runtime
	// restore its own idea of the limit later.
	next := unix.Rlimit{Cur: min(soft, now.Max), Max: min(hard, now.Max)}
	return unix.Prlimit(0, resource, &next, nil)
}

const (
	readFile = landlock.AccessFSSet(ll.AccessFSReadFile)
	readDir  = readFile | landlock.AccessFSSet(ll.AccessFSReadDir)
	execute  = landlock.AccessFSSet(ll.AccessFSExecute)
)

func confineFiles(p Policy) error {
	var rules []landlock.Rule
	for _, path := range p.ReadOnly {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPath, err)
		}
		access := readFile
		if info.IsDir() {
			access = readDir
		}
		if p.AllowExec {
			access |= execute
		}
		rules = append(rules, landlock.PathAccess(access, path))
	}
	for _, path := range p.ReadWrite {
		if info, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: %w", ErrPath, err)
		} else if !info.IsDir() {
			return fmt.Errorf("%w: %s is not a folder", ErrPath, path)
		}
		rules = append(rules, landlock.RWDirs(path))
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("apply Landlock: %w", err)
	}
	return nil
}
