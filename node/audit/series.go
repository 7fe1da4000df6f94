package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The names of the two series of files: operator.jsonl is the newest one,
// operator.1.jsonl the one before.
const (
	nameOperator = "operator"
	nameOthers   = "others"
	extension    = ".jsonl"
)

// series is a file to which lines are added, and those before it.
type series struct {
	dir, name string
	// file is nil after it could not be opened.
	file *os.File
	size int64
}

// path returns where a file is; 0 is the newest.
func (s *series) path(number int) string {
	if number == 0 {
		return filepath.Join(s.dir, s.name+extension)
	}
	return filepath.Join(s.dir, fmt.Sprintf("%s.%d%s", s.name, number, extension))
}

func openSeries(dir, name string) (*series, error) {
	s := &series{dir: dir, name: name}
	return s, s.open()
}

// open opens the newest file. A line that a crash has cut off is ended, so that the next
// one is not lost with it.
func (s *series) open() error {
	f, err := os.OpenFile(s.path(0), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte{'\n'})
			size++
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.size = f, size
	return nil
}

// write adds a line. A part of it that was written is taken back, or ended by the next
// open.
func (s *series) write(line []byte) error {
	n, err := s.file.Write(line)
	s.size += int64(n)
	if err != nil && n > 0 {
		s.size -= int64(n)
		if cut := s.file.Truncate(s.size); cut != nil {
			return errors.Join(err, s.close())
		}
	}
	return err
}

// rotate begins another file, and reports whether the oldest of so many was removed.
func (s *series) rotate(files int) (dropped bool, err error) {
	if err := s.close(); err != nil {
		return false, err
	}
	for number := files - 1; number >= 0; number-- {
		switch err := s.shift(number, files); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return dropped, errors.Join(err, s.open())
		case number == files-1:
			dropped = true
		}
	}
	return dropped, s.open()
}

// shift makes a file one older, and removes the oldest.
func (s *series) shift(number, files int) error {
	if number == files-1 {
		return os.Remove(s.path(number))
	}
	return os.Rename(s.path(number), s.path(number+1))
}

func (s *series) close() error {
	if s == nil || s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
