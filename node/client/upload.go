package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// parcel is the body of one try of an upload. The transport closes it when it reads
// no more, which may be after the call has returned.
type parcel struct {
	io.Reader
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
func upload[T any](ctx context.Context, c *Client, path string, body io.Reader) (T, error) {
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	again, ok := body.(io.Seeker)
	var from int64
	if ok {
		var err error
		from, err = again.Seek(0, io.SeekCurrent)
		ok = err == nil // which it is not for a pipe
	}
	if !ok {
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
		last = &parcel{Reader: body, closed: make(chan struct{})}
		return call[T](ctx, c, http.MethodPost, path, nil, header, last)
	})
}
