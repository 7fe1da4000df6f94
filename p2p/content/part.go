package content

import (
	"errors"
	"fmt"
	"os"
)

// part is the file of an object that is being fetched: as long as it will be,
// with its trailer from the start, and holes where chunks are missing. So a
// restart needs no other file to go on, and the last step is a rename.
type part struct {
	s    *Store
	f    *os.File
	room reservation
	hash Hash
	size int64
}

// newPart makes the file of an object of which nothing is here yet.
func (s *Store) newPart(c *chain) (*part, error) {
	p := &part{s: s, room: reservation{s: s}, hash: c.hash, size: c.size}
	if err := p.room.grow(fileBytes(c.size)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.partialPath(c.hash), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		p.room.release()
		return nil, classify(err)
	}
	p.f = f
	if err := p.label(c); err != nil {
		p.discard()
		p.close()
		return nil, err
	}
	return p, nil
}

// label writes the trailer.
func (p *part) label(c *chain) error {
	if c.size != p.size {
		return fmt.Errorf("%w: length %d was proved, not %d", errChain, p.size, c.size)
	}
	_, err := p.f.WriteAt(c.trailer(), c.size)
	return classify(err)
}

func (p *part) write(k int, b []byte) error {
	at := int64(k) << chunkShift
	_, err := p.f.WriteAt(b, at)
	if p.size > ChunkBytes { // a short file is better written at once
		writeBack(p.f, at, int64(len(b)))
	}
	p.room.wrote(int64(len(b)))
	return classify(err)
}

// reopen takes up what an earlier fetch left of h, or returns nil.
func (s *Store) reopen(h Hash) (*part, *chain, error) {
	s.mu.Lock()
	e := s.partials[h]
	if s.closed || e == nil {
		s.mu.Unlock()
		return nil, nil, nil
	}
	s.unsettle(e)
	delete(s.partials, h)
	s.account(e, -1)
	p := &part{s: s, hash: h, size: e.size, room: reservation{s: s, bytes: fileBytes(e.size), counted: true}}
	s.used += p.room.bytes
	s.files++
	s.mu.Unlock()
	f, err := os.OpenFile(s.partialPath(h), os.O_RDWR, 0)
	if err != nil {
		p.discard()
		return nil, nil, err
	}
	p.f = f
	c, err := readTrailer(f, h, e.size)
	if err != nil {
		p.discard()
		p.close()
		if errors.Is(err, errChain) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	return p, c, nil
}

// resume takes up what is on disk of the object: chunks that fit the chain that
// an earlier fetch followed. Nothing else is believed of the file, not even
// that it was synced.
func (t *transfer) resume() error {
	p, c, err := t.s.reopen(t.hash)
	if err != nil || p == nil {
		return err
	}
	h, buffer := newHasher(), t.s.takeBuffer()
	defer t.s.giveBuffer(buffer)
	fits := func(k int) bool {
		at, n := c.span(k)
		_, err := p.f.ReadAt(buffer[:n], at)
		return err == nil && c.fits(h, k, buffer[:n])
	}
	last := c.chunks() - 1
	if !fits(last) {
		p.discard()
		p.close()
		return nil
	}
	t.mu.Lock()
	t.part = p
	t.follow(c)
	t.note(last)
	t.mu.Unlock()
	for k := range last {
		if t.ctx.Err() != nil {
			break
		}
		if fits(k) {
			t.mu.Lock()
			t.note(k)
			t.mu.Unlock()
		}
	}
	return nil
}

// keep leaves the file for the next fetch.
func (p *part) keep() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.room.drop()
	e := &entry{hash: p.hash, size: p.size, partial: true}
	p.s.partials[p.hash] = e
	p.s.account(e, 1)
	p.s.settle(e)
}

// discard removes the file.
func (p *part) discard() {
	if err := os.Remove(p.s.partialPath(p.hash)); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.s.log.Warn("partial object stays on disk", "hash", p.hash, "error", err)
	}
	p.room.release()
}

// finish makes the file an object, held for the caller.
func (p *part) finish(c *chain) (*entry, error) {
	if err := p.f.Sync(); err != nil {
		p.discard()
		return nil, classify(err)
	}
	e, err := p.s.adopt(c, p.s.partialPath(c.hash), &p.room, "")
	if p.room.counted { // it was stored otherwise, or not at all
		p.discard()
	}
	return e, err
}

func (p *part) close() { _ = p.f.Close() }
