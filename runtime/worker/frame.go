package worker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/runtime/abi"
)

// FrameBytesMax bounds the payload of one frame.
const FrameBytesMax = 1 << 20

// windowBytes is how much of one stream may be under way: what the sender has
// sent and the receiver has not passed on.
const windowBytes = 256 << 10

// dataBytesMax bounds the payload of one frame of stream data, so that the
// frames of other tasks get between.
const dataBytesMax = 64 << 10

// httpWindowBytes is windowBytes for each direction of an HTTP request.
const httpWindowBytes = 64 << 10

// startBytesMax bounds the JSON of a start, which may take several frames: more
// than task.SpecBytesMax takes when every byte is escaped.
const startBytesMax = 8 << 20

// frameHeaderBytes is u32 payload length, u8 type, u32 id, little-endian.
const frameHeaderBytes = 9

// protocolVersion is compared in the setup and hello frames.
const protocolVersion = 4

// frameType tells what a frame says. P is the parent, C the child.
type frameType uint8

const (
	frameSetup        frameType = iota + 1 // P→C, JSON setup: the first frame
	frameHello                             // C→P, JSON hello: the jail is closed
	frameLoad                              // P→C, id of an image, JSON load
	frameLoaded                            // C→P, id of an image
	frameRefused                           // C→P, id of an image, JSON refusal
	frameUnload                            // P→C, id of an image that no task uses
	frameStartPart                         // P→C, id of a task: a piece of the start that does not fit into one frame
	frameStart                             // P→C, id of a task, JSON start or the last piece of it
	frameStartMore                         // P→C, the same: the task of the next start runs after this one
	frameStdin                             // P→C, id of a task, data
	frameStdinEnd                          // P→C, id of a task: no more data
	frameStdinCredit                       // C→P, id of a task, u32 bytes
	frameStdout                            // C→P, id of a task, data
	frameStderr                            // C→P, id of a task, data
	frameStdoutCredit                      // P→C, id of a task, u32 bytes
	frameStderrCredit                      // P→C, id of a task, u32 bytes
	frameStdoutGone                        // P→C, id of a task: nobody reads any more
	frameStderrGone                        // P→C, id of a task: nobody reads any more
	frameCancel                            // P→C, id of a task
	frameOutcome                           // C→P, id of a task, JSON task.Outcome: its last frame
	frameReturned                          // C→P, id of a task that was to run after another one: it never began
	frameChunk                             // P→C, id 0 module or 1 skeleton, data
	frameCompile                           // P→C: the chunks are complete
	frameCompiled                          // C→P, JSON compiled
	frameAdopt                             // P→C, JSON adoption: the first frame of a parent that comes after another one
	frameKept                              // C→P, id of a task, JSON kept: the answer to adopt is one for each task, and hello
	frameAttach                            // P→C, id of a task that is kept: tell what it has put out and how it ended
	frameAttached                          // C→P, id of a task, JSON attached: before anything else about it
	frameForget                            // P→C, id of a task that is kept: end it, and keep nothing of it
	frameShare                             // P→C, u32 share: how much of the processors the tasks may use from now on
	frameNotice                            // P→C, id of a task: it will be ended soon to make room for others
	// The payloads of these begin with the number of a request of the task, u32.
	frameHTTPOpen       // C→P, head of the request
	frameHTTPBody       // C→P, data
	frameHTTPBodyEnd    // C→P: no more data
	frameHTTPBodyCredit // P→C, u32 bytes
	frameHTTPBodyGone   // P→C: nobody reads the body any more
	frameHTTPHead       // P→C, head of the answer
	frameHTTPData       // P→C, data
	frameHTTPCredit     // C→P, u32 bytes
	frameHTTPEnd        // P→C, i32 code: the answer has ended, well with 0
	frameHTTPClose      // C→P: the guest has closed it, its last frame
	frameHTTPDone       // P→C: nothing of it is left, the last frame
	frameTypeEnd
)

// ErrProtocol is wrapped by the error that ends a connection whose other side
// broke the rules of the frame protocol.
var ErrProtocol = errors.New("protocol error")

