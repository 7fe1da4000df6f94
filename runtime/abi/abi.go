// Package abi names what Dugnad offers to guests beyond WASI: functions, their
// numbers and their error codes. ABI.md says what they do, for whoever writes a
// guest in any language; a test compares the two.
package abi

import "fmt"

const (
	// Module is the module under which guests import the functions. Its number is
	// Version: what a guest that was built for it relies on is never changed. A
	// function that is added later gets a name of its own, one that has to change
	// makes a module of the next number.
	Module = "dugnad_v1"
	// Version is the version of all of this.
	Version = 1
)

// Type is the type of a parameter or a result.
type Type string

// I32 is the only type so far.
const I32 Type = "i32"

// Function is one function that guests may import.
type Function struct {
	Name string
	// Params are the names of the parameters, each an I32; the result is one I32.
	Params []string
	// Capability is what a job has to ask for to import it.
	Capability string
}

// CapabilityHTTP is the capability of outbound HTTP.
const CapabilityHTTP = "http"

// The functions.
const (
	HTTPOpen  = "http_open"
	HTTPWrite = "http_write"
	HTTPEnd   = "http_end"
	HTTPHead  = "http_head"
	HTTPRead  = "http_read"
	HTTPClose = "http_close"
)

// Functions lists what Module offers.
func Functions() []Function {
	return []Function{
		{HTTPOpen, []string{"head", "head_len"}, CapabilityHTTP},
		{HTTPWrite, []string{"request", "data", "data_len"}, CapabilityHTTP},
		{HTTPEnd, []string{"request"}, CapabilityHTTP},
		{HTTPHead, []string{"request", "buf", "buf_len"}, CapabilityHTTP},
		{HTTPRead, []string{"request", "buf", "buf_len"}, CapabilityHTTP},
		{HTTPClose, []string{"request"}, CapabilityHTTP},
	}
}

// Limits of every host.
const (
	// HTTPOpenMax bounds the requests that an attempt has open at the same time.
	HTTPOpenMax = 16
	// HTTPHeadBytesMax bounds the head of a request, and that of a response.
	HTTPHeadBytesMax = 64 << 10
)

// Code is the result of a function that did not do what it was asked: the guest gets
// it as a negative number. The numbers and the names are stable; new ones go to the
// end. It is an error, so that whoever answers for the world can return it.
type Code int32

// The codes.
const (
	// ErrFault: an address and a length do not lie in the guest's memory.
	ErrFault Code = -1 - iota
	// ErrHandle: there is no open request of this number.
	ErrHandle
	// ErrState: the request is in no state for this, such as a body behind its end.
	ErrState
	// ErrDenied: the tenant, the job or the node's operator does not allow it.
	ErrDenied
	// ErrRequest: the head of the request cannot be read, or has what it must not.
	ErrRequest
	// ErrHost: the host is not among those that the job names.
	ErrHost
	// ErrPort: the operator does not allow the port.
	ErrPort
	// ErrResolve: the host's name has no address.
	ErrResolve
	// ErrAddress: all addresses of the host are ones that guests must not reach.
	ErrAddress
	// ErrConnect: no connection could be made, or TLS could not be agreed on.
	ErrConnect
	// ErrBroken: the connection ended in the middle, or what came is no HTTP.
	ErrBroken
	// ErrTimeout: the request took longer than it may.
	ErrTimeout
	// ErrOpen: too many requests are open.
	ErrOpen
	// ErrRate: the tenant makes too many requests in too short a time.
	ErrRate
	// ErrBytes: the request or the answer is longer than it may be, or the attempt
	// or the tenant has moved all the bytes that it may.
	ErrBytes
	// ErrHead: the head of the answer is longer than HTTPHeadBytesMax.
	ErrHead

	codesEnd
)

var codeTable = [...]struct{ name, text string }{
	{"fault", "an address and a length do not lie in the guest's memory"},
	{"handle", "there is no open request of this number"},
	{"state", "the request is in no state for this"},
	{"denied", "the tenant, the job or the node's operator does not allow it"},
	{"request", "the head of the request is not acceptable"},
	{"host", "the host is not among those that the job names"},
	{"port", "the operator does not allow the port"},
	{"resolve", "the host's name has no address"},
	{"address", "guests must not reach the host's address"},
	{"connect", "no connection could be made"},
	{"broken", "the connection ended in the middle"},
	{"timeout", "the request took longer than it may"},
	{"open", "too many requests are open"},
	{"rate", "too many requests in too short a time"},
	{"bytes", "more bytes than may be moved"},
	{"head", "the head of the answer is too long"},
}

// Codes lists every code.
func Codes() []Code {
	list := make([]Code, 0, len(codeTable))
	for c := ErrFault; c > codesEnd; c-- {
		list = append(list, c)
	}
	return list
}

// Known reports whether c is a code.
func (c Code) Known() bool { return c < 0 && c > codesEnd }

// Name returns the code's stable name.
func (c Code) Name() string {
	if !c.Known() {
		return fmt.Sprintf("code %d", int32(c))
	}
	return codeTable[-1-c].name
}

// Error implements error.
func (c Code) Error() string {
	if !c.Known() {
		return c.Name()
	}
	return codeTable[-1-c].text
}
