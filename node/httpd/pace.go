package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/p2p/bandwidth"
)

// pace is how fast a client has to be, at least, while it is waited for, and how fast it
// may be refused. How long an upload, a download or a stream of events takes altogether is
// not bounded.
type pace struct {
	// bodyBytes of a request's body have to come within bodyTime of waiting for them.
	bodyBytes int64
	bodyTime  time.Duration
	// answerBytes of an answer have to be taken within answerTime.
	answerBytes int
	answerTime  time.Duration
	// refused is how many requests of a token may be refused per second, submitted how
	// many jobs it may submit, hold about how long the answer to others is held back.
	refused, submitted float64
	hold               time.Duration
}

func defaultPace() pace {
	return pace{
		bodyBytes: 4 << 10, bodyTime: 30 * time.Second, answerBytes: 64 << 10, answerTime: time.Minute,
		refused: RefusedPerSecond, submitted: SubmittedPerSecond, hold: answerHold,
	}
}

// paced is a request's body that has to come at a pace, and to end.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	pace    pace
	limits  *limits
	// down is nil for what does not come over the network, ctx is the request's.
	down *bandwidth.Flow
	ctx  context.Context
	// most is how many bytes there may be, total how many there were.
	most, total int64
	// got came within waited; both begin anew with bodyBytes.
	got    int64
	waited time.Duration
	err    error
}

// slowError is the end of a body that does not come.
type slowError struct{ *api.Problem }

// Timeout has whoever knows nothing of problems take it for what it is.
func (slowError) Timeout() bool   { return true }
func (slowError) Temporary() bool { return false }
func (e slowError) Unwrap() error { return e.Problem }

// arm bounds the wait for the next bytes, also when nobody reads them: the server does
// before the next request.
func (p *paced) arm() { _ = p.control.SetReadDeadline(time.Now().Add(p.pace.bodyTime - p.waited)) }

// Read implements io.Reader. Its errors are *api.Problem where a limit is reached.
func (p *paced) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	p.arm()
	begin := time.Now()
	n, err := p.ReadCloser.Read(b)
	p.waited += time.Since(begin)
	if held := p.down.Wait(p.ctx, bandwidth.KindAPI, n); held != nil {
		p.err = held
		return 0, held
	}
	p.got += int64(n)
	if p.total += int64(n); p.total > p.most {
		p.limits.body.Inc()
		p.err = tooLarge(p.most)
		return 0, p.err
	}
	if p.got >= p.pace.bodyBytes {
		p.got, p.waited = 0, 0
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.limits.bodyPace.Inc()
		p.err = slowError{api.NewProblem(api.CodeTooSlow,
			fmt.Sprintf("fewer than %d bytes of the request's body came within %s", p.pace.bodyBytes, p.pace.bodyTime), "try again")}
		return 0, p.err
	case err != nil:
		// What comes next is not this request's.
		_ = p.control.SetReadDeadline(time.Time{})
		p.err = err
	}
	return n, err
}

// timed is an answer that has to be taken at a pace.
type timed struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    pace
	limit   prometheus.Counter
	// up is nil for what does not go over the network, ctx is the request's.
	up  *bandwidth.Flow
	ctx context.Context
}

func (t *timed) arm()    { _ = t.control.SetWriteDeadline(time.Now().Add(t.pace.answerTime)) }
func (t *timed) disarm() { _ = t.control.SetWriteDeadline(time.Time{}) }

// Write implements io.Writer.
func (t *timed) Write(b []byte) (written int, err error) {
	defer t.disarm()
	for {
		part := b[:min(len(b), t.pace.answerBytes)]
		if t.up.Wait(t.ctx, bandwidth.KindAPI, len(part)) != nil {
			// The last words of a request that has ended, to somebody who may still listen.
			t.up.Book(bandwidth.KindAPI, len(part))
		}
		t.arm()
		n, err := t.ResponseWriter.Write(part)
		written += n
		if b = b[len(part):]; err != nil || len(b) == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.limit.Inc()
			}
			return written, err
		}
	}
}

// Flush implements http.Flusher.
func (t *timed) Flush() {
	t.arm()
	defer t.disarm()
	if err := t.control.Flush(); errors.Is(err, os.ErrDeadlineExceeded) {
		t.limit.Inc()
	}
}

// Unwrap is how an http.ResponseController gets to the connection.
func (t *timed) Unwrap() http.ResponseWriter { return t.ResponseWriter }
