package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/runtime/lint"
)

const (
	// alternativeAge is how long a client may remember that there is HTTP/3.
	alternativeAge = 24 * time.Hour
	// fieldBytes is what a header's field counts besides its name and value, as in
	// HTTP/2 and HTTP/3.
	fieldBytes = 32
)

// limits count what they refuse.
type limits struct {
	header, body, rate, refused, submitted, held, bodyPace, answerPace, quic prometheus.Counter
}

func newLimits(reg prometheus.Registerer) (*limits, error) {
	v, err := turnstile.Limits(reg)
	if err != nil {
		return nil, err
	}
	of := v.WithLabelValues
	return &limits{
		header: of("header_bytes"), body: of("body_bytes"), rate: of("requests_per_second"), refused: of("refused_per_second"),
		submitted: of("submitted_per_second"), held: of("held_answers"),
		bodyPace: of("body_pace"), answerPace: of("answer_pace"), quic: of("quic_connections"),
	}, nil
}

// surface is what requests pass before they are answered.
type surface struct {
	next    http.Handler
	limits  *limits
	origins *origins
	audit   *audit.Log
	// strangers counts requests of pages of other origins.
	strangers      prometheus.Counter
	pace           pace
	rates          *rates // of addresses; nil is no bound
	holders        *holders
	objectBytesMax int64
	// down and up bound what other machines send and get.
	down, up *bandwidth.Flow
	// exposed says that other machines reach the port.
	exposed bool
	// alternative says where HTTP/3 is, empty where it is not.
	alternative string
	// ended ends all requests.
	ended context.Context
}

// ServeHTTP lets a request in, or says why not.
func (f *surface) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if f.alternative != "" && r.ProtoMajor < 3 {
		w.Header().Set("Alt-Svc", f.alternative)
	}
	if p := f.refusal(r); p != nil {
		refuse(w, p)
		return
	}
	if f.origins.preflight(w, r) {
		return
	}
	if err := f.origins.Check(r); err != nil {
		f.strangers.Inc()
		f.audit.Note(audit.Record{From: r.RemoteAddr, Who: audit.Unknown, Operation: r.Method + " " + r.URL.Path, Code: string(api.CodeCrossOrigin)})
		refuse(w, api.NewProblem(api.CodeCrossOrigin, "a page of another origin has sent this", "list its origin with --api-cors"))
		return
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), surfaceKey{}, f))
	defer context.AfterFunc(f.ended, cancel)()
	defer cancel()
	r = r.WithContext(ctx)
	out := &timed{ResponseWriter: w, control: http.NewResponseController(w), pace: f.pace, limit: f.limits.answerPace, ctx: ctx}
	var down *bandwidth.Flow
	if crosses(r) {
		out.up, down = f.up, f.down
	}
	if r.Body != nil && r.Body != http.NoBody {
		body := &paced{ReadCloser: r.Body, control: out.control, pace: f.pace, most: f.bodyBytesMax(r), limits: f.limits, ctx: ctx, down: down}
		body.arm()
		r.Body = body
	}
	if r.ProtoMajor == 1 {
		out.disarm() // what the request before has left
	}
	defer out.arm() // for what the server still holds
	f.next.ServeHTTP(out, r)
}

// crosses reports whether a request comes over the network.
func crosses(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return err == nil && !from.Addr().Unmap().IsLoopback() && (local == nil || placeOf(local).at.Addr().Unmap() != from.Addr().Unmap())
}

// refusal returns what is wrong with a request before anything is done for it.
func (f *surface) refusal(r *http.Request) *api.Problem {
	if n := headerBytes(r); n > headerBytesMax {
		f.limits.header.Inc()
		return api.NewProblem(api.CodeHeaderTooLarge, fmt.Sprintf("the request's header has %d bytes, at most %d", n, headerBytesMax), "send less with it")
	}
	if wait := f.rates.wait(addressKey(r.RemoteAddr), time.Now()); wait > 0 {
		return f.tooOften(wait)
	}
	if most := f.bodyBytesMax(r); r.ContentLength > most {
		f.limits.body.Inc()
		return tooLarge(most)
	}
	return nil
}

// unauthorized refuses everything, where tokens are needed and nothing demands them.
func unauthorized(w http.ResponseWriter, _ *http.Request) {
	refuse(w, api.NewProblem(api.CodeUnauthorized, "requests from other machines need a token", "ask on the node's own machine"))
}

type surfaceKey struct{}

// exposed reports whether a request has come to a port that other machines reach, by
// whatever way.
func exposed(ctx context.Context) bool {
	f, _ := ctx.Value(surfaceKey{}).(*surface)
	return f != nil && f.exposed
}

func (f *surface) tooOften(wait time.Duration) *api.Problem {
	f.limits.rate.Inc()
	p := api.NewProblem(api.CodeTooOften, fmt.Sprintf("at most %g requests per second", float64(f.rates.every)), "wait before the next one")
	p.RetryAfter = int(math.Ceil(wait.Seconds()))
	return p
}

func tooLarge(most int64) *api.Problem {
	return api.NewProblem(api.CodeTooLarge, fmt.Sprintf("the request's body has more than %d bytes", most), "put large parts into objects, or in several")
}

// bodyBytesMax bounds the body of a request by what it is for.
func (f *surface) bodyBytesMax(r *http.Request) int64 {
	switch what, _ := strings.CutPrefix(r.URL.Path, api.Prefix); {
	case r.Method == http.MethodPost && what == "/modules":
		return int64(lint.Default().ModuleBytes)
	case r.Method == http.MethodPost && what == "/objects" && f.objectBytesMax > 0:
		return f.objectBytesMax
	case r.Method == http.MethodPost && what == "/objects":
		return math.MaxInt64
	}
	return api.JobBytesMax
}

// headerBytes counts a request's header about as HTTP/2 does.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host)
	if r.RequestURI == "" {
		n += len(r.URL.String())
	}
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + fieldBytes
		}
	}
	return n
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "UCAN")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whoever has gone misses nothing
}
