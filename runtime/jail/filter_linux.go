package jail

import (
	"os"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// Actions of the filter. A refused call fails with EPERM, so that a program
// can report it. Calls for which the Go runtime or library has an older way
// fail with ENOSYS, which is what makes them take it.
const (
	deny   = seccomp.ActionErrno
	absent = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
)

// computing lists what a Go program needs to compute, keep time, manage memory
// and threads, and read and write files that are open.
var computing = []string{
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev",
	"close", "lseek", "fstat", "newfstatat", "fstatat", "stat", "lstat",
	"getdents64", "readlinkat", "readlink", "faccessat", "access", "getcwd", "dup", "dup3",
	"mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "brk",
	"futex", "sched_yield", "sched_getaffinity", "getcpu", "membarrier", "rseq",
	"set_robust_list", "set_tid_address", "arch_prctl",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2",
	"poll", "ppoll", "pselect6",
	"getrandom", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid",
	"getrusage", "sysinfo", "uname", "times",
	"exit", "exit_group",
}

// writing lists what making files below a ReadWrite path needs besides.
var writing = []string{
	"openat", "open", "mkdirat", "mkdir", "unlinkat", "unlink", "rmdir",
	"renameat", "renameat2", "rename", "fsync", "fdatasync", "ftruncate", "fallocate",
}

// starting lists what AllowExec keeps.
var starting = []string{
	"execve", "execveat", "fork", "vfork", "clone", "clone3", "wait4", "waitid",
	"pidfd_open", "pidfd_send_signal",
}

// dispensable lists calls with an older equivalent.
var dispensable = []string{
	"clone3", "openat2", "statx", "faccessat2", "copy_file_range", "sendfile", "splice",
	"epoll_pwait2", "futex_waitv", "pidfd_open", "close_range",
}

const (
	// namespaceFlags are the clone flags that make a namespace.
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	// writeFlags are the open flags that do more than read.
	writeFlags = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | (unix.O_TMPFILE &^ unix.O_DIRECTORY)
)

// filter returns the system calls that the policy leaves; anything else,
// including every call of another ABI, is denied.
func filter(p Policy) seccomp.Policy {
	names := computing
	if len(p.ReadWrite) > 0 {
		names = append(names[:len(names):len(names)], writing...)
	}
	if p.AllowExec {
		names = append(names[:len(names):len(names)], starting...)
	}
	taken := map[string]bool{}
	allow := seccomp.SyscallGroup{Action: seccomp.ActionAllow, Names: known(names, taken)}
	for _, c := range conditional(p) {
		if !taken[c.Name] && len(known([]string{c.Name}, map[string]bool{})) > 0 {
			allow.NamesWithCondtions = append(allow.NamesWithCondtions, c)
		}
	}
	old := seccomp.SyscallGroup{Action: absent, Names: known(dispensable, taken)}
	return seccomp.Policy{DefaultAction: deny, Syscalls: []seccomp.SyscallGroup{allow, old}}
}

// known returns the names that this architecture has and that are not taken,
// and takes them.
func known(names []string, taken map[string]bool) []string {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil
	}
	var out []string
	for _, n := range names {
		if _, ok := info.SyscallNames[n]; ok && !taken[n] {
			taken[n] = true
			out = append(out, n)
		}
	}
	return out
}

// conditional lists the calls that are allowed with certain arguments only.
func conditional(p Policy) []seccomp.NameWithConditions {
	is := func(arg uint32, v uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.Equal, Value: v}
	}
	on := func(name string, c ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: c}
	}
	without := func(arg uint32, bits uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.BitsNotSet, Value: bits}
	}
	self := uint64(os.Getpid())
	list := []seccomp.NameWithConditions{
		// A thread of this process, in its namespaces.
		on("clone", seccomp.Condition{Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}, without(0, namespaceFlags)),
		on("openat", without(2, writeFlags)),
		on("open", without(1, writeFlags)),
		// Signals to this process: the Go runtime preempts and dies by them.
		on("tgkill", is(0, self)),
		on("kill", is(0, self)),
		// The Go runtime names its mappings.
		on("prctl", is(0, unix.PR_SET_VMA)),
		on("fcntl", is(1, unix.F_GETFL)),
		on("fcntl", is(1, unix.F_SETFL)),
		on("fcntl", is(1, unix.F_GETFD)),
		on("fcntl", is(1, unix.F_SETFD)),
		on("fcntl", is(1, unix.F_DUPFD_CLOEXEC)),
		// Reading one's own limits, not setting any: root could raise them.
		on("prlimit64", is(0, 0), is(2, 0)),
		on("getrlimit", without(0, 0)),
	}
	if p.Listener > 0 {
		list = append(list, on("accept4", is(0, uint64(p.Listener))),
			on("getsockopt", is(1, unix.SOL_SOCKET), is(2, unix.SO_PEERCRED)))
	}
	return list
}
