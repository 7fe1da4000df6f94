package audit

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// batchMax bounds what Next returns at once.
const batchMax = 1000

// ErrNone is returned by OpenReader for a folder in which no node has noted anything.
var ErrNone = errors.New("no node has noted anything in this folder")

// Reader reads what was noted, oldest first, also while a node notes more.
type Reader struct{ cursors []*cursor }

// OpenReader reads in a node's data folder, whether the node runs or not.
func OpenReader(dir string) (*Reader, error) {
	folder := filepath.Join(dir, folderName)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	} else if err != nil {
		return nil, err
	}
	return &Reader{[]*cursor{{dir: folder, name: nameOperator}, {dir: folder, name: nameOthers}}}, nil
}

// Next returns what is there now and was not returned before, oldest first, at most a
// thousand at a time; nothing when that is all.
func (r *Reader) Next() (list []Record, err error) {
	for len(list) < batchMax {
		var oldest *cursor
		for _, c := range r.cursors {
			if err := c.look(); err != nil {
				return list, err
			}
			if c.next != nil && (oldest == nil || c.next.Time.Before(oldest.next.Time)) {
				oldest = c
			}
		}
		if oldest == nil {
			return list, nil
		}
		list = append(list, *oldest.next)
		oldest.next = nil
	}
	return list, nil
}

// Damaged returns how many lines could not be read.
func (r *Reader) Damaged() (lines int) {
	for _, c := range r.cursors {
		lines += c.damaged
	}
	return lines
}

// Close closes the files.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.cursors {
		if c.file != nil {
			errs = append(errs, c.file.Close())
		}
	}
	return errors.Join(errs...)
}

// cursor is a place in a series of files.
type cursor struct {
	dir, name string
	// next is the record at the place, once look has found one.
	next    *Record
	damaged int

	file  *os.File
	lines *bufio.Reader
	// part is the beginning of a line whose end is not there yet; long says that the
	// line is longer than any that is written.
	part []byte
	long bool
}

// look reads the next record, if there is one.
func (c *cursor) look() error {
	for again := false; c.next == nil; {
		if c.file == nil {
			if found, err := c.advance(); !found {
				return err
			}
		}
		line, err := c.line()
		switch {
		case err == nil:
			c.next = decode(line)
			if c.next == nil && len(line) > 1 {
				c.damaged++
			}
		case !errors.Is(err, io.EOF):
			return err
		case again:
			// There is a newer file, and there was nothing more in this one since that
			// was seen.
			if _, err := c.advance(); err != nil {
				return err
			}
			again = false
		default:
			newer, err := c.newer()
			if newer == "" {
				return err
			}
			again = true
		}
	}
	return nil
}

// line returns a line with its end, or io.EOF when that is not there yet.
func (c *cursor) line() ([]byte, error) {
	for {
		b, err := c.lines.ReadSlice('\n')
		if c.part = append(c.part, b...); len(c.part) > lineBytesMax {
			c.part, c.long = c.part[:1], true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		}
		line := c.part
		if c.long {
			line = []byte("too long\n")
		}
		c.part, c.long = nil, false
		return line, nil
	}
}

// decode returns nil for a line that nobody has noted.
func decode(line []byte) *Record {
	var r Record
	if json.Unmarshal(line, &r) != nil || r.Operation == "" {
		return nil
	}
	return &r
}

// advance opens the file after the one that is open, or the oldest, and reports whether
// there is one.
func (c *cursor) advance() (bool, error) {
	for {
		path, err := c.newer()
		if path == "" {
			return false, err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has another name by now
		} else if err != nil {
			return false, err
		}
		if again, err := c.newer(); again != path { // or what is open has
			if err = errors.Join(err, f.Close()); err != nil {
				return false, err
			}
			continue
		}
		if len(c.part) > 0 {
			c.damaged++
		}
		if c.file != nil {
			_ = c.file.Close() // it was only read
		}
		c.file, c.lines, c.part, c.long = f, bufio.NewReader(f), nil, false
		return true, nil
	}
}

// newer returns the file after the one that is open, or the oldest when none is, or that
// was removed meanwhile; "" when there is none.
func (c *cursor) newer() (string, error) {
	files, err := c.files()
	if err != nil || len(files) == 0 || c.file == nil {
		return append(files, "")[0], err
	}
	here, err := c.file.Stat()
	if err != nil {
		return "", err
	}
	for i, path := range files {
		info, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err == nil && os.SameFile(info, here) {
			return append(files, "")[i+1], nil
		}
	}
	return files[0], nil
}

// files returns the files that there are, oldest first.
func (c *cursor) files() ([]string, error) {
	all, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	numbers := map[string]int{}
	var out []string
	for _, e := range all {
		rest, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), extension), c.name)
		number, err := strconv.Atoi(strings.TrimPrefix(rest, "."))
		if !ours || rest != "" && err != nil || !strings.HasSuffix(e.Name(), extension) {
			continue
		}
		path := filepath.Join(c.dir, e.Name())
		numbers[path] = number
		out = append(out, path)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(numbers[b], numbers[a]) })
	return out, nil
}
