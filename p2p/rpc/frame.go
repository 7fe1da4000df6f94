package rpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// kind tells what a frame says. C is the caller's side, which opened the
// stream, H the handler's. The numbers are stable.
type kind uint8

const (
	kindCall    kind = 1 + iota // C→H, request head, the request's first bytes
	kindWatch                   // C→H, request head, the whole request
	kindBody                    // C→H, more of a request
	kindCancel                  // C→H, nothing: forget the call
	kindCredit                  // C→H, u32: a watch's reader has read so many bytes
	kindAnswer                  // H→C, u32 length of the answer, its first bytes
	kindMore                    // H→C, more of an answer or of a message
	kindMessage                 // H→C, u32 length of a watch's message, its first bytes
	kindEnd                     // H→C, failure: the call failed, or the watch ended
	kindGoodbye                 // both ways, id 0, failure: why the stream ends
	kindsEnd
)

// headerBytes is u32 payload length, u8 kind, u64 id of the call,
// little-endian.
const headerBytes = 13

// requestHeadBytesMax is u8 length of the method's name, the name, u64
// microseconds that are left (0: no deadline), u32 length of the request.
const requestHeadBytesMax = 1 + MethodBytesMax + 8 + 4

// microsMax is the longest time to a deadline that is carried; a longer one is
// cut.
const microsMax = uint64(10 * 365 * 24 * time.Hour / time.Microsecond)

type header struct {
	length int
	kind   kind
	id     uint64
}

func appendHeader(to []byte, h header) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(h.length))
	to = append(to, byte(h.kind))
	return binary.LittleEndian.AppendUint64(to, h.id)
}

// decodeHeader reads headerBytes bytes.
func decodeHeader(b []byte) (header, error) {
	n := binary.LittleEndian.Uint32(b)
	h := header{int(n), kind(b[4]), binary.LittleEndian.Uint64(b[5:])}
	if n > FrameBytesMax {
		return h, fail(CodeProtocol, "frame of %d bytes, at most %d", n, FrameBytesMax)
	}
	if h.kind == 0 || h.kind >= kindsEnd {
		return h, fail(CodeProtocol, "frame kind %d is not known", h.kind)
	}
	return h, nil
}

// requestHead is what comes before a request's bytes.
type requestHead struct {
	method string
	// left is the time to the deadline; 0 when there is none.
	left   time.Duration
	length int
}

func appendRequestHead(to []byte, r requestHead) []byte {
	to = append(to, byte(len(r.method)))
	to = append(to, r.method...)
	micros := uint64(0)
	if r.left > 0 {
		micros = min(max(uint64(r.left/time.Microsecond), 1), microsMax)
	}
	to = binary.LittleEndian.AppendUint64(to, micros)
	return binary.LittleEndian.AppendUint32(to, uint32(r.length))
}

// decodeRequestHead returns the head and how many bytes it took.
func decodeRequestHead(b []byte) (r requestHead, n int, err error) {
	if len(b) == 0 || int(b[0]) > MethodBytesMax || len(b) < 1+int(b[0])+12 {
		return r, 0, fail(CodeProtocol, "request head of %d bytes", len(b))
	}
	n = 1 + int(b[0])
	r.method = string(b[1:n])
	micros := binary.LittleEndian.Uint64(b[n:])
	if micros > microsMax {
		return r, 0, fail(CodeProtocol, "deadline in %d µs", micros)
	}
	r.left = time.Duration(micros) * time.Microsecond
	r.length = int(min(binary.LittleEndian.Uint32(b[n+8:]), math.MaxInt32))
	return r, n + 12, nil
}

// failureBytesMax bounds a failure: u8 code, u8 length of the fault's code, the
// code, the text.
const failureBytesMax = 2 + FaultCodeBytesMax + TextBytesMax

// encodeFailure takes nil, a *Fault or an *Error.
func encodeFailure(err error) []byte {
	switch e := err.(type) { //nolint:errorlint // only what the package itself made comes here
	case nil:
		return []byte{byte(CodeOK), 0}
	case *Error:
		return append([]byte{byte(e.Code), 0}, cut(e.Text, TextBytesMax)...)
	case *Fault:
		code := cut(e.Code, FaultCodeBytesMax)
		b := append([]byte{byte(CodeFault), byte(len(code))}, code...)
		return append(b, cut(e.Text, TextBytesMax)...)
	default:
		panic(fmt.Sprintf("error of type %T on the wire", err))
	}
}

// decodeFailure returns nil, a *Fault or an *Error as failure, and an error
// when b is none of them.
func decodeFailure(b []byte) (failure, err error) {
	if len(b) < 2 || len(b) > failureBytesMax {
		return nil, fail(CodeProtocol, "failure of %d bytes", len(b))
	}
	code, n := Code(b[0]), int(b[1])
	if n > FaultCodeBytesMax || len(b) < 2+n || len(b)-2-n > TextBytesMax || n > 0 && code != CodeFault {
		return nil, fail(CodeProtocol, "failure's lengths are wrong")
	}
	text := string(b[2+n:])
	switch {
	case code == CodeOK:
		return nil, nil
	case code == CodeFault:
		return &Fault{Code: string(b[2 : 2+n]), Text: text}, nil
	case code < codes && codeTable[code].local:
		return nil, fail(CodeProtocol, "code %s does not cross the wire", code)
	default:
		return &Error{Code: code, Text: text}, nil
	}
}

// decodeLength reads the u32 before an answer, a message, or in a credit.
func decodeLength(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, fail(CodeProtocol, "length of %d bytes, want 4", len(b))
	}
	return int(min(binary.LittleEndian.Uint32(b), math.MaxInt32)), nil
}
