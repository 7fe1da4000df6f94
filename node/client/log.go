package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/dugnad/dugnad/node/api"
)

// LogQuery says what of a task's output is wanted.
type LogQuery struct {
	// Stream is stdout or stderr; empty is both.
	Stream string
	// Tail leaves out what is further from the end, in bytes, of what is there already; 0
	// is nothing.
	Tail uint64
}

// errLogsEarly is returned for a stream of output that has ended before its task, again
// and again.
var errLogsEarly = errors.New("output of the task ends before the task has ended")

// Logs calls visit with what a task puts out, as it comes, until the task has ended,
// visit returns an error, which Logs returns, or ctx ends. It goes on where it was when
// the connection is cut.
func (c *Client) Logs(ctx context.Context, id string, index uint32, q LogQuery, visit func(api.Log) error) error {
	after := ""
	return c.hold(ctx, errLogsEarly, func(t *trial) (bool, error) {
		return c.logs(ctx, id, index, q, &after, t, visit)
	})
}

// logs reads one stream, from behind the event after on, and reports whether it has told
// the task's end.
func (c *Client) logs(ctx context.Context, id string, index uint32, q LogQuery, after *string, t *trial, visit func(api.Log) error) (ended bool, err error) {
	path := fmt.Sprintf("/jobs/%s/tasks/%d/logs", url.PathEscape(id), index)
	h := http.Header{"Accept": {"text/event-stream"}}
	if *after != "" {
		h.Set("Last-Event-ID", *after)
	}
	res, err := c.send(ctx, http.MethodGet, path, query{"stream": q.Stream, "tail": number(q.Tail)}, h, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	err = visitEvents(res.Body, func(event string, l api.Log) error {
		*after = event
		t.over()
		if err := visit(l); err != nil {
			return visitError{err}
		}
		ended = ended || l.Kind == api.LogEnded
		return nil
	})
	return ended, err
}
