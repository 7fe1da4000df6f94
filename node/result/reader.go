package result

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Reader reads the results of an object one after the other. It holds one header
// in memory, whatever the object says.
type Reader struct {
	r io.Reader
	// turn numbers the results, so that the streams of earlier ones are known.
	turn int
	// stdout and stderr are the streams of the present result.
	stdout, stderr *section
	buffer         []byte
	err            error
}

// NewReader returns a Reader of the object that r gives. It reads in small
// pieces: r may have to be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next goes to the next result, past what has not been read of the present one,
// or returns io.EOF after the last. The streams are good until the next call;
// once stderr has been read from, what was left of stdout is gone. An object that
// ends too soon gives io.ErrUnexpectedEOF.
func (r *Reader) Next() (h Header, stdout, stderr io.Reader, err error) {
	if r.err == nil {
		h, r.err = r.next()
	}
	if r.err != nil {
		return Header{}, nil, nil, r.err
	}
	return h, r.stdout, r.stderr, nil
}

func (r *Reader) next() (Header, error) {
	if r.turn == 0 {
		if err := r.begin(); err != nil {
			return Header{}, err
		}
	} else if err := r.stderr.skip(); err != nil {
		return Header{}, err
	}
	r.turn++
	var length [4]byte
	if _, err := io.ReadFull(r.r, length[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return Header{}, io.EOF
		}
		return Header{}, fmt.Errorf("reading the length of a header: %w", err)
	}
	h, err := r.header(binary.BigEndian.Uint32(length[:]))
	if err != nil {
		return Header{}, err
	}
	r.stdout = &section{reader: r, turn: r.turn, left: h.StdoutBytes}
	r.stderr = &section{reader: r, turn: r.turn, left: h.StderrBytes, before: r.stdout}
	return h, nil
}

// begin reads the magic.
func (r *Reader) begin() error {
	var b [len(magic)]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it is too short", ErrFormat)
		}
		return fmt.Errorf("reading a result object: %w", err)
	}
	last := len(magic) - 1
	switch {
	case string(b[:last]) != magic[:last]:
		return fmt.Errorf("%w: it begins with %q", ErrFormat, b[:last])
	case b[last] != magic[last]:
		return fmt.Errorf("%w: %d, this is %d", ErrVersion, b[last], magic[last])
	}
	return nil
}

// header reads a header of n bytes. Fields that this version does not know are
// left out: an object outlives the version that wrote it.
func (r *Reader) header(n uint32) (h Header, err error) {
	if n > HeaderBytesMax {
		return h, fmt.Errorf("%w: a header of %d bytes, at most %d", ErrFormat, n, HeaderBytesMax)
	}
	if r.buffer == nil {
		r.buffer = make([]byte, HeaderBytesMax)
	}
	text := r.buffer[:n]
	if _, err := io.ReadFull(r.r, text); err != nil {
		return h, cut("reading a header", err)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !h.sized() {
		return h, fmt.Errorf("%w: stdout and stderr of task %d have %d and %d bytes, together at most %d",
			ErrFormat, h.Index, h.StdoutBytes, h.StderrBytes, OutputBytesMax())
	}
	return h, nil
}

// cut makes the end of the object within a result the error that it is.
func cut(what string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: %w", what, err)
}

// section reads a stream of the present result.
type section struct {
	reader *Reader
	turn   int
	left   int64
	// before must be read first.
	before *section
}

func (s *section) Read(p []byte) (int, error) {
	if s.turn != s.reader.turn {
		return 0, ErrStale
	}
	if err := s.before.skip(); err != nil {
		return 0, err
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.reader.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	switch {
	case err == nil || s.left == 0 && errors.Is(err, io.EOF):
		return n, nil
	default:
		return n, cut("reading a stream", err)
	}
}

// skip reads to the end of the section.
func (s *section) skip() error {
	if s == nil {
		return nil
	}
	if err := s.before.skip(); err != nil || s.left == 0 {
		return err
	}
	n, err := io.CopyN(io.Discard, s.reader.r, s.left)
	s.left -= n
	if err != nil {
		return cut("reading past a stream", err)
	}
	return nil
}
