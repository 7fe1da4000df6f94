package content

import "time"

// accept takes a chunk that fits the chain of that generation.
func (t *transfer) accept(generation, k int, b []byte) error {
	c, p, ok := t.claim(generation, k)
	if !ok {
		return nil
	}
	var err error
	if p == nil {
		p, err = t.s.newPart(c)
	}
	if err == nil {
		err = p.write(k, b)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wake()
	if t.part == nil {
		t.part, t.making = p, false
	}
	if err == nil && generation != t.generation && !t.proved {
		// Another claim was followed meanwhile; but this one now has a proof.
		t.follow(c)
	}
	if t.chain.size == c.size {
		t.busy.clear(k)
	}
	if err != nil {
		return err
	}
	t.s.meter.received.Add(float64(len(b)))
	t.progress = time.Now()
	if t.chain.agrees(c, k) {
		t.note(k)
	}
	return nil
}

// claim gives the caller alone chunk k to write, unless that is done.
func (t *transfer) claim(generation, k int) (*chain, *part, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation != t.generation || t.have.has(k) || t.busy.has(k) || t.over() {
		return nil, nil, false
	}
	if t.part == nil && t.making { // the same chunk, by way of another chain
		return nil, nil, false
	}
	t.busy.set(k)
	t.making = t.part == nil
	return t.chain, t.part, true
}

// note counts chunk k as had; the first one is always the last of the object.
func (t *transfer) note(k int) {
	if !t.have.has(k) {
		t.have.set(k)
		t.left--
	}
	if k == t.disputed {
		t.disputed = -1
	}
	if !t.proved && k == t.chain.chunks()-1 {
		t.proved = true
		close(t.sized)
	}
}

// follow makes c the claim to go by. Chunks of which it says the same as the
// one before stay.
func (t *transfer) follow(c *chain) {
	old, had := t.chain, t.have
	t.chain = c
	t.generation++
	t.have, t.left = newBitmap(c.chunks()), c.chunks()
	t.disputed = -1
	if old == nil || old.size != c.size { // else writes that have begun still keep others off
		t.busy = newBitmap(c.chunks())
	}
	if old == nil {
		return
	}
	for k := range min(c.chunks(), old.chunks()) {
		if t.proved && had.has(k) && c.agrees(old, k) {
			t.have.set(k)
			t.left--
		}
	}
	if t.part != nil {
		if err := t.part.label(c); err != nil && t.fault == nil {
			t.fault = err
		}
	}
}

// listing implements source.
func (t *transfer) listing() (listing, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain == nil || !t.proved {
		return listing{}, false
	}
	return listing{size: t.chain.size, chain: t.chain, have: append(bitmap(nil), t.have...)}, true
}

// chunk implements source.
func (t *transfer) chunk(h *hasher, k int, b []byte) error {
	t.mu.Lock()
	c, p := t.chain, t.part
	ok := p != nil && k < c.chunks() && t.have.has(k)
	t.mu.Unlock()
	if !ok {
		return ErrNotHeld
	}
	at, n := c.span(k)
	if n != len(b) {
		return ErrNotHeld
	}
	// The file may have been closed since, or hold a chunk of another chain.
	if _, err := p.f.ReadAt(b, at); err != nil || !c.fits(h, k, b) {
		return ErrNotHeld
	}
	return nil
}

// Close implements source.
func (t *transfer) Close() error { return nil }
