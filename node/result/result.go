// Package result holds how tasks ended and what they wrote, and the format in
// which several results lie in one object of the content store.
//
// An object is the five bytes of magic, then one record per result until the
// end: the length of the header as four bytes, most significant first, the
// header as JSON, stdout, stderr. There is no checksum and no index: an object
// is named by its hash, and whoever wants one result of many reads past the rest.
package result

import (
	"bytes"
	"errors"
	"io"

	"github.com/dugnad/dugnad/runtime/task"
)

// magic begins every object; its last byte is the version of the format.
const magic = "DGNR\x01"

// HeaderBytesMax bounds the header of one result. A longer one, which only the
// names of a guest's functions can make, loses the outer calls of its stack.
const HeaderBytesMax = 64 << 10

var (
	// ErrFormat is returned by Reader.Next for bytes that Write does not write.
	ErrFormat = errors.New("not a result object")
	// ErrVersion is returned by Reader.Next for an object that a newer version
	// of Dugnad has written.
	ErrVersion = errors.New("result object of an unknown version")
	// ErrSize is returned by Write for a stream that is larger than OutputBytesMax
	// or does not hold as many bytes as it says.
	ErrSize = errors.New("wrong size of a stream")
	// ErrStale is returned by the readers of a result once Reader.Next has gone on
	// to another.
	ErrStale = errors.New("reading a result that the reader has left")
)

// OutputBytesMax bounds stdout and stderr of one result together: the most that
// a task may be allowed to write.
func OutputBytesMax() int64 { return int64(task.Max().OutputBytes) }

// Result is how one attempt at a task ended and what it wrote.
type Result struct {
	Index, Attempt uint32
	// Node names the node that ran it.
	Node    string
	Outcome task.Outcome
	// Stdout and Stderr may be nil, which is empty.
	Stdout, Stderr Stream
}

// Stream is what a task wrote to one of its outputs, complete. It can be opened
// more than once.
type Stream interface {
	// Size is the number of bytes that Open's reader gives before io.EOF.
	Size() int64
	Open() (io.ReadCloser, error)
}

// Bytes is a Stream in memory.
type Bytes []byte

// Size returns the length of b.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open returns a reader of b.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// Header is a result as it lies in an object, without its streams.
type Header struct {
	Index   uint32       `json:"index"`
	Attempt uint32       `json:"attempt"`
	Node    string       `json:"node"`
	Outcome task.Outcome `json:"outcome"`
	// StdoutBytes and StderrBytes are the lengths of what follows the header.
	StdoutBytes int64 `json:"stdout_bytes"`
	StderrBytes int64 `json:"stderr_bytes"`
}

// sized reports whether the lengths are possible.
func (h *Header) sized() bool {
	most := OutputBytesMax()
	return h.StdoutBytes >= 0 && h.StderrBytes >= 0 && h.StdoutBytes <= most && h.StderrBytes <= most-h.StdoutBytes
}
