package httpd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/turnstile"
)

const (
	// RequestsPerSecondLocal is RequestsPerSecondDefault for a token at a port on
	// loopback, whose requests come by no network: about what the jobs of one client keep
	// a node busy with.
	RequestsPerSecondLocal = 1000
	// RefusedPerSecond is how many requests of a token that would change something may be
	// refused per second, in the long run, and be looked at all the same.
	RefusedPerSecond = 50
	// SubmittedPerSecond is how many jobs a token may submit per second, in the long run.
	// Who has more work has it in jobs of many tasks.
	SubmittedPerSecond = 50
	// answerHold is how long the answer to a request is held back that came beyond these,
	// half as long to half as long again: whoever asks again at once is busy waiting, and
	// not the node with answering, and those that are answered together do not come back
	// together.
	answerHold = time.Second
	// heldMax bounds the answers that are held back from one token, heldAllMax from all.
	// Beyond, the answer comes at once, and the connection is closed.
	heldMax, heldAllMax = turnstile.PerOwnerMax, turnstile.ConnectionsMax
)

// holders bound what those ask for, at a port, who hold a token or what was made of it.
// They are known by its first delegation.
//
// Only requests whose proof was verified count. What is beyond a bound is refused before
// that, by the chain alone: who shows somebody else's chain can find out that its holder
// is busy, and not make it so.
type holders struct {
	requests, refused, submitted *rates

	limits *limits
	hold   time.Duration

	mu   sync.Mutex
	held map[string]int
	all  int
}

func newHolders(perSecond float64, p pace, l *limits) *holders {
	return &holders{
		requests: newRates(perSecond), refused: newRates(p.refused), submitted: newRates(p.submitted), limits: l, hold: p.hold, held: map[string]int{},
	}
}

// holdersOf returns the bounds at the port that a request has come to, nil where it has
// come to none.
func holdersOf(ctx context.Context) *holders {
	if f, _ := ctx.Value(surfaceKey{}).(*surface); f != nil {
		return f.holders
	}
	return nil
}

// excess is the refusal of a request that is beyond a bound of its token.
type excess struct {
	*api.Problem
	holders *holders
	key     string
	// closes says that the connection is one too many.
	closes bool
}

// Unwrap gives the problem to whoever answers with it.
func (e *excess) Unwrap() error { return e.Problem }

// early returns why a request is refused by what its token has asked for before; nil
// when it is not. It counts nothing.
func (h *holders) early(r *http.Request, key string) error {
	if h == nil {
		return nil
	}
	now := time.Now()
	if !onlyReads(r.Method) {
		if wait := h.refused.ahead(key, now); wait > 0 {
			h.limits.refused.Inc()
			return h.excess(key, wait, fmt.Sprintf("at most %g requests per second by this token may be refused", float64(h.refused.every)), "look why they are refused")
		}
	}
	if r.Method == http.MethodPost && r.URL.Path == jobsPath {
		if wait := h.submitted.ahead(key, now); wait > 0 {
			h.limits.submitted.Inc()
			return h.excess(key, wait, fmt.Sprintf("at most %g jobs per second may be submitted by this token", float64(h.submitted.every)), "submit one job of many tasks (count)")
		}
	}
	if wait := h.requests.ahead(key, now); wait > 0 {
		return h.tooOften(key, wait)
	}
	if turnstile.Crowded(r.Context(), key) {
		return h.tooMany(key)
	}
	return nil
}

// count counts a request whose proof was verified, and its connection.
func (h *holders) count(ctx context.Context, key string) error {
	if h == nil {
		return nil
	}
	if wait := h.requests.wait(key, time.Now()); wait > 0 {
		return h.tooOften(key, wait)
	}
	if !turnstile.Claim(ctx, key) {
		return h.tooMany(key)
	}
	return nil
}

func (h *holders) tooOften(key string, wait time.Duration) error {
	h.limits.rate.Inc()
	return h.excess(key, wait, fmt.Sprintf("at most %g requests per second by this token", float64(h.requests.every)), "wait before the next one")
}

func (h *holders) tooMany(key string) error {
	e := h.excess(key, time.Second, fmt.Sprintf("at most %d connections by this token, and all of them are busy", turnstile.PerOwnerMax), "use them again, or HTTP/2")
	e.closes = true
	return e
}

func (h *holders) excess(key string, wait time.Duration, detail, help string) *excess {
	p := api.NewProblem(api.CodeTooOften, detail, help)
	p.RetryAfter = int(math.Ceil(wait.Seconds()))
	return &excess{Problem: p, holders: h, key: key}
}

// wait holds the answer back, or until the request has ended. It returns false when the
// connection is to be closed: so many are held back already, or it is one too many.
func (e *excess) wait(ctx context.Context) bool {
	h := e.holders
	if !h.enter(e.key) {
		h.limits.held.Inc()
		return false
	}
	defer h.leave(e.key)
	timer := time.NewTimer(h.hold/2 + rand.N(h.hold+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return !e.closes
}

func (h *holders) enter(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[key] >= heldMax || h.all >= heldAllMax {
		return false
	}
	h.held[key]++
	h.all++
	return true
}

func (h *holders) leave(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.held[key]--; h.held[key] == 0 {
		delete(h.held, key)
	}
}

// delay holds the answer back where a request was beyond a bound of its token. HTTP/3 has
// no word for the end of a connection.
func delay(w http.ResponseWriter, r *http.Request, err error) {
	var e *excess
	if errors.As(err, &e) && !e.wait(r.Context()) && r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close")
	}
}

// countOutcome is the middleware that counts the requests of a token by what came of
// them: those that would have changed something, and were refused, and jobs that were
// taken.
func countOutcome(c huma.Context, next func(huma.Context)) {
	next(c)
	a, h := who(c.Context()), holdersOf(c.Context())
	if h == nil || len(a.IDs) == 0 || onlyReads(c.Method()) {
		return
	}
	switch status := c.Status(); {
	case status >= 400 && status < 500:
		h.refused.charge(a.key(), time.Now())
	case status < 300 && c.Operation().OperationID == submitJob:
		h.submitted.charge(a.key(), time.Now())
	}
}

// key is what holders know the token by that somebody holds.
func (a *asker) key() string { return string(a.IDs[0][:]) }
