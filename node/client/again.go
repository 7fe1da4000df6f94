package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"time"

	"github.com/dugnad/dugnad/node/api"
)

const (
	// PatienceDefault is Config.Patience unless it says otherwise: a node starts
	// within that, with its ledger.
	PatienceDefault = time.Minute
	// againLeast and againMost bound the wait before a call is tried again; half of it
	// is left to chance.
	againLeast, againMost = 50 * time.Millisecond, 2 * time.Second
)

// cutError is an error of a connection on the way, after which it is not known
// whether the node has heard the call.
type cutError struct{ err error }

func (e cutError) Error() string { return e.err.Error() }
func (e cutError) Unwrap() error { return e.err }

// dialError says that the node was not reached at all.
type dialError struct{ err error }

func (e dialError) Error() string { return e.err.Error() }
func (e dialError) Unwrap() error { return e.err }

// passing reports whether a call that may be repeated is worth it: its node was
// there and restarts, the connection was cut, or the node says so.
func (c *Client) passing(ctx context.Context, err error) bool {
	var problem *api.Problem
	switch {
	case ctx.Err() != nil:
		return false
	case errors.As(err, &problem):
		return problem.Code == api.CodeStopping || problem.Code == api.CodeOverloaded || problem.Code == api.CodeUncertain ||
			problem.Code == api.CodeTooOften ||
			// The transport has sent the request once more, or the node has just started.
			problem.Code == api.CodeTokenReplayed
	case errors.As(err, new(dialError)):
		return c.met.Load()
	}
	return errors.As(err, new(cutError))
}

// trial is the time that a call has.
type trial struct {
	c *Client
	// since is when it failed first, zero before.
	since time.Time
	wait  time.Duration
}

// again waits before the next try after err. It returns false when there is to be
// none.
func (t *trial) again(ctx context.Context, err error) bool {
	if !t.c.passing(ctx, err) {
		return false
	}
	if t.since.IsZero() {
		t.since, t.wait = time.Now(), max(t.wait, againLeast)
		if t.c.retrying != nil {
			t.c.retrying(err)
		}
	}
	wait := t.wait/2 + randv2.N(t.wait/2)
	if problem := new(api.Problem); errors.As(err, &problem) && problem.Code == api.CodeTooOften {
		wait += time.Duration(problem.RetryAfter) * time.Second
	}
	if time.Since(t.since)+wait > t.c.patience {
		return false
	}
	t.wait = min(2*t.wait, againMost)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// heard gives the call all its time again, as the node has answered; the next wait
// is no shorter.
func (t *trial) heard() { t.since = time.Time{} }

// over begins anew, as the call got further.
func (t *trial) over() { *t = trial{c: t.c} }

// repeat calls try until it succeeds, or there is no use in another call.
func repeat[T any](ctx context.Context, c *Client, try func() (T, error)) (T, error) {
	for t := (trial{c: c}); ; {
		v, err := try()
		if err == nil || !t.again(ctx, err) {
			return v, err
		}
	}
}

// causeCancelled is the ledger's cause of a job that was cancelled.
const causeCancelled = "cancelled"

// settle repeats a call that is refused, with a code, when it has been done before.
// If that may have been by an earlier try, done finds out, and has the answer.
func settle[T any](ctx context.Context, c *Client, refusal api.Code, try func() (T, error), done func() (T, bool)) (T, error) {
	tried := false
	return repeat(ctx, c, func() (T, error) {
		v, err := try()
		var problem *api.Problem
		if tried && errors.As(err, &problem) && problem.Code == refusal {
			if answer, ok := done(); ok {
				return answer, nil
			}
		}
		tried = true
		return v, err
	})
}

// NewKey makes a key for Submit that is also the id of the job. Ids sort by time.
func NewKey() (string, error) {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16)
	if _, err := rand.Read(id[6:]); err != nil {
		return "", fmt.Errorf("make a job's id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}