// ErrFrameTooLong is wrapped, besides ErrProtocol, by the error that ends a
// connection on which a frame of more than FrameBytesMax was announced.
var ErrFrameTooLong = fmt.Errorf("%w: frame is too long", ErrProtocol)

// frame is one message. Its payload is valid until the next read.
type frame struct {
	kind    frameType
	id      uint32
	payload []byte
}

// appendFrame appends the encoded frame to dst.
func appendFrame(dst []byte, kind frameType, id uint32, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(kind))
	dst = binary.LittleEndian.AppendUint32(dst, id)
	return append(dst, payload...)
}

// frameReader decodes frames.
type frameReader struct {
	r      *bufio.Reader
	header [frameHeaderBytes]byte
	buffer []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, dataBytesMax+4<<10)}
}

// next returns the next frame; io.EOF only between frames.
func (f *frameReader) next() (frame, error) {
	if _, err := io.ReadFull(f.r, f.header[:1]); err != nil {
		return frame{}, err
	}
	if _, err := io.ReadFull(f.r, f.header[1:]); err != nil {
		return frame{}, fmt.Errorf("read frame header: %w", noEOF(err))
	}
	n := binary.LittleEndian.Uint32(f.header[:4])
	fr := frame{kind: frameType(f.header[4]), id: binary.LittleEndian.Uint32(f.header[5:])}
	if fr.kind == 0 || fr.kind >= frameTypeEnd {
		return frame{}, fmt.Errorf("%w: frame type %d is not known", ErrProtocol, fr.kind)
	}
	if n > FrameBytesMax {
		return frame{}, fmt.Errorf("%w: type %d has %d bytes, at most %d", ErrFrameTooLong, fr.kind, n, FrameBytesMax)
	}
	if uint32(cap(f.buffer)) < n {
		f.buffer = make([]byte, max(n, 4<<10))
	}
	fr.payload = f.buffer[:n]
	if _, err := io.ReadFull(f.r, fr.payload); err != nil {
		return frame{}, fmt.Errorf("read frame payload: %w", noEOF(err))
	}
	return fr, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode reads the payload as JSON.
func (f frame) decode(v any) error {
	if err := json.Unmarshal(f.payload, v); err != nil {
		return fmt.Errorf("%w: frame of type %d: %w", ErrProtocol, f.kind, err)
	}
	return nil
}

// credit reads the payload as a number of bytes, from 1 to the window.
func (f frame) credit() (int, error) {
	if len(f.payload) != 4 {
		return 0, fmt.Errorf("%w: credit of %d bytes, want 4", ErrProtocol, len(f.payload))
	}
	n := binary.LittleEndian.Uint32(f.payload)
	if n == 0 || n > windowBytes {
		return 0, fmt.Errorf("%w: credit of %d bytes, from 1 to %d", ErrProtocol, n, windowBytes)
	}
	return int(n), nil
}

// exchange reads the number of a request that the payload begins with.
func (f frame) exchange() (n uint32, rest []byte, err error) {
	if len(f.payload) < 4 {
		return 0, nil, fmt.Errorf("%w: frame of type %d has %d bytes, at least 4", ErrProtocol, f.kind, len(f.payload))
	}
	return binary.LittleEndian.Uint32(f.payload), f.payload[4:], nil
}

// prefixed returns the payload of a frame of a request.
func prefixed(n uint32, payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(payload)), n), payload...)
}

func encodeCredit(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func encodeCode(c abi.Code) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(c)) }

// decodeCode reads a code, or 0.
func decodeCode(b []byte) (abi.Code, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: code of %d bytes, want 4", ErrProtocol, len(b))
	}
	c := abi.Code(binary.LittleEndian.Uint32(b))
	if c != 0 && !c.Known() {
		return 0, fmt.Errorf("%w: code %d is not known", ErrProtocol, int32(c))
	}
	return c, nil
}

// share reads the payload as a share of the processors.
func (f frame) share() (uint32, error) {
	if len(f.payload) != 4 {
		return 0, fmt.Errorf("%w: share of %d bytes, want 4", ErrProtocol, len(f.payload))
	}
	return binary.LittleEndian.Uint32(f.payload), nil
}
