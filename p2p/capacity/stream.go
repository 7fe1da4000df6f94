package capacity

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// send keeps one stream to the parent, whoever that is, and sends what changed.
func (p *Publisher) send() {
	defer p.wait.Done()
	failing := false
	for p.ctx.Err() == nil {
		parent, ok := p.config.Parent()
		if !ok {
			p.pause(p.moved, 0)
			continue
		}
		err := p.feed(parent)
		if err != nil && p.ctx.Err() == nil {
			if !failing {
				p.log.Warn("offers do not reach the parent", "parent", parent, "err", err)
			}
			failing = true
			p.pause(p.moved, p.config.RetryInterval)
			continue
		}
		failing = false
	}
}

// pause waits for a signal, the end, or at most d; zero is for ever.
func (p *Publisher) pause(c chan struct{}, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-p.ctx.Done():
	case <-c:
	case <-timeout:
	}
}

// feed opens a stream to parent, sends everything that the board has, and then
// what changes. It returns nil when the parent is another one.
func (p *Publisher) feed(parent p2p.NodeID) error {
	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	s, err := p.config.Network.Open(ctx, parent, protocol)
	cancel()
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	// The parent never writes: a read ends when the stream does.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, s)
	}()
	defer func() {
		_ = s.Reset()
		<-ended
	}()
	p.mu.Lock()
	p.dirty = map[slot]bool{}
	for _, at := range p.board.slots() {
		p.mark(at)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.dirty = nil
		p.mu.Unlock()
	}()
	for {
		if err := p.flush(s); err != nil {
			return err
		}
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case <-ended:
			return errors.New("the parent ended the stream")
		case <-p.moved:
			if now, ok := p.config.Parent(); !ok || now != parent {
				return nil
			}
		case <-p.changed:
			p.gather(ended)
		}
	}
}

const (
	// openTimeout bounds the opening of a stream.
	openTimeout = 10 * time.Second
	// writeTimeout is how long a parent may take for one batch.
	writeTimeout = 10 * time.Second
)

// gather lets other changes come, to be sent together.
func (p *Publisher) gather(ended <-chan struct{}) {
	timer := time.NewTimer(p.config.BatchInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
	case <-ended:
	}
}

// flush sends all dirty records, in batches.
func (p *Publisher) flush(s p2p.Stream) error {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = map[slot]bool{}
	p.mu.Unlock()
	var batch []byte
	now := p.config.now()
	for at := range dirty {
		raw := p.board.raw(at, now)
		if raw == nil {
			continue
		}
		if len(batch)+len(raw)+binary.MaxVarintLen32 > batchBytesMax {
			if err := p.write(s, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		batch = append(binary.AppendUvarint(batch, uint64(len(raw))), raw...)
	}
	if len(batch) == 0 {
		return nil
	}
	return p.write(s, batch)
}

func (p *Publisher) write(s p2p.Stream, batch []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(batch)), uint32(len(batch)))
	frame = append(frame, batch...)
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := s.Write(frame); err != nil {
		return fmt.Errorf("send batch: %w", err)
	}
	p.metrics.sent.Add(float64(len(frame)))
	return nil
}

// receive takes the batches of a child.
func (p *Publisher) receive(s p2p.Stream) {
	defer func() { _ = s.Reset() }()
	if !p.admit(s.Remote()) {
		p.metrics.refused.Inc()
		return
	}
	defer p.release()
	stop := context.AfterFunc(p.ctx, func() { _ = s.Reset() })
	defer stop()
	r := bufio.NewReader(s)
	forged := 0
	for {
		batch, err := readBatch(r)
		if err != nil {
			if !errors.Is(err, io.EOF) && p.ctx.Err() == nil {
				p.log.Debug("child's offers ended", "child", s.Remote(), "err", err)
			}
			return
		}
		forged += p.take(batch)
		if forged > forgedMax {
			p.log.Warn("child sends forged offers", "child", s.Remote())
			return
		}
	}
}

// admit says whether there is room for another child, and whether it may give
// capacity at all.
func (p *Publisher) admit(child p2p.NodeID) bool {
	role, ok := p.config.Network.RoleOf(child)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok || role < p2p.RoleWorker || p.closed || p.children >= p.config.ChildrenMax {
		return false
	}
	p.children++
	return true
}

func (p *Publisher) release() {
	p.mu.Lock()
	p.children--
	p.mu.Unlock()
}

// readBatch reads one frame. What it allocates grows with what has arrived.
func readBatch(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > batchBytesMax {
		return nil, fmt.Errorf("%w: batch of %d bytes, 1 to %d are allowed", ErrMalformed, n, batchBytesMax)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	return b.Bytes(), nil
}

// take puts the records of a batch on the board and returns how many of them no
// honest child would send on.
func (p *Publisher) take(batch []byte) (bad int) {
	r := reader{b: batch}
	news := false
	for len(r.b) > 0 {
		raw := r.bytes(recordBytesMax)
		if r.bad {
			p.metrics.count(ErrMalformed)
			return forgedMax + 1
		}
		at, err := p.board.put(bytes.Clone(raw))
		p.metrics.count(err)
		switch {
		case err == nil:
			p.mu.Lock()
			p.mark(at)
			p.mu.Unlock()
			news = true
		case errors.Is(err, ErrForged) || errors.Is(err, ErrMalformed):
			bad++
		}
	}
	if news {
		signal(p.changed)
	}
	return bad
}
