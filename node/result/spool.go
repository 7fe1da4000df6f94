package result

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/dugnad/dugnad/runtime/task"
)

var (
	// ErrSpoolFull is returned by Spool.Write for what goes beyond
	// SpoolConfig.BytesMax.
	ErrSpoolFull = errors.New("more output than is kept")
	// ErrSpoolClosed is returned by a Spool that has been closed.
	ErrSpoolClosed = errors.New("the output has been dropped")
)

// SpoolConfig says where a Spool keeps what is written to it.
type SpoolConfig struct {
	// Dir is the folder for what does not stay in memory; it must exist.
	Dir string
	// MemoryBytes is how much stays in memory.
	MemoryBytes int
	// BytesMax bounds memory and file together.
	BytesMax int64
}

// DefaultSpool returns the configuration for the output of one task: 64 KiB in
// memory, in all as much as a task may write by default. Dir is to be set.
func DefaultSpool() SpoolConfig {
	return SpoolConfig{MemoryBytes: 64 << 10, BytesMax: int64(task.Default().OutputBytes)}
}

// Validate reports the first field that cannot be used.
func (c SpoolConfig) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("spool: Dir is not set")
	case c.MemoryBytes < 0:
		return fmt.Errorf("spool: MemoryBytes is %d, at least 0", c.MemoryBytes)
	case c.BytesMax < 0 || c.BytesMax > OutputBytesMax():
		return fmt.Errorf("spool: BytesMax is %d, from 0 to %d", c.BytesMax, OutputBytesMax())
	}
	return nil
}

// Spool keeps what a task writes to one stream until it is sent: the beginning in
// memory, the rest in a file that has no name, so that it is gone with the
// process. It is an io.Writer, a Stream once everything is written, and safe for
// concurrent use.
type Spool struct {
	config SpoolConfig

	mu     sync.Mutex
	memory []byte
	file   *os.File
	// spilled is the number of bytes in file.
	spilled int64
	// err is what every further Write returns.
	err error
	// closed says that what was written is gone.
	closed bool
}

// NewSpool returns an empty Spool.
func NewSpool(c SpoolConfig) (*Spool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Spool{config: c}, nil
}

// Write keeps p, or as much of it as the limit allows. After an error it keeps
// nothing more, so that what is kept has no gaps.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	fits := min(int64(len(p)), s.config.BytesMax-s.size())
	n, err := s.keep(p[:fits])
	if err == nil && n < len(p) {
		err = fmt.Errorf("%w: at most %d bytes", ErrSpoolFull, s.config.BytesMax)
	}
	s.err = err
	return n, err
}

// keep puts p into memory as far as there is room, the rest into the file.
func (s *Spool) keep(p []byte) (int, error) {
	n := min(len(p), s.config.MemoryBytes-len(s.memory))
	s.memory = append(s.memory, p[:n]...)
	if n == len(p) {
		return n, nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.config.Dir, "output-*")
		if err != nil {
			return n, fmt.Errorf("keeping output: %w", err)
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return n, fmt.Errorf("keeping output: %w", err)
		}
	}
	m, err := s.file.WriteAt(p[n:], s.spilled)
	s.spilled += int64(m)
	if err != nil {
		return n + m, fmt.Errorf("keeping output: %w", err)
	}
	return n + m, nil
}

func (s *Spool) size() int64 { return int64(len(s.memory)) + s.spilled }

// Size returns how much has been written.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size()
}

// Open returns a reader of what has been written so far. It must not be used
// after Close of the Spool.
func (s *Spool) Open() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrSpoolClosed
	case s.file == nil:
		return io.NopCloser(bytes.NewReader(s.memory)), nil
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(s.memory), io.NewSectionReader(s.file, 0, s.spilled))), nil
}

// Peek copies what was written from byte at on into p, as far as it is there: nothing is
// no error. What is in the file is read while others write.
func (s *Spool) Peek(p []byte, at int64) (int, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, ErrSpoolClosed
	}
	if at < int64(len(s.memory)) {
		defer s.mu.Unlock()
		return copy(p, s.memory[at:]), nil
	}
	file, at := s.file, at-int64(len(s.memory))
	p = p[:max(0, min(int64(len(p)), s.spilled-at))]
	s.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := file.ReadAt(p, at)
	if errors.Is(err, os.ErrClosed) {
		err = ErrSpoolClosed
	}
	return n, err
}

// Close drops what has been written. It can be called again.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	s.memory, s.file, s.spilled = nil, nil, 0
	s.err, s.closed = ErrSpoolClosed, true
	return err
}
