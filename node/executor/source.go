package executor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/node/jobspec"
)

const (
	// marksMax bounds the marks that the index of an object's lines has.
	marksMax = 1 << 16
	// lineBuffer is how much is read at once when lines are looked for.
	lineBuffer = 64 << 10
)

// source is an object of which tasks read all, or a share of the lines each.
type source struct {
	r    io.ReaderAt
	size int64
	// marks has where every line begins whose number is a multiple of step;
	// step 0 is that the object is not read by lines.
	marks []int64
	step  uint64
	lines uint64
}

// indexLines looks for the lines of an object. Its memory is bounded: the longer
// the object, the fewer lines are marked.
func indexLines(ctx context.Context, r io.ReaderAt, size int64) (*source, error) {
	s := &source{r: r, size: size, step: 1}
	buffer := make([]byte, lineBuffer)
	begins := true
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := r.ReadAt(buffer[:min(lineBuffer, size-at)], at)
		if n == 0 && err != nil {
			return nil, fmt.Errorf("look for lines: %w", err)
		}
		for b := buffer[:n]; len(b) > 0; {
			if begins {
				s.mark(at)
			}
			i := bytes.IndexByte(b, '\n')
			if begins = i >= 0; !begins {
				i = len(b) - 1
			}
			b, at = b[i+1:], at+int64(i+1)
		}
	}
	return s, nil
}

// mark notes where the next line begins.
func (s *source) mark(at int64) {
	if s.lines%s.step == 0 {
		if len(s.marks) == marksMax {
			for i := range marksMax / 2 {
				s.marks[i] = s.marks[2*i]
			}
			s.marks = s.marks[:marksMax/2]
			s.step *= 2
		}
		if s.lines%s.step == 0 {
			s.marks = append(s.marks, at)
		}
	}
	s.lines++
}

// share returns what a task of so many reads.
func (s *source) share(count, index uint32) (io.Reader, error) {
	from, end, err := s.span(count, index)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(s.r, from, end-from), nil
}

// span returns the bytes of a task's share.
func (s *source) span(count, index uint32) (from, end int64, err error) {
	if s.step == 0 {
		return 0, s.size, nil
	}
	first, next := jobspec.Shares(s.lines, count, index)
	if from, err = s.line(first); err == nil {
		end, err = s.line(next)
	}
	return from, end, err
}

// line returns where line n begins; behind the last one the object ends.
func (s *source) line(n uint64) (int64, error) {
	if n >= s.lines {
		return s.size, nil
	}
	at, skip := s.marks[n/s.step], n%s.step
	if skip == 0 {
		return at, nil
	}
	r := bufio.NewReaderSize(io.NewSectionReader(s.r, at, s.size-at), lineBuffer)
	for skip > 0 {
		b, err := r.ReadSlice('\n')
		at += int64(len(b))
		if err == nil {
			skip--
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return 0, fmt.Errorf("look for line %d: %w", n, err)
		}
	}
	return at, nil
}
