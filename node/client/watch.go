package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/node/api"
)

// eventBytesMax bounds a line of the stream of events.
const eventBytesMax = 1 << 20

// Watch calls visit with a job's events from one on, in order and each once, until
// the job has ended, visit returns an error, which Watch returns, or ctx ends. It
// asks again when the connection is cut.
func (c *Client) Watch(ctx context.Context, id string, from uint32, visit func(api.Event) error) error {
	next := max(from, 1)
	return c.hold(ctx, errEarly, func(t *trial) (ended bool, err error) {
		ended, err = c.watch(ctx, id, &next, t, visit)
		return ended || err == nil && c.told(ctx, id, next), err
	})
}

// hold opens a stream again until it has ended as it should, open returns a visitError,
// whose error hold returns, or ctx ends. early is the error of a stream that is cut off
// again and again.
func (c *Client) hold(ctx context.Context, early error, open func(t *trial) (ended bool, err error)) error {
	for t := (trial{c: c}); ; {
		ended, err := open(&t)
		var mine visitError
		switch {
		case errors.As(err, &mine):
			return mine.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && ended:
			return nil
		case err == nil:
			err = cutError{early}
		}
		if !t.again(ctx, err) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// errEarly is returned for a stream of events that has ended before its job, again
// and again.
var errEarly = errors.New("events of the job end before the job has ended")

// told reports whether a job has ended and has no event from next on.
func (c *Client) told(ctx context.Context, id string, next uint32) bool {
	j, err := c.Job(ctx, id, Fresh{})
	return err == nil && j.Final() && j.Events < next
}

// visitError is an error of the caller's own.
type visitError struct{ err error }

func (e visitError) Error() string { return e.err.Error() }

// watch reads one stream and reports whether it has told the job's end.
func (c *Client) watch(ctx context.Context, id string, next *uint32, t *trial, visit func(api.Event) error) (ended bool, err error) {
	h := http.Header{"Accept": {"text/event-stream"}, "Last-Event-ID": {strconv.FormatUint(uint64(*next-1), 10)}}
	res, err := c.send(ctx, http.MethodGet, "/jobs/"+url.PathEscape(id)+"/events", nil, h, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	t.heard()
	err = visitEvents(res.Body, func(_ string, e api.Event) error {
		if e.Number < *next {
			return nil
		}
		*next = e.Number + 1
		t.over()
		if err := visit(e); err != nil {
			return visitError{err}
		}
		ended = ended || e.Job != ""
		return nil
	})
	return ended, err
}

// visitEvents calls visit with each event of a stream and its id. Only the stream's own
// errors are a cutError.
func visitEvents[E any](r io.Reader, visit func(id string, e E) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, eventBytesMax)
	id, data := "", ""
	for lines.Scan() {
		line := lines.Text()
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			data = text
		} else if text, ok := strings.CutPrefix(line, "id: "); ok {
			id = text
		}
		// Only the empty line says that the one before was not cut short.
		if line != "" || data == "" {
			continue
		}
		var e E
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		data = ""
		if err := visit(id, e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		return cutError{err}
	}
	return nil
}
