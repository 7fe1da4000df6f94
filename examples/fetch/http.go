//go:build wasip1

package main

import (
	"fmt"
	"io"
	"unsafe"
)

// The functions are those of runtime/abi/ABI.md.

//go:wasmimport dugnad_v1 http_open
//go:noescape
func httpOpen(head unsafe.Pointer, n int32) int32

//go:wasmimport dugnad_v1 http_head
//go:noescape
func httpHead(request int32, buf unsafe.Pointer, n int32) int32

//go:wasmimport dugnad_v1 http_read
//go:noescape
func httpRead(request int32, buf unsafe.Pointer, n int32) int32

//go:wasmimport dugnad_v1 http_close
func httpClose(request int32) int32

// headBytesMax is the longest head that there is.
const headBytesMax = 64 << 10

// code is an error of these functions, by its number.
type code int32

func (c code) Error() string { return fmt.Sprintf("error %d of dugnad_v1", int32(c)) }

func result(n int32) (int, error) {
	if n < 0 {
		return 0, code(n)
	}
	return int(n), nil
}

// request is an open request without a body.
type request int32

func open(head string) (request, error) {
	n, err := result(httpOpen(unsafe.Pointer(unsafe.StringData(head)), int32(len(head))))
	return request(n), err
}

// head waits for the head of the answer.
func (r request) head() (string, error) {
	buf := make([]byte, headBytesMax)
	n, err := result(httpHead(int32(r), unsafe.Pointer(&buf[0]), int32(len(buf))))
	return string(buf[:n]), err
}

// Read implements io.Reader for the body of the answer.
func (r request) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := result(httpRead(int32(r), unsafe.Pointer(&p[0]), int32(len(p))))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (r request) close() { httpClose(int32(r)) }
