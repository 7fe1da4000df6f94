//go:build cgo

package worker

// threadBytes is what a thread takes of private memory: the C library maps a
// whole stack for each, and ends the process when it can't.
const threadBytes = 8 << 20
