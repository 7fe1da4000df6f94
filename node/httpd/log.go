package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// followAgainLeast and followAgainMost bound the wait before a node that does not let a
	// task be followed is asked again.
	followAgainLeast, followAgainMost = 50 * time.Millisecond, 2 * time.Second
	// liveInterval is how often it is looked, while output comes, whether who follows
	// still may.
	liveInterval = time.Second
)

type logQuery struct {
	ID     string `path:"id"`
	Task   uint32 `path:"task"`
	Stream string `query:"stream" enum:"stdout,stderr," doc:"Only this stream"`
	Tail   uint64 `query:"tail" doc:"Leave out what is further from the end, in bytes, of a stream that has more when it is first read; 0 is as far as the node keeps, 16 MiB while the task runs"`
	After  string `query:"after" doc:"Continue behind the event with this id"`
	Last   string `header:"Last-Event-ID" doc:"The same, and goes before it"`
}

// logs registers the stream of what a task puts out.
func (s *server) logs(a huma.API) {
	o := huma.Operation{
		OperationID: "follow-task", Method: http.MethodGet, Path: api.Prefix + "/jobs/{id}/tasks/{task}/logs", Summary: "Follow what a task puts out", Tags: []string{"tasks"},
		Description: "Server-sent events, each a Log. The stream waits for the task, goes on through all its attempts from the present one, and ends with an event of kind ended.",
	}
	o.Responses = map[string]*huma.Response{"200": {Description: "What the task puts out", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: a.OpenAPI().Components.Schemas.Schema(logType, true, "Log")},
	}}}
	huma.Register(a, o, s.followTask)
}

func (s *server) followTask(ctx context.Context, q *logQuery) (*huma.StreamResponse, error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	r := &logReader{server: s, asker: who(ctx), id: id, index: q.Task, back: q.Tail}
	r.want = [tail.Streams]bool{tail.Stdout: q.Stream != "stderr", tail.Stderr: q.Stream != "stdout"}
	after := q.Last
	if after == "" {
		after = q.After
	}
	if after != "" {
		if r.mark, err = parseMark(after); err != nil {
			return nil, err
		}
	}
	if _, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		_, err := r.task(tx)
		return err
	}); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "text/event-stream")
		c.SetHeader("Cache-Control", "no-store")
		r.out = c.BodyWriter()
		if err := r.serve(ctx); err != nil && ctx.Err() == nil {
			s.log.Info("stream of a task's output ended early", "job", id, "task", q.Task, "err", err)
		}
	}}, nil
}

// mark is how far a reader is: the lease, the run of the guest there, and what was read
// of each stream. Its text is the id of an event.
type mark struct {
	epoch ledger.Epoch
	run   uint64
	at    [tail.Streams]uint64
}

func (p *mark) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", p.epoch, p.run, p.at[tail.Stdout], p.at[tail.Stderr])
}

// parseMark is the inverse of mark.String.
func parseMark(text string) (p mark, err error) {
	_, err = fmt.Sscanf(text, "%d.%d.%d.%d", &p.epoch, &p.run, &p.at[tail.Stdout], &p.at[tail.Stderr])
	if err != nil || p.String() != text || max(p.at[tail.Stdout], p.at[tail.Stderr]) > math.MaxInt64 {
		return mark{}, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%q is no id of an event of a task's output", text), "use one that such an event had")
	}
	return p, nil
}

// logReader sends what a task puts out, from mark on.
type logReader struct {
	*server
	asker *asker
	id    ledger.JobID
	index uint32
	want  [tail.Streams]bool
	// back is how much of what is there already is wanted of each stream; 0 is all.
	back uint64
	mark
	// sizes is what the attempt has written, as far as its node has said; known says that
	// these are all.
	sizes [tail.Streams]uint64
	known bool
	// checked is when it was last looked whether the asker may read.
	checked time.Time
	out     io.Writer
}

// task returns the task, when the asker may know of it.
func (r *logReader) task(tx ledger.Tx) (ledger.Task, error) {
	if _, err := r.asker.job(tx, r.id); err != nil {
		return ledger.Task{}, err
	}
	return ledger.FindTask(tx, r.id, r.index)
}

func (r *logReader) look() (t ledger.Task, index uint64, err error) {
	index, err = r.Ledger.View(func(tx ledger.Tx) error {
		t, err = r.task(tx)
		return err
	})
	return t, index, err
}

