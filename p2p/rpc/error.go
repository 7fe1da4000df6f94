package rpc

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of what an error carries across the wire; the rest is cut off.
const (
	FaultCodeBytesMax = 64
	TextBytesMax      = 1 << 10
)

// The errors of calls and watches. What the other side found is wrapped in the
// same way as what this side found.
var (
	// ErrUnknownMethod is returned when the other side has no such method, or
	// has it as a watch and it was called, or the other way round.
	ErrUnknownMethod = errors.New("method is not known")
	// ErrNotAllowed is returned when the caller's role may not call it.
	ErrNotAllowed = errors.New("role may not call this method")
	// ErrPanic is returned when the handler panicked. The other side's log says
	// why.
	ErrPanic = errors.New("handler panicked")
	// ErrTimeout is returned when the call's deadline passed. It comes with
	// context.DeadlineExceeded.
	ErrTimeout = errors.New("deadline has passed")
	// ErrCancelled is returned when the call's context was cancelled. It comes
	// with context.Canceled.
	ErrCancelled = errors.New("call was cancelled")
	// ErrRequestTooLarge is returned, without a call of the handler, when the
	// request is longer than the method's RequestBytesMax.
	ErrRequestTooLarge = errors.New("request is too large")
	// ErrResponseTooLarge is returned when the answer is longer than the
	// method's ResponseBytesMax at either side.
	ErrResponseTooLarge = errors.New("response is too large")
	// ErrBusy is returned, without a call of the handler, when a queue or a
	// share is full.
	ErrBusy = errors.New("too much is under way")
	// ErrUnavailable is returned when the member cannot be reached and the
	// request was certainly not sent: it may be repeated.
	ErrUnavailable = errors.New("member cannot be reached")
	// ErrUncertain is returned when the stream was lost after the request was
	// sent, wholly or in part: the handler may have run.
	ErrUncertain = errors.New("stream was lost before the answer came")
	// ErrProtocol is returned when the other side broke the rules, or says that
	// this side did: the handler may have run.
	ErrProtocol = errors.New("protocol error")
	// ErrClosed is returned when this endpoint is closed, or the watch.
	ErrClosed = errors.New("endpoint is closed")
)

// Code is an error on the wire and in metrics. The numbers and the names are
// stable; new ones go to the end.
type Code uint8

// The codes.
const (
	CodeOK Code = iota
	// CodeFault is an error of the handler's own: a *Fault.
	CodeFault
	CodeUnknownMethod
	CodeNotAllowed
	CodePanic
	CodeTimeout
	CodeCancelled
	CodeRequestTooLarge
	CodeResponseTooLarge
	CodeBusy
	CodeUnavailable
	CodeUncertain
	CodeProtocol
	CodeClosed

	codes
)

// codeTable names every code. Those that are local never cross the wire: no
// member can say in another's name that a request was not sent.
var codeTable = [codes]struct {
	name  string
	err   error
	local bool
}{
	CodeOK:               {name: "ok"},
	CodeFault:            {name: "fault"},
	CodeUnknownMethod:    {"unknown_method", ErrUnknownMethod, false},
	CodeNotAllowed:       {"not_allowed", ErrNotAllowed, false},
	CodePanic:            {"panic", ErrPanic, false},
	CodeTimeout:          {"timeout", ErrTimeout, false},
	CodeCancelled:        {"cancelled", ErrCancelled, false},
	CodeRequestTooLarge:  {"request_too_large", ErrRequestTooLarge, false},
	CodeResponseTooLarge: {"response_too_large", ErrResponseTooLarge, false},
	CodeBusy:             {"busy", ErrBusy, false},
	CodeUnavailable:      {"unavailable", ErrUnavailable, true},
	CodeUncertain:        {"uncertain", ErrUncertain, true},
	CodeProtocol:         {"protocol", ErrProtocol, false},
	CodeClosed:           {"closed", ErrClosed, true},
}

// String returns the code's stable name.
func (c Code) String() string {
	if c < codes {
		return codeTable[c].name
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// Error is how a call failed, other than by a Fault. It is, by errors.Is, the
// sentinel of its code, and what caused it.
type Error struct {
	Code Code
	// Text says more; up to TextBytesMax bytes when it comes from the wire.
	Text  string
	cause error
}

func fail(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// failBy is fail with a cause, whose text is the error's.
func failBy(code Code, cause error) *Error {
	return &Error{Code: code, Text: cause.Error(), cause: cause}
}

// Error returns the sentinel's text and what is known beyond.
func (e *Error) Error() string {
	text := e.Code.String()
	if e.Code < codes && codeTable[e.Code].err != nil {
		text = codeTable[e.Code].err.Error()
	}
	if e.Text == "" {
		return text
	}
	return text + ": " + e.Text
}

// Unwrap returns the sentinel, the context's error that belongs to it, and the
// cause.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Code < codes && codeTable[e.Code].err != nil {
		out = append(out, codeTable[e.Code].err)
	}
	switch e.Code {
	case CodeTimeout:
		out = append(out, context.DeadlineExceeded)
	case CodeCancelled:
		out = append(out, context.Canceled)
	}
	if e.cause != nil {
		out = append(out, e.cause)
	}
	return out
}

// CodeFailed is the Code of a Fault made from an error that is none.
const CodeFailed = "failed"

// Fault is an error of a handler's own that its callers can tell apart. Two
// faults are the same, by errors.Is, when their codes are: a package keeps one
// as its sentinel, and handlers return it, or an error that wraps it.
type Fault struct {
	// Code is stable and up to FaultCodeBytesMax bytes.
	Code string
	// Text is for people, and up to TextBytesMax bytes across the wire.
	Text string
}

// Error returns the text, or the code where there is none.
func (f *Fault) Error() string {
	if f.Text == "" {
		return f.Code
	}
	return f.Text
}

// Is says whether target is a fault with the same code.
func (f *Fault) Is(target error) bool {
	other, ok := target.(*Fault)
	return ok && other.Code == f.Code
}

// faultOf returns what the caller gets for a handler's error.
func faultOf(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return &Fault{Code: cut(f.Code, FaultCodeBytesMax), Text: cut(err.Error(), TextBytesMax)}
	}
	return &Fault{Code: CodeFailed, Text: cut(err.Error(), TextBytesMax)}
}

// codeOf returns the code of what a call or a handler ended with.
func codeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return CodeOK
	case errors.As(err, &e):
		return e.Code
	default:
		return CodeFault
	}
}

// ended returns the error of a call whose context has ended.
func ended(ctx context.Context) *Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Code: CodeTimeout}
	}
	return &Error{Code: CodeCancelled}
}

// cut returns at most n bytes of text, whole characters only.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
