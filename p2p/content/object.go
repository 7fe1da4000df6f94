package content

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// bufferBytes is the length of a buffer: a chunk with its frame's head.
const bufferBytes = dataHeadBytes + ChunkBytes

// buffers holds buffers of a chunk with its frame's head. The pool is of the
// process: it has no state of a store.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, bufferBytes)
	return &b
}}

// Object is an open object. It stays on disk until Close. ReadAt may be called
// from several goroutines, Read and Seek from one.
type Object struct {
	io.ReadSeeker
	s      *Store
	e      *entry
	f      *os.File
	chain  *chain
	verify bool

	mu      sync.Mutex
	checked bitmap
	once    sync.Once
}

// Open opens an object that is held, or returns ErrNotHeld. With verify every
// chunk is read and hashed before the first of its bytes is given, and one that
// is wrong gives ErrCorrupt; without, the bytes are as the disk has them.
func (s *Store) Open(h Hash, verify bool) (*Object, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	e := s.objects[h]
	if e == nil {
		s.mu.Unlock()
		return nil, ErrNotHeld
	}
	s.hold(e)
	s.mu.Unlock()
	o, err := s.openEntry(e, verify)
	if err != nil {
		s.release(e)
		return nil, err
	}
	return o, nil
}

// openEntry opens the file of e, which is held.
func (s *Store) openEntry(e *entry, verify bool) (*Object, error) {
	f, err := os.Open(s.path(e))
	if errors.Is(err, os.ErrNotExist) {
		s.corrupt(e, "file is gone")
		return nil, fmt.Errorf("open object %s: %w", e.hash, ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", e.hash, err)
	}
	c, err := readTrailer(f, e.hash, e.size)
	if err != nil {
		_ = f.Close()
		if errors.Is(err, errChain) {
			s.corrupt(e, "trailer is damaged")
			err = ErrCorrupt
		}
		return nil, fmt.Errorf("open object %s: %w", e.hash, err)
	}
	o := &Object{s: s, e: e, f: f, chain: c, verify: verify, checked: newBitmap(c.chunks())}
	o.ReadSeeker = io.NewSectionReader(at{o}, 0, e.size)
	return o, nil
}

// at keeps Object's own ReadAt from a SectionReader's bound check twice.
type at struct{ o *Object }

func (a at) ReadAt(b []byte, off int64) (int, error) { return a.o.ReadAt(b, off) }

// Hash returns the object's name.
func (o *Object) Hash() Hash { return o.e.hash }

// Size returns the object's length in bytes.
func (o *Object) Size() int64 { return o.e.size }

// ReadAt implements io.ReaderAt.
func (o *Object) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("offset is negative")
	}
	if off >= o.e.size {
		return 0, io.EOF
	}
	var end error
	if rest := o.e.size - off; int64(len(b)) > rest {
		b, end = b[:rest], io.EOF
	}
	if o.verify && len(b) > 0 {
		for k := int(off >> chunkShift); k <= int((off+int64(len(b))-1)>>chunkShift); k++ {
			if err := o.check(k); err != nil {
				return 0, err
			}
		}
	}
	n, err := o.f.ReadAt(b, off)
	if errors.Is(err, io.EOF) { // shorter than when it was opened
		o.s.corrupt(o.e, "file is too short")
		return n, fmt.Errorf("read object %s: %w", o.e.hash, ErrCorrupt)
	}
	if err != nil {
		return n, fmt.Errorf("read object %s: %w", o.e.hash, err)
	}
	return n, end
}

// check verifies chunk k once.
func (o *Object) check(k int) error {
	o.mu.Lock()
	done := o.checked.has(k)
	o.mu.Unlock()
	if done {
		return nil
	}
	buffer := o.s.takeBuffer()
	defer o.s.giveBuffer(buffer)
	_, n := o.chain.span(k)
	if err := o.chunk(newHasher(), k, buffer[:n]); err != nil {
		return err
	}
	o.mu.Lock()
	o.checked.set(k)
	o.mu.Unlock()
	return nil
}

// chunk reads chunk k into b, which has its length, and verifies it.
func (o *Object) chunk(h *hasher, k int, b []byte) error {
	from, _ := o.chain.span(k)
	_, err := o.f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read object %s: %w", o.e.hash, err)
	}
	if err != nil || !o.chain.fits(h, k, b) {
		o.s.corrupt(o.e, fmt.Sprintf("chunk %d is wrong", k))
		return fmt.Errorf("read object %s at chunk %d: %w", o.e.hash, k, ErrCorrupt)
	}
	return nil
}

// Verify reads the whole object and returns ErrCorrupt if a byte is wrong.
func (o *Object) Verify() error {
	for k := range o.chain.chunks() {
		if err := o.check(k); err != nil {
			return err
		}
	}
	return nil
}

// Close lets the object go. A second call does nothing.
func (o *Object) Close() error {
	var err error
	o.once.Do(func() {
		err = o.f.Close()
		o.s.release(o.e)
	})
	return err
}
