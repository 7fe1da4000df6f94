package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// spoolMemoryMax is how much of one stream stays in memory; the rest goes to a
// temporary file without a name.
const spoolMemoryMax = 64 << 10

// spool keeps what one attempt writes to one stream until its turn comes to be
// printed. It is safe for concurrent use.
type spool struct {
	mu     sync.Mutex
	memory []byte
	file   *os.File
}

func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && len(s.memory)+len(p) <= spoolMemoryMax {
		s.memory = append(s.memory, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "dugnad-output-*")
		if err != nil {
			return 0, fmt.Errorf("keeping output: %w", err)
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, fmt.Errorf("keeping output: %w", err)
		}
	}
	n, err := s.file.Write(p)
	if err != nil {
		return n, fmt.Errorf("keeping output: %w", err)
	}
	return n, nil
}

// drain writes everything to w and empties the spool.
func (s *spool) drain(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := w.Write(s.memory)
	s.memory = nil
	if s.file == nil {
		return err
	}
	if err == nil {
		_, err = s.file.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(w, s.file)
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

// sink passes writes on and remembers the first error, after which it refuses
// everything; failed is called once, with that error.
type sink struct {
	w      io.Writer
	failed func(error)

	mu  sync.Mutex
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
		s.failed(err)
	}
	return n, err
}
