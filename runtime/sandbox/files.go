package sandbox

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/dugnad/dugnad/runtime/scratch"
	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// rootFS is a scratch file system as the engine may use it, with the devices.
type rootFS struct {
	sys.FS
	run *run
}

// OpenFile implements sys.FS.
func (f rootFS) OpenFile(path string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	if d := f.run.device(path); d != nil {
		return d, 0
	}
	return f.FS.OpenFile(path, flag, perm)
}

// Stat implements sys.FS.
func (f rootFS) Stat(path string) (wasys.Stat_t, sys.Errno) {
	if d := f.run.device(path); d != nil {
		return d.Stat()
	}
	return f.FS.Stat(path)
}

// Lstat implements sys.FS.
func (f rootFS) Lstat(path string) (wasys.Stat_t, sys.Errno) {
	if d := f.run.device(path); d != nil {
		return d.Stat()
	}
	return f.FS.Lstat(path)
}

// Symlink keeps a copy of the target: the engine hands over a string that lies
// in guest memory.
func (f rootFS) Symlink(target, link string) sys.Errno {
	return f.FS.Symlink(strings.Clone(target), link)
}

// The descriptors that every guest starts with.
const (
	fdStdin = iota
	fdStdout
	fdStderr
	fdRoot
)

// descriptors follows the engine's table of open files: it knows which are
// open and where each lies below the root.
type descriptors map[int32]descriptor

type descriptor struct {
	path string
	// first tells that it is one of those that the guest started with.
	first bool
}

func newDescriptors() descriptors {
	return descriptors{fdStdin: {first: true}, fdStdout: {first: true}, fdStderr: {first: true}, fdRoot: {first: true}}
}

// takeErrno returns the WASI error number of the call that just failed, when
// the engine could not say it, or 0.
func (r *run) takeErrno() uint16 {
	errno := r.errno
	r.errno = 0
	if errno == 0 && r.scratch != nil {
		errno = r.scratch.TakeErrno()
	}
	return errno
}

// handlesSpare is what the engine may hold open besides the guest: the root.
const handlesSpare = 4

// openScratch makes the attempt's file system.
func (r *run) openScratch() error {
	fs, err := scratch.Open(scratch.Config{
		BytesMax:   r.limits.ScratchBytes,
		FilesMax:   r.limits.ScratchFiles,
		HandlesMax: r.limits.OpenFiles + handlesSpare,
		Inputs:     r.spec.Inputs,
		Now:        r.now,
	})
	if err != nil {
		return fmt.Errorf("open scratch: %w", err)
	}
	r.scratch = fs
	return nil
}
