package span

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// WaitingMax bounds the spans that wait to be sent, batchMax those of one request.
	WaitingMax = 4096
	batchMax   = 512
	// sendInterval is how long spans gather, sendTimeout bounds one request with its
	// repetitions.
	sendInterval = time.Second
	sendTimeout  = 10 * time.Second
	// closeTimeout bounds how long Close takes to send what waits.
	closeTimeout = 2 * time.Second
	// attributeBytesMax bounds the text of an attribute.
	attributeBytesMax = 256
)

var (
	// ErrWaiting is logged, and counted, when spans are lost because as many as there
	// may be wait to be sent.
	ErrWaiting = errors.New("too many spans wait to be sent")
	// ErrEndpoint is returned by Config.Validate for an address to which no spans can
	// be sent.
	ErrEndpoint = errors.New("no address for spans")
)

// Config says where spans go.
type Config struct {
	// Endpoint is the URL to which OTLP is posted; empty sends nothing.
	Endpoint string
	// Node is this node's id, Name what it is called, Version the program's.
	Node, Name, Version string
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// Validate returns what is wrong with c, or nil.
func (c *Config) Validate() error {
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil:
		return fmt.Errorf("%w: it cannot be read: write one such as http://127.0.0.1:4318", ErrEndpoint)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%w: it does not begin with http:// or https:// and a host: write one such as http://127.0.0.1:4318", ErrEndpoint)
	case u.User != nil:
		return fmt.Errorf("%w: it holds a password: give that in OTEL_EXPORTER_OTLP_HEADERS", ErrEndpoint)
	}
	return nil
}

// Tracer sends spans. Its methods are safe for concurrent use; those of nil do nothing.
type Tracer struct {
	log      *slog.Logger
	metrics  *metrics
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	waiting  atomic.Int64
	// crowded says that spans are lost because too many wait.
	crowded atomic.Bool
}

// Open returns what sends spans to Config.Endpoint, or nil when that is empty. It does
// not ask whether anybody is there.
func Open(ctx context.Context, config Config) (*Tracer, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open tracer: %w", err)
	}
	m, err := newMetrics(config.Registerer)
	if err != nil || config.Endpoint == "" {
		return nil, err
	}
	t := &Tracer{log: config.Log, metrics: m}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	otlp, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(config.Endpoint), otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: sendInterval, MaxInterval: sendTimeout / 2, MaxElapsedTime: sendTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("open tracer: %w", err)
	}
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = attributeBytesMax
	t.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(chosen{}), sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "dugnad"), attribute.String("service.version", config.Version),
			attribute.String("service.instance.id", config.Node), attribute.String("dugnad.node.name", config.Name),
		)),
		// Here twice as many may wait, so that those that are too many are counted.
		sdk.WithBatcher(&sender{SpanExporter: otlp, t: t}, sdk.WithMaxQueueSize(2*WaitingMax), sdk.WithMaxExportBatchSize(batchMax),
			sdk.WithBatchTimeout(sendInterval), sdk.WithExportTimeout(sendTimeout)),
	)
	t.tracer = t.provider.Tracer("dugnad")
	return t, nil
}

// Close sends what waits, for a while, and ends the tracer. Spans that could not be sent
// are lost, which is no error.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("spans are lost", "err", err)
	}
	return nil
}

// Record takes a span to be sent. It never waits: one that is too many is lost.
func (t *Tracer) Record(s *Span) {
	if t == nil {
		return
	}
	if t.waiting.Add(1) > WaitingMax {
		t.waiting.Add(-1)
		t.metrics.limits.WithLabelValues("spans_waiting").Inc()
		if !t.crowded.Swap(true) {
			t.log.Warn("spans are lost", "err", fmt.Errorf("%w: at most %d", ErrWaiting, WaitingMax))
		}
		return
	}
	t.metrics.spans.Inc()
	kind, above := trace.SpanKindInternal, s.Below
	switch {
	case s.ID == s.Trace.Root:
		kind, above = trace.SpanKindServer, s.Trace.Above
	case above == ID{}:
		above = s.Trace.Root
	}
	ctx := context.WithValue(context.Background(), choice{}, s)
	if above != (ID{}) {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: s.Trace.ID, SpanID: trace.SpanID(above), TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	_, span := t.tracer.Start(ctx, s.Name, trace.WithTimestamp(s.Begin), trace.WithSpanKind(kind), trace.WithAttributes(s.Facts...))
	span.SetAttributes(Text("job", s.Trace.Job.String()))
	if s.Failed != "" {
		span.SetStatus(codes.Error, s.Failed)
	}
	span.End(trace.WithTimestamp(s.End))
}

// choice is the key of the span whose id is asked for.
type choice struct{}

// chosen gives spans the ids that they were recorded with.
type chosen struct{}

func (chosen) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	s, _ := ctx.Value(choice{}).(*Span)
	return s.Trace.ID, chosen{}.NewSpanID(ctx, s.Trace.ID)
}

func (chosen) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if s, _ := ctx.Value(choice{}).(*Span); s.ID != (ID{}) {
		return trace.SpanID(s.ID)
	}
	_, _ = rand.Read(id[:]) // it never fails
	return id
}

// sender sends batches, and says when that begins to go wrong and when it works again.
type sender struct {
	sdk.SpanExporter
	t      *Tracer
	failed bool
}

// ExportSpans is called by one goroutine at a time. What goes wrong is said here, and not
// to the library, which would print it.
func (s *sender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	s.sent(len(spans), s.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

// sent notes that spans were sent, or lost with an error.
func (s *sender) sent(spans int, err error) {
	t := s.t
	t.waiting.Add(int64(-spans))
	t.crowded.Store(false)
	if err != nil {
		t.metrics.lost.Add(float64(spans))
	}
	switch failed := err != nil; {
	case failed && !s.failed:
		t.log.Warn("spans cannot be sent", "err", err)
	case !failed && s.failed:
		t.log.Info("spans are sent again")
	}
	s.failed = err != nil
}

// metrics are one tracer's; those that share a Registerer share them.
type metrics struct {
	spans, lost prometheus.Counter
	limits      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var err error
	metric.Register(reg, &m.spans, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dugnad_span_recorded_total", Help: "Spans of traces that were recorded here.",
	}), &err)
	metric.Register(reg, &m.lost, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dugnad_span_lost_total", Help: "Spans that nobody took.",
	}), &err)
	metric.Register(reg, &m.limits, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dugnad_span_limit_reached_total", Help: "How often a limit had a span lost, by limit.",
	}, []string{"limit"}), &err)
	return m, err
}