// serve sends all attempts from the present one on, until the task has ended.
func (r *logReader) serve(ctx context.Context) error {
	if err := r.write([]byte(":\n\n")); err != nil {
		return err
	}
	for ctx.Err() == nil {
		t, index, err := r.look()
		if err != nil {
			return err
		}
		if t.State.Final() {
			return r.finish(ctx, &t)
		}
		if t.Epoch != r.epoch {
			if err := r.attempt(ctx, &t); err != nil {
				return err
			}
		}
		if err := r.live(ctx, &t, index); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// attempt goes on to an attempt, or to when there will be one, with what is left of the
// one before.
func (r *logReader) attempt(ctx context.Context, t *ledger.Task) error {
	if err := r.complete(ctx); err != nil || t.Node == "" {
		return err
	}
	return r.begin(t.Attempt, t.Node, t.Epoch)
}

func (r *logReader) begin(attempt uint32, node ledger.NodeID, epoch ledger.Epoch) error {
	r.mark, r.known = mark{epoch: epoch}, false
	return r.send(api.Log{Kind: api.LogAttempt, Attempt: attempt, Node: string(node), Epoch: uint64(epoch)})
}

// live follows the task at its node until the ledger says something else of it.
func (r *logReader) live(ctx context.Context, t *ledger.Task, index uint64) error {
	following, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		if t.Node == "" || r.Tails == nil {
			return
		}
		if err := r.tail(following, t); err != nil {
			cancel(err)
		}
	}()
	err := r.follow(following, r.id, index, func() (bool, error) {
		now, _, err := r.look()
		return now.State.Final() || now.Epoch != t.Epoch || now.Node != t.Node, err
	})
	if following.Err() != nil {
		err = context.Cause(following)
	}
	cancel(nil)
	<-followed
	return err
}

// tail sends what the task's node has of its output, and asks that again when the way
// there is cut. Its error is that of the way to the client, or why ctx has ended.
func (r *logReader) tail(ctx context.Context, t *ledger.Task) error {
	said := false
	for wait := followAgainLeast; ; wait = min(2*wait, followAgainMost) {
		q := tail.Query{Job: r.id, Index: r.index, Epoch: t.Epoch, Want: r.want, From: r.at, Run: r.run, Back: r.back}
		var sending error
		err := r.Tails.Follow(ctx, t.Node, q, func(p tail.Piece) error {
			wait, said = followAgainLeast, false
			sending = r.piece(t, &p)
			return sending
		})
		switch {
		case sending != nil:
			return sending
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !said && !errors.Is(err, tail.ErrNotHere):
			said = true
			if err := r.send(api.Log{Kind: api.LogDelayed, Reason: delayOf(err)}); err != nil {
				return err
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// delayOf says in a few words why a node does not let a task be followed.
func delayOf(err error) string {
	var f *rpc.Fault
	switch {
	case errors.As(err, &f):
		return f.Text
	case errors.Is(err, rpc.ErrBusy):
		return rpc.ErrBusy.Error()
	}
	return "the node does not answer"
}

// piece sends what the task's node has told.
func (r *logReader) piece(t *ledger.Task, p *tail.Piece) error {
	switch p.Kind {
	case tail.Begun:
		if r.run != 0 && p.Run != 0 && p.Run != r.run {
			if err := r.begin(t.Attempt, t.Node, t.Epoch); err != nil {
				return err
			}
		}
		if p.Run != 0 {
			r.run = p.Run
		}
	case tail.Output:
		return r.output(p.Stream, p.At, p.Data)
	case tail.Ended:
		r.sizes, r.known = p.Sizes, true
	}
	return nil
}

// output sends a piece of a stream, and before it that something was left out.
func (r *logReader) output(stream tail.Stream, at uint64, data []byte) error {
	if err := r.skip(stream, at); err != nil {
		return err
	}
	l := api.Log{Kind: api.LogOutput, Stream: stream.String(), At: at}
	if utf8.Valid(data) {
		l.Text = string(data)
	} else {
		l.Base64 = data
	}
	r.at[stream] = at + uint64(len(data))
	return r.send(l)
}

// skip says that what is before at does not come, unless it has.
func (r *logReader) skip(stream tail.Stream, at uint64) error {
	from := r.at[stream]
	if !r.want[stream] || at <= from {
		return nil
	}
	r.at[stream] = at
	return r.send(api.Log{Kind: api.LogLeftOut, Stream: stream.String(), At: from, Bytes: at - from})
}

// send sends an event, to who may still read.
func (r *logReader) send(l api.Log) error {
	if now := time.Now(); now.Sub(r.checked) >= liveInterval {
		if _, _, err := r.look(); err != nil {
			return err
		}
		r.checked = now
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return r.write(fmt.Appendf(nil, "id: %s\nretry: %d\ndata: %s\n\n", &r.mark, reconnectMillis, data))
}

func (r *logReader) write(b []byte) error {
	if _, err := r.out.Write(b); err != nil {
		return err
	}
	if f, ok := r.out.(http.Flusher); ok {
		f.Flush()
	}
	return nil
}
