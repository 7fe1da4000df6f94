package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

const (
	// eventsRead bounds the events that are read at once.
	eventsRead = 128
	// reconnectMillis is after how long a client asks again.
	reconnectMillis = 500
)

type eventQuery struct {
	ID   string `path:"id"`
	Last string `header:"Last-Event-ID" doc:"Continue behind this event"`
	From uint32 `query:"from" doc:"Begin with this event; 0 is the oldest that is kept"`
}

// events registers the stream of a job's events.
func (s *server) events(a huma.API) {
	o := huma.Operation{
		OperationID: "watch-job", Method: http.MethodGet, Path: api.Prefix + "/jobs/{id}/events", Summary: "Follow a job's events", Tags: []string{"jobs"},
		Description: "Server-sent events, each an Event with its number as its id. The stream ends with the job; it continues behind Last-Event-ID.",
	}
	o.Responses = map[string]*huma.Response{"200": {Description: "Events", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: a.OpenAPI().Components.Schemas.Schema(eventType, true, "Event")},
	}}}
	huma.Register(a, o, s.watch)
}

func (s *server) watch(ctx context.Context, q *eventQuery) (*huma.StreamResponse, error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	w := watcher{server: s, asker: who(ctx), id: id, next: max(q.From, 1)}
	if last, wrong := strconv.ParseUint(q.Last, 10, 32); wrong == nil {
		w.next = uint32(last) + 1
	}
	from, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		_, err := who(ctx).job(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "text/event-stream")
		c.SetHeader("Cache-Control", "no-store")
		w.out = c.BodyWriter()
		done, err := w.look()
		if err == nil && !done {
			err = s.follow(ctx, id, from, w.look)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Info("stream of events ended early", "job", id, "err", err)
		}
	}}, nil
}

// watcher sends a job's events from next on.
type watcher struct {
	*server
	asker *asker
	id    ledger.JobID
	next  uint32
	out   io.Writer
}

// look sends what is new and reports whether that was all.
func (w *watcher) look() (done bool, err error) {
	for {
		var list []ledger.Event
		if _, err := w.Ledger.View(func(tx ledger.Tx) error {
			j, err := w.asker.job(tx, w.id)
			if err != nil {
				return err
			}
			list, err = ledger.Events(tx, w.id, w.next, eventsRead)
			done = j.State.Final() && len(list) < eventsRead
			return err
		}); err != nil {
			return true, err
		}
		if err := w.send(list); err != nil || len(list) < eventsRead {
			return done, err
		}
	}
}

func (w *watcher) send(list []ledger.Event) error {
	for i := range list {
		w.next = list[i].Number + 1
		data, err := json.Marshal(event(&list[i]))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w.out, "id: %d\nretry: %d\ndata: %s\n\n", list[i].Number, reconnectMillis, data); err != nil {
			return err
		}
	}
	if f, ok := w.out.(http.Flusher); ok {
		f.Flush()
	}
	return nil
}
