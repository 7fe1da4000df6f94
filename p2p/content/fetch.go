package content

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/p2p"
)

// FetchOptions says where to look and what to do with what is found.
type FetchOptions struct {
	// Holders may hold the object; they are asked first.
	Holders []p2p.NodeID
	// Owner, if not empty, pins the object.
	Owner string
	// BytesMax bounds the object; zero is Config.ObjectBytesMax.
	BytesMax int64
}

// Fetch opens an object, which it fetches from other members if it is not held.
// All calls for one object share one fetch. It ends with ErrNoHolder when
// nobody can give the object, and with ctx; what has arrived and was verified by
// then stays, as far as there is room, and the next Fetch goes on from there.
func (s *Store) Fetch(ctx context.Context, h Hash, options FetchOptions) (*Object, error) {
	if options.Owner != "" {
		if err := checkOwner(options.Owner); err != nil {
			return nil, err
		}
	}
	if options.BytesMax <= 0 || options.BytesMax > s.config.ObjectBytesMax {
		options.BytesMax = s.config.ObjectBytesMax
	}
	if h == Sum(nil) && !s.Has(h) {
		if _, _, err := s.Put(ctx, empty{}, ""); err != nil {
			return nil, err
		}
	}
	o, err := s.opened(h, options)
	if !errors.Is(err, ErrNotHeld) {
		return o, err
	}
	if s.exchange == nil {
		return nil, fmt.Errorf("fetch object %s: %w", h, ErrNoNetwork)
	}
	o, err = s.exchange.fetch(ctx, h, options)
	if err != nil {
		return nil, fmt.Errorf("fetch object %s: %w", h, err)
	}
	return o, nil
}

// empty reads as the object without bytes, which nobody needs to send.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// opened opens and pins what is held.
func (s *Store) opened(h Hash, options FetchOptions) (*Object, error) {
	o, err := s.Open(h, false)
	if err != nil {
		return nil, err
	}
	if o.Size() > options.BytesMax {
		err = fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, o.Size(), options.BytesMax)
	} else if options.Owner != "" {
		err = s.Pin(h, options.Owner)
	}
	if err != nil {
		_ = o.Close()
		return nil, err
	}
	return o, nil
}

// fetch joins the fetch of h, or begins it, and waits.
func (x *exchange) fetch(ctx context.Context, h Hash, options FetchOptions) (*Object, error) {
	for {
		t, ended, err := x.join(h, options)
		if err != nil {
			return nil, err
		}
		if !ended {
			return x.wait(ctx, t, options)
		}
		// Its last caller has just left: its file is free when it is over.
		select {
		case <-t.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if o, err := x.s.opened(h, options); !errors.Is(err, ErrNotHeld) {
			return o, err
		}
	}
}

// join returns the fetch of h, with the caller counted, or one that has ended.
func (x *exchange) join(h Hash, options FetchOptions) (t *transfer, ended bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, false, ErrClosed
	}
	t = x.transfers[h]
	if t == nil {
		t = newTransfer(x, h)
		t.extend(options)
		x.transfers[h] = t
		x.running.Go(t.main)
	} else if t.callers == 0 {
		return t, true, nil
	} else {
		t.extend(options)
	}
	t.callers++
	return t, false, nil
}

// leave takes a caller away; with the last one the fetch ends.
func (x *exchange) leave(t *transfer) {
	x.mu.Lock()
	t.callers--
	last := t.callers == 0
	x.mu.Unlock()
	if last {
		t.cancel()
	}
}

// wait returns the object when t has it.
func (x *exchange) wait(ctx context.Context, t *transfer, options FetchOptions) (*Object, error) {
	defer x.leave(t)
	sized := t.sized
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-sized:
			sized = nil
			if err := x.s.affordable(t.size(), options); err != nil {
				return nil, err
			}
		case <-t.done:
			if t.err != nil {
				return nil, t.err
			}
			return x.s.opened(t.hash, options)
		}
	}
}

// affordable refuses an object as soon as its length is known.
func (s *Store) affordable(size int64, options FetchOptions) error {
	if size > options.BytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, options.BytesMax)
	}
	if most := s.config.OwnerBytesMax; options.Owner != "" && most > 0 {
		if used := s.OwnerBytes(options.Owner); used+size > most {
			return fmt.Errorf("%w: %d bytes pinned of %d, %d more wanted", ErrQuota, used, most, size)
		}
	}
	return nil
}
