// Package scratch is the file system of one guest: a bounded tree in memory
// with read-only inputs of the host below /input.
//
// It implements the file system interface of wazero and is mounted as the
// guest's only preopened folder, "/". Everything that a guest can observe
// (inode numbers, times, order of listings, sizes) depends on the guest's own
// calls, on Config.Now and on the content of the inputs, never on the host's
// file system: a run repeats exactly.
//
// Symbolic links are resolved inside the guest's tree, also those in inputs,
// as in a container: an absolute target starts at the guest's root. Host files
// are reached through os.Root only, so that a link that changes while it is
// followed cannot lead out of its input either.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/dugnad/dugnad/runtime/task"
)

// Config says how far a file system may grow and what it shows of the host.
type Config struct {
	// BytesMax bounds file content, in chunks of ChunkBytes, plus names and
	// targets of symbolic links. Zero allows none.
	BytesMax uint64
	// FilesMax bounds files, folders and links together; "/", "/tmp" and
	// "/input" with its inputs are not counted. Each takes up to 300 bytes of
	// memory beyond what BytesMax counts. Zero allows none.
	FilesMax uint64
	// HandlesMax bounds files and folders that are open at the same time, the
	// preopened root among them. Zero means HandlesDefault.
	HandlesMax uint64
	// Inputs appear read-only at /input/NAME.
	Inputs []task.Input
	// Now is the guest's wall clock, for the times of files. Nil means that
	// it stands still at task.Epoch. It must not call the file system.
	Now func() time.Time
}

// HandlesDefault is what Config.HandlesMax means when it is zero.
const HandlesDefault = 4096

// Default returns the limits of a task that asks for nothing, without inputs.
func Default() Config {
	l := task.Default()
	return Config{BytesMax: l.ScratchBytes, FilesMax: l.ScratchFiles, HandlesMax: l.OpenFiles}
}

// Validate reports the first input whose name cannot be used.
func (c Config) Validate() error {
	return (&task.Spec{Inputs: c.Inputs}).Validate()
}

// ErrInput is wrapped by the error of Open when an input is neither a regular
// file nor a folder.
var ErrInput = errors.New("neither a file nor a folder")

// The names that LimitHit gives: those of task.LimitHit.
const (
	LimitBytes   = "scratch"
	LimitFiles   = "scratch-files"
	LimitHandles = "open-files"
)

// FS is the file system of one guest. Its methods may be called from any
// goroutine; one call runs at a time.
type FS struct {
	sys.UnimplementedFS

	config Config
	now    func() time.Time

	mu       sync.Mutex
	closed   bool
	root     *node
	inputs   []*input
	inoLast  uint64
	bytes    uint64
	files    uint64
	handles  uint64
	limitHit string
	pending  uint16
	// folders holds each folder that is open now, by inode number.
	folders map[uint64]*openFolder
	// listed counts the entries of all folder.list.
	listed int
	// hostFiles holds each open file of an input folder.
	hostFiles map[*os.File]struct{}
}

var _ sys.FS = (*FS)(nil)

// openFolder is a folder and how many handles are open on it.
type openFolder struct {
	node  *node
	count int
}

// Open returns a file system with /tmp and the inputs. An input that is not
// there, cannot be read or is a device, pipe or socket is an error that names
// it.
func Open(config Config) (*FS, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.HandlesMax == 0 {
		config.HandlesMax = HandlesDefault
	}
	f := &FS{config: config, now: config.Now, folders: map[uint64]*openFolder{}, hostFiles: map[*os.File]struct{}{}}
	if f.now == nil {
		f.now = func() time.Time { return task.Epoch }
	}
	f.root = f.fixed(nil, "", fs.ModeDir|0o755)
	f.fixed(f.root, "tmp", fs.ModeDir|fs.ModeSticky|0o777)
	folder := f.fixed(f.root, "input", fs.ModeDir|0o555)
	folder.readOnly = true
	for _, in := range config.Inputs {
		opened, err := openInput(in)
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("open input %q: %w", in.Name, err)
		}
		f.inputs = append(f.inputs, opened)
		n := opened.top(folder)
		folder.entries.put(in.Name, n)
		if n.isDir() {
			folder.nlink++
		}
	}
	return f, nil
}

// Close closes every input and every open host file and gives the tree's
// memory back. Later calls find nothing: ENOENT by path, EBADF by handle. It
// may be called at any time, more than once, and waits for a call under way.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var errs []error
	for h := range f.hostFiles {
		errs = append(errs, h.Close())
	}
	for _, in := range f.inputs {
		errs = append(errs, in.close())
	}
	f.root, f.folders, f.hostFiles, f.inputs = nil, nil, nil, nil
	return errors.Join(errs...)
}

// BytesUsed returns what counts against Config.BytesMax now.
func (f *FS) BytesUsed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

// FilesUsed returns what counts against Config.FilesMax now.
func (f *FS) FilesUsed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files
}

// LimitHit returns the limit that refused an operation last: LimitBytes,
// LimitFiles or LimitHandles.
func (f *FS) LimitHit() (name string, hit bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limitHit, f.limitHit != ""
}

// TakeErrno returns the WASI preview 1 error number of the last call that
// failed for a reason for which wazero has no code (see Errno constants), and
// forgets it; zero if there was none. wazero's functions answer such a
// failure with EIO, number 29: whoever wraps them replaces it by this.
func (f *FS) TakeErrno() uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.pending
	f.pending = 0
	return e
}

// The failures for which wazero has no code. The low twelve bits are the WASI
// preview 1 number; wazero tells the guest EIO.
const (
	errnoOwn sys.Errno = 0x4000

	EBUSY  = errnoOwn | 10
	EFBIG  = errnoOwn | 22
	EMFILE = errnoOwn | 33
	ENOSPC = errnoOwn | 51
	EXDEV  = errnoOwn | 75
)

// done notes errno for TakeErrno and returns it.
func (f *FS) done(errno sys.Errno) sys.Errno {
	if errno&errnoOwn != 0 {
		f.pending = uint16(errno &^ errnoOwn)
	}
	return errno
}

// charge books bytes and files, or books nothing and returns ENOSPC.
func (f *FS) charge(bytes, files uint64) sys.Errno {
	switch {
	case bytes > 0 && (f.bytes > f.config.BytesMax || bytes > f.config.BytesMax-f.bytes):
		f.limitHit = LimitBytes
	case files > 0 && (f.files > f.config.FilesMax || files > f.config.FilesMax-f.files):
		f.limitHit = LimitFiles
	default:
		f.bytes += bytes
		f.files += files
		return 0
	}
	return ENOSPC
}

// refund gives back what charge booked.
func (f *FS) refund(bytes, files uint64) {
	f.bytes -= bytes
	f.files -= files
}

// hostErrno translates an error of the os package. An error without a system
// error number is os.Root refusing to leave its folder.
func hostErrno(err error) sys.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrNotExist):
		return sys.ENOENT
	case errors.As(err, &e):
		return sys.UnwrapOSError(e)
	}
	return sys.EACCES
}
