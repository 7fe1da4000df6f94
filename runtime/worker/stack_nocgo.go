//go:build !cgo

package worker

// threadBytes is what a thread takes of private memory: its stack comes from
// the heap and is small.
const threadBytes = 0
