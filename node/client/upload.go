package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// parcel is the body of one try of an upload. The transport closes it when it reads
// no more, which may be after the call has returned.
type parcel struct {
	io.Reader
	// bytes is how long it is; 0 is not known.
	bytes  int64
	once   sync.Once
	closed chan struct{}
}

// Close implements io.Closer. What is read from stays open: it belongs to the caller.
func (p *parcel) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// upload sends bytes, whose effect is the same however often they arrive: they are
// named by their hash. What can be read again is, from where it was.
func upload[T any](ctx context.Context, c *Client, path string, body io.Reader) (v T, err error) {
	header := http.Header{"Content-Type": {"application/octet-stream"}, "Expect": {"100-continue"}}
	again, ok := body.(io.Seeker)
	var from, end int64
	if ok {
		if from, end, err = extent(again); err != nil {
			return v, fmt.Errorf("read what is uploaded: %w", err)
		}
	}
	if !ok || end < from {
		return call[T](ctx, c, http.MethodPost, path, nil, header, body)
	}
	var last *parcel
	return repeat(ctx, c, func() (v T, err error) {
		if last != nil {
			select {
			case <-last.closed:
			case <-ctx.Done():
				return v, ctx.Err()
			}
			if _, err := again.Seek(from, io.SeekStart); err != nil {
				return v, fmt.Errorf("read once more what is uploaded: %w", err)
			}
		}
		last = &parcel{Reader: body, bytes: end - from, closed: make(chan struct{})}
		return call[T](ctx, c, http.MethodPost, path, nil, header, last)
	})
}

// extent returns where what is read begins and ends, and leaves it where it was. For a
// pipe, which cannot be read again, the end is before the beginning.
func extent(s io.Seeker) (from, end int64, err error) {
	if from, err = s.Seek(0, io.SeekCurrent); err != nil {
		return 0, -1, nil //nolint:nilerr // it says that this is a pipe
	}
	end, err = s.Seek(0, io.SeekEnd)
	_, failed := s.Seek(from, io.SeekStart)
	return from, max(from, end), errors.Join(err, failed)
}
