package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Put stores what r gives, up to its end, and returns the name. When it returns
// without an error the object is on disk, whatever happens to the machine. With
// an owner it is pinned for that owner; without one it may be evicted at once.
// Memory is one chunk, however long the object.
func (s *Store) Put(ctx context.Context, r io.Reader, owner string) (Hash, int64, error) {
	if owner != "" {
		if err := checkOwner(owner); err != nil {
			return Hash{}, 0, err
		}
	}
	room := &reservation{s: s}
	defer room.release()
	if err := room.grow(int64(footerBytes)); err != nil {
		return Hash{}, 0, fmt.Errorf("put object: %w", err)
	}
	f, err := os.CreateTemp(s.dir(tempDir), "put-*")
	if err != nil {
		return Hash{}, 0, fmt.Errorf("put object: %w", classify(err))
	}
	defer f.Close()
	defer os.Remove(f.Name()) //nolint:errcheck // renamed away, or swept at the next start
	c, err := s.write(ctx, f, room, r, owner)
	if err != nil {
		return Hash{}, 0, fmt.Errorf("put object: %w", classify(err))
	}
	if err := f.Sync(); err != nil {
		return Hash{}, 0, fmt.Errorf("put object %s: %w", c.hash, classify(err))
	}
	e, err := s.adopt(c, f.Name(), room, owner)
	if err != nil {
		return Hash{}, 0, fmt.Errorf("put object %s: %w", c.hash, classify(err))
	}
	s.release(e)
	s.meter.puts.Inc()
	return c.hash, c.size, nil
}

// write copies r into f, with the trailer.
func (s *Store) write(ctx context.Context, f *os.File, room *reservation, r io.Reader, owner string) (*chain, error) {
	buffer := s.takeBuffer()
	defer s.giveBuffer(buffer)
	h, c := newHasher(), &chain{}
	for {
		n, err := io.ReadFull(r, buffer[:ChunkBytes])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return nil, fmt.Errorf("read: %w", err)
		}
		more := int64(n)
		if n > 0 && c.size > 0 {
			c.states = append(c.states, h.state())
			more += int64(len(midstate{}))
		}
		c.size += int64(n)
		if err := s.checkSize(c.size, owner); err != nil {
			return nil, err
		}
		if err := errors.Join(ctx.Err(), room.grow(more)); err != nil {
			return nil, err
		}
		_, _ = h.Write(buffer[:n])
		if _, err := f.Write(buffer[:n]); err != nil {
			return nil, err
		}
		room.wrote(int64(n))
		if !end && c.size > ChunkBytes { // a short file is better written at once
			writeBack(f, c.size-int64(n), int64(n))
		}
		if end {
			break
		}
	}
	h.Sum(c.hash[:0])
	_, err := f.Write(c.trailer())
	return c, err
}

// checkSize refuses early what could not be kept.
func (s *Store) checkSize(size int64, owner string) error {
	if size > s.config.ObjectBytesMax {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, s.config.ObjectBytesMax)
	}
	if most := s.config.OwnerBytesMax; owner != "" && most > 0 && size > most {
		return fmt.Errorf("%w: more than %d bytes", ErrQuota, most)
	}
	return nil
}

// adopt moves a synced file into its place and returns its entry, held and on
// disk. The file of an object that is held already is left to the caller.
func (s *Store) adopt(c *chain, path string, room *reservation, owner string) (*entry, error) {
	e, durable, seq, err := s.place(c, path, room, owner)
	if err != nil {
		return nil, err
	}
	if !durable {
		if err := syncDir(s.dir(objectsDir)); err != nil {
			s.release(e)
			return nil, err
		}
		s.mu.Lock()
		e.durable = true
		s.mu.Unlock()
	}
	if owner != "" {
		if err := s.pins.commit(seq); err != nil {
			s.release(e)
			return nil, err
		}
	}
	return e, nil
}

// place is the part of adopt that must be seen as one step.
func (s *Store) place(c *chain, path string, room *reservation, owner string) (e *entry, durable bool, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, 0, ErrClosed
	}
	if owner != "" {
		if seq, err = s.addPin(c.hash, c.size, owner); err != nil {
			return nil, false, 0, err
		}
	}
	if e = s.objects[c.hash]; e != nil {
		s.hold(e)
		return e, e.durable, seq, nil
	}
	if err := os.Rename(path, s.objectPath(c.hash)); err != nil {
		if owner != "" {
			_, _ = s.dropPin(c.hash, owner)
		}
		return nil, false, 0, err
	}
	e = &entry{hash: c.hash, size: c.size}
	s.objects[c.hash] = e
	s.changes++
	s.account(e, 1)
	room.drop()
	s.hold(e)
	return e, false, seq, nil
}

// takeBuffer returns a buffer of a chunk and a frame's head.
func (s *Store) takeBuffer() []byte {
	s.buffersTaken.Add(1)
	return *buffers.Get().(*[]byte)
}

func (s *Store) giveBuffer(b []byte) {
	s.buffersTaken.Add(-1)
	buffers.Put(&b)
}
