package replica

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of what comes from other members.
const (
	idBytesMax      = 128
	addressBytesMax = 1024
	// frameBytesMax bounds every frame.
	frameBytesMax = 16 << 20
	// batchCommandsLimit bounds the commands of a log entry when it is read.
	batchCommandsLimit = 4096
)

// appendBytes appends b with its length before it.
func appendBytes[T ~string | ~[]byte](to []byte, b T) []byte {
	to = binary.AppendUvarint(to, uint64(len(b)))
	return append(to, b...)
}

// decoder reads what appendBytes and binary.AppendUvarint wrote. The first
// error stays; everything after it is zero.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("read %s: %w", what, ErrCorrupt)
	}
	d.rest = nil
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("byte")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes returns a part of the input, at most bytesMax long.
func (d *decoder) bytes(bytesMax int) []byte {
	n := d.uvarint()
	if n > uint64(bytesMax) || n > uint64(len(d.rest)) {
		d.fail("bytes")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string(bytesMax int) string { return string(d.bytes(bytesMax)) }

// end fails unless everything was read.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("end")
	}
	return d.err
}

// frameHeader is the length of a frame's length.
const frameHeader = 4

// appendFrame begins a frame; endFrame completes it.
func beginFrame(to []byte) []byte { return append(to, 0, 0, 0, 0) }

// endFrame writes the length of the frame that begins at start.
func endFrame(frame []byte, start int) []byte {
	binary.LittleEndian.PutUint32(frame[start:], uint32(len(frame)-start-frameHeader))
	return frame
}

// writeFrame writes payload as one frame.
func writeFrame(w io.Writer, payload []byte) error {
	if len(payload) > frameBytesMax {
		return fmt.Errorf("write frame of %d bytes, at most %d: %w", len(payload), frameBytesMax, ErrTooLarge)
	}
	frame := append(beginFrame(make([]byte, 0, frameHeader+len(payload))), payload...)
	_, err := w.Write(endFrame(frame, 0))
	return err
}

// readFrame reads one frame of at most bytesMax. It allocates no more than has
// arrived, in steps, so that a length alone costs nothing.
func readFrame(r io.Reader, bytesMax int) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(header[:]))
	if n > bytesMax {
		return nil, fmt.Errorf("read frame of %d bytes, at most %d: %w", n, bytesMax, ErrCorrupt)
	}
	const step = 64 << 10
	frame := make([]byte, 0, min(n, step))
	for len(frame) < n {
		from := len(frame)
		grown := min(n, max(step, 2*from))
		frame = append(frame, make([]byte, grown-from)...)
		if _, err := io.ReadFull(r, frame[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return frame, nil
}
