package result

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Write writes an object that holds the results, in their order.
func Write(w io.Writer, results []Result) error {
	b := Bundle(results)
	_, err := io.Copy(w, b)
	return errors.Join(err, b.Close())
}

// Bundle returns a reader of the object that holds the results, in their order.
// It opens each stream when it gets there, one at a time, so that an object of
// any size takes little memory. Close closes the stream that is open.
func Bundle(results []Result) io.ReadCloser {
	return &bundle{results: results, current: bytes.NewReader([]byte(magic))}
}

// bundle reads the magic, then for each result its header and its streams.
type bundle struct {
	results []Result
	// streams are those of the result whose header was read last.
	streams []Stream
	current io.Reader
	// open is behind current while that is a stream, of which left bytes are to
	// come.
	open io.ReadCloser
	left int64
	err  error
}

func (b *bundle) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, b.err
	}
	for b.err == nil {
		n, err := b.current.Read(p)
		b.left -= int64(n)
		switch {
		case b.open != nil && b.left < 0:
			b.err = fmt.Errorf("%w: it holds more than it says", ErrSize)
			return 0, b.err
		case err != nil && !errors.Is(err, io.EOF):
			b.err = fmt.Errorf("reading a stream: %w", err)
		case err != nil:
			b.err = b.next()
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.err
}

// next turns to what follows the part that has been read.
func (b *bundle) next() error {
	if err := b.release(); err != nil {
		return err
	}
	for len(b.streams) > 0 {
		s := b.streams[0]
		b.streams = b.streams[1:]
		if s == nil {
			continue
		}
		r, err := s.Open()
		if err != nil {
			return fmt.Errorf("opening a stream: %w", err)
		}
		b.current, b.open, b.left = r, r, s.Size()
		return nil
	}
	if len(b.results) == 0 {
		return io.EOF
	}
	r := &b.results[0]
	b.results, b.streams = b.results[1:], []Stream{r.Stdout, r.Stderr}
	head, err := r.header()
	b.current = bytes.NewReader(head)
	return err
}

// release closes the stream that has been read.
func (b *bundle) release() error {
	if b.open == nil {
		return nil
	}
	err := b.open.Close()
	b.open = nil
	if b.left != 0 {
		return fmt.Errorf("%w: it holds %d bytes less than it says", ErrSize, b.left)
	}
	return err
}

// Close closes the stream that is open; reading goes no further.
func (b *bundle) Close() error {
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	if b.open == nil {
		return nil
	}
	err := b.open.Close()
	b.open = nil
	return err
}

// header returns what stands before the streams: a length and a Header.
func (r *Result) header() ([]byte, error) {
	h := Header{Index: r.Index, Attempt: r.Attempt, Node: r.Node, Outcome: r.Outcome}
	if r.Stdout != nil {
		h.StdoutBytes = r.Stdout.Size()
	}
	if r.Stderr != nil {
		h.StderrBytes = r.Stderr.Size()
	}
	if !h.sized() {
		return nil, fmt.Errorf("%w: stdout and stderr of task %d have %d and %d bytes, together at most %d",
			ErrSize, r.Index, h.StdoutBytes, h.StderrBytes, OutputBytesMax())
	}
	for {
		text, err := encode(&h)
		if err != nil {
			return nil, fmt.Errorf("encoding the result of task %d: %w", r.Index, err)
		}
		if len(text) <= HeaderBytesMax {
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...), nil
		}
		if !h.shorten() {
			return nil, fmt.Errorf("%w: the header of task %d has %d bytes, at most %d", ErrFormat, r.Index, len(text), HeaderBytesMax)
		}
	}
}

func encode(h *Header) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(h)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// shorten drops something that the header can do without: half of the stack,
// then half of each text. It reports whether there was anything.
func (h *Header) shorten() bool {
	o := &h.Outcome
	if n := len(o.Stack); n > 0 {
		o.Stack = o.Stack[:n/2]
		return true
	}
	had := len(o.Message)
	o.Message = o.Message[:had/2]
	if o.Trap != nil {
		trap := *o.Trap
		had += len(trap.Message)
		trap.Message = trap.Message[:len(trap.Message)/2]
		o.Trap = &trap
	}
	return had > 0
}
