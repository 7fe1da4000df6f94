package worker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// sender writes frames from many goroutines. Whoever finds nobody writing
// writes, and takes along what others add meanwhile: a frame that is alone
// costs one system call and no goroutine, a burst few system calls.
type sender struct {
	mu sync.Mutex
	// w is nil while there is nobody to send to: frames are dropped then.
	w       io.Writer
	pending []byte
	spare   []byte
	writing bool
	err     error
}

// send queues a frame and returns when it is written or another goroutine has
// taken on to write it. What can be queued is bounded by the windows of the
// streams and by the number of tasks.
func (s *sender) send(kind frameType, id uint32, payload []byte) error {
	if len(payload) > FrameBytesMax {
		return fmt.Errorf("%w: type %d would have %d bytes, at most %d", ErrFrameTooLong, kind, len(payload), FrameBytesMax)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.w == nil {
		return s.err
	}
	s.pending = appendFrame(s.pending, kind, id, payload)
	return s.writeLocked()
}

// sendFrames is send for several encoded frames, with nothing between them.
func (s *sender) sendFrames(frames []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.w == nil {
		return s.err
	}
	s.pending = append(s.pending, frames...)
	return s.writeLocked()
}

// hold queues a frame that may wait for the next one, or for flush.
func (s *sender) hold(kind frameType, id uint32, payload []byte) error {
	if len(payload) > FrameBytesMax {
		return fmt.Errorf("%w: type %d would have %d bytes, at most %d", ErrFrameTooLong, kind, len(payload), FrameBytesMax)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.w == nil {
		return s.err
	}
	if s.pending = appendFrame(s.pending, kind, id, payload); len(s.pending) < dataBytesMax {
		return nil
	}
	return s.writeLocked()
}

// flush writes what is held.
func (s *sender) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.w == nil {
		return s.err
	}
	return s.writeLocked()
}

// turn forgets what is queued, and sends what follows to w; nil drops it.
func (s *sender) turn(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w, s.pending, s.err = w, nil, nil
}

// writeLocked writes what is queued, unless another goroutine does so.
func (s *sender) writeLocked() error {
	if s.writing {
		return nil
	}
	s.writing = true
	for s.err == nil && len(s.pending) > 0 {
		out, w := s.pending, s.w
		s.pending = s.spare[:0]
		s.mu.Unlock()
		_, err := w.Write(out)
		s.mu.Lock()
		if s.w == w {
			s.err = err
		}
		if cap(out) > 2*FrameBytesMax {
			out = nil
		}
		s.spare = out
	}
	s.writing = false
	return s.err
}

// sendJSON sends v as the payload.
func (s *sender) sendJSON(kind frameType, id uint32, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame of type %d: %w", kind, err)
	}
	return s.send(kind, id, payload)
}

// sendCredit sends a number of bytes.
func (s *sender) sendCredit(kind frameType, id uint32, n int) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return s.send(kind, id, b[:])
}
