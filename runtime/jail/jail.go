// Package jail makes the calling process give up, for good, what a process
// that runs untrusted code does not need: files outside a list of paths, the
// network, other processes, new privileges, and resources above fixed numbers.
//
// It has four layers, each of which holds when another one is missing:
// resource limits, no_new_privs, Landlock (which files, no TCP, no signals to
// others) and a seccomp filter that allows the system calls of a Go program
// that computes, and denies the rest. Landlock and seccomp are used as far as
// the kernel offers them; a Report says what was and was not to be had.
package jail

import "errors"

// Policy is what the process keeps. The zero value keeps nothing but the
// files that are already open, and sets no resource limit.
type Policy struct {
	// ReadOnly lists files and folders that stay readable. Each must exist.
	ReadOnly []string `json:"read_only,omitempty"`
	// ReadWrite lists folders in which files can be made, changed and removed.
	// When it is empty no file can be opened for writing at all.
	ReadWrite []string `json:"read_write,omitempty"`
	// AddressSpaceBytes bounds everything mapped, also what is only reserved;
	// 0 leaves the limit as it is.
	AddressSpaceBytes uint64 `json:"address_space_bytes,omitempty"`
	// DataBytes bounds private writable memory, which leaves out what is only
	// reserved; 0 leaves the limit as it is.
	DataBytes uint64 `json:"data_bytes,omitempty"`
	// CPUSeconds bounds the processor time of all threads together: SIGXCPU at
	// the limit, SIGKILL two seconds later. 0 leaves the limit as it is.
	CPUSeconds uint64 `json:"cpu_seconds,omitempty"`
	// OpenFiles bounds open file descriptors; 0 leaves the limit as it is.
	OpenFiles uint64 `json:"open_files,omitempty"`
	// Processes bounds the threads of the process's user id, wherever they
	// run; root is not bound by it. 0 leaves the limit as it is. New processes
	// are refused by seccomp whatever this says.
	Processes uint64 `json:"processes,omitempty"`
	// FileBytes bounds the size of a file that is written; 0 leaves the limit
	// as it is.
	FileBytes uint64 `json:"file_bytes,omitempty"`
	// Listener is the descriptor of a listening socket on which the process may
	// accept connections, and ask whose they are; 0 is none.
	Listener int `json:"listener,omitempty"`
	// AllowExec keeps execve and the making of processes.
	AllowExec bool `json:"allow_exec,omitempty"`
}

// Report says which layers are in force (after Apply) or to be had (from
// Probe).
type Report struct {
	// Landlock is the kernel's ABI version of Landlock, 0 when there is none.
	Landlock int `json:"landlock"`
	// Seccomp tells whether system calls are filtered.
	Seccomp bool `json:"seccomp"`
	// NoNewPrivs tells whether set-user-id programs are powerless.
	NoNewPrivs bool `json:"no_new_privs"`
	// Missing has one sentence for each thing that is not to be had.
	Missing []string `json:"missing,omitempty"`
}

// FilesConfined tells whether files outside of the Policy's paths are out of
// reach.
func (r Report) FilesConfined() bool { return r.Landlock >= 1 }

// ErrLimit is returned by Apply when a resource limit was not accepted.
var ErrLimit = errors.New("resource limit not accepted")

// ErrPath is returned by Apply when a path of the Policy cannot be used.
var ErrPath = errors.New("path of the policy not usable")

// landlockMissing lists what a kernel of the given Landlock ABI leaves open.
func landlockMissing(abi int) []string {
	gaps := []struct {
		since int
		text  string
	}{
		{1, "files are confined by the seccomp filter alone: this kernel has no Landlock (Linux 5.13 or later, with landlock in the lsm= boot option)"},
		{3, "truncating files is not confined by Landlock: that needs ABI 3 (Linux 6.2)"},
		{4, "TCP is not confined by Landlock: that needs ABI 4 (Linux 6.7); seccomp refuses sockets"},
		{5, "device ioctls are not confined by Landlock: that needs ABI 5 (Linux 6.10); seccomp refuses ioctl"},
		{6, "signals and abstract sockets are not confined by Landlock: that needs ABI 6 (Linux 6.12); seccomp refuses both"},
	}
	var missing []string
	for _, g := range gaps {
		if abi >= g.since {
			continue
		}
		missing = append(missing, g.text)
		if g.since == 1 {
			break
		}
	}
	return missing
}

// Sentences for the layers other than Landlock.
const (
	seccompMissing = "system calls are not filtered: this kernel or container does not allow seccomp filters"
	privsMissing   = "no_new_privs is refused by this kernel or container"
)
