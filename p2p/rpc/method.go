// Package rpc carries requests and answers between members: over one long-lived
// stream per pair of members and direction, with deadlines, cancellation,
// bounds on everything, and errors that keep their identity across the wire.
//
// DESIGN.md beside this file has the frames, the shares and the locks.
package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/p2p"
)

// Protocol is the name under which streams are opened.
const Protocol = "/dugnad/rpc/1"

// What both sides of a stream rely on. Who breaks one of these loses the
// stream.
const (
	// FrameBytesMax bounds the payload of a frame; what is longer is split, so
	// that frames of other calls get between.
	FrameBytesMax = 32 << 10
	// InFlightMax bounds the calls of a stream that wait for their answer.
	InFlightMax = 256
	// FlightBytesMax bounds the requests of the calls in flight.
	FlightBytesMax = 32 << 20
	// AnswerBytesMax bounds the answers under way that take several frames.
	AnswerBytesMax = 32 << 20
	// WatchesMax bounds the watches of a stream.
	WatchesMax = 64
	// WindowBytes is how far a watch's messages may be ahead of who reads
	// them, besides the last one. Each counts with messageBytes more.
	WindowBytes = 256 << 10
	// MethodBytesMax bounds a method's name.
	MethodBytesMax = 64
	// BytesMax bounds what a Method may allow for a request or an answer.
	BytesMax = 16 << 20
	// WatchRequestBytesMax bounds the request of a watch: it fits into a frame.
	WatchRequestBytesMax = FrameBytesMax - requestHeadBytesMax
)

// messageBytes is what a watch's message counts for, besides its length.
const messageBytes = 64

// Request is what a handler is called with.
type Request struct {
	// From is the member that calls, in the role that it has now.
	From p2p.NodeID
	Role p2p.Role
	// Method is the name under which the handler is called.
	Method string
	// Body is the handler's to keep.
	Body []byte
}

// Method is what members may call.
type Method struct {
	// Name is up to MethodBytesMax bytes of [a-z0-9_./-].
	Name string
	// Allow is the least role that may call it.
	Allow p2p.Role
	// RequestBytesMax bounds the request, up to BytesMax, or to
	// WatchRequestBytesMax with Watch.
	RequestBytesMax int
	// ResponseBytesMax bounds the answer, or each message of a watch, up to
	// BytesMax. As much is set aside while a handler runs.
	ResponseBytesMax int
	// Handler returns the answer, which it must not change afterwards, or an
	// error: a *Fault reaches the caller as it is, any other as a Fault with
	// CodeFailed and its text. ctx ends with the caller's deadline, when the
	// caller gives up, and when the stream is lost. A panic is recovered.
	Handler func(ctx context.Context, r Request) ([]byte, error)
	// Watch is set instead of Handler when there are many answers: it calls
	// send, from one goroutine, for each message, and returns when there are
	// no more. send blocks while the caller does not read, and fails when ctx
	// ends; the message may be changed when send has returned.
	Watch func(ctx context.Context, r Request, send func(message []byte) error) error
}

// ErrConfig is wrapped by the errors of Validate.
var ErrConfig = errors.New("configuration is not valid")

func (m Method) validate() error {
	if m.Name == "" || len(m.Name) > MethodBytesMax || !nameIsPlain(m.Name) {
		return fmt.Errorf("%w: method name %q: want 1 to %d of [a-z0-9_./-]", ErrConfig, m.Name, MethodBytesMax)
	}
	if m.Allow < p2p.RoleClient || m.Allow > p2p.RoleAdmin {
		return fmt.Errorf("%w: method %s allows role %d, which there is not", ErrConfig, m.Name, m.Allow)
	}
	if (m.Handler == nil) == (m.Watch == nil) {
		return fmt.Errorf("%w: method %s: want a handler or a watch, and not both", ErrConfig, m.Name)
	}
	requestMax := BytesMax
	if m.Watch != nil {
		requestMax = WatchRequestBytesMax
	}
	if m.RequestBytesMax < 0 || m.RequestBytesMax > requestMax {
		return fmt.Errorf("%w: method %s: requests of %d bytes, at most %d", ErrConfig, m.Name, m.RequestBytesMax, requestMax)
	}
	if m.ResponseBytesMax < 0 || m.ResponseBytesMax > BytesMax {
		return fmt.Errorf("%w: method %s: answers of %d bytes, at most %d", ErrConfig, m.Name, m.ResponseBytesMax, BytesMax)
	}
	return nil
}

func nameIsPlain(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '.', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}
