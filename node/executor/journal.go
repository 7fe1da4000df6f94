package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	journalName = "journal"
	partSuffix  = ".part"
	// journalSlack is how many bytes of runs that were taken a journal may hold
	// beside as many as wait before it is written anew.
	journalSlack = 64 << 10
)

// journal keeps the runs that wait for the ledger on disk, for a process that
// comes after this one. It is not synced: it outlives the process, not the
// machine, whose leases are lost with it. Its methods are called by one
// goroutine at a time.
type journal struct {
	name   string
	f      *os.File
	size   int64
	buffer []byte
	// broken says that the file does not hold what it should.
	broken bool
}

// openJournal opens the journal in dir, or makes one, and returns the runs that
// wait in it. A torn tail is cut off. A journal that belongs to another version
// is ErrJournal, and stays as it is.
func openJournal(dir string) (*journal, []entry, error) {
	j := &journal{name: filepath.Join(dir, journalName)}
	b, err := os.ReadFile(j.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	waiting, _, err := readJournal(b)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal %s: %w", j.name, err)
	}
	if err := j.rewrite(waiting); err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	return j, waiting, nil
}

// rewrite replaces the file with one that holds what waits and nothing else. It
// fills in the sizes of the entries.
func (j *journal) rewrite(waiting []entry) error {
	f, err := os.OpenFile(j.name+partSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b := append(j.buffer[:0], journalMagic...)
	b = encodeRuns(b, waiting)
	if _, err = f.Write(b); err == nil {
		err = os.Rename(j.name+partSuffix, j.name)
	}
	if err != nil {
		j.broken = true
		return errors.Join(err, f.Close())
	}
	if j.f != nil {
		_ = j.f.Close() // it is not the journal any more
	}
	j.f, j.size, j.broken = f, int64(len(b)), false
	return nil
}

// encodeRuns appends the records of a list to b and fills in their sizes.
func encodeRuns(b []byte, list []entry) []byte {
	for i := range list {
		n := len(b)
		b = appendRun(b, &list[i])
		list[i].bytes = int64(len(b) - n)
	}
	return b
}

// append puts the last n entries of waiting at the end of the queue on disk.
func (j *journal) append(waiting []entry, n int) error {
	if j.broken {
		return j.rewrite(waiting)
	}
	j.buffer = encodeRuns(j.buffer[:0], waiting[len(waiting)-n:])
	return j.write(j.buffer)
}

// take says that n runs were taken from the front of the queue, and waiting are
// those that stay, of so many bytes.
func (j *journal) take(n int, waiting []entry, bytes int64) error {
	if j.broken || j.size > 2*bytes+journalSlack {
		return j.rewrite(waiting)
	}
	return j.write(appendTaken(j.buffer[:0], n))
}

// write appends to the file. After an error the next call writes the whole file
// anew: the end of this one is not known.
func (j *journal) write(b []byte) error {
	_, err := j.f.Write(b)
	if err != nil {
		j.broken = true
		return fmt.Errorf("write journal: %w", err)
	}
	j.size += int64(len(b))
	return nil
}

func (j *journal) close() error { return j.f.Close() }
