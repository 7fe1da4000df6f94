package cli

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/dugnad/dugnad/node/span"
)

// traceEndpoint is where OpenTelemetry has collectors by default.
const traceEndpoint = "http://localhost:4318"

// collector returns the URL to which spans are posted: --trace-endpoint, or with --trace
// what OpenTelemetry's variables say. Empty is that nothing is traced.
func (f *upFlags) collector(environ []string) (string, error) {
	from, base := "--trace-endpoint", f.traceEndpoint
	switch {
	case base != "":
	case !f.trace:
		return "", nil
	case lookup(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "":
		whole := lookup(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
		return whole, checkCollector("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole)
	case lookup(environ, "OTEL_EXPORTER_OTLP_ENDPOINT") != "":
		from, base = "OTEL_EXPORTER_OTLP_ENDPOINT", lookup(environ, "OTEL_EXPORTER_OTLP_ENDPOINT")
	default:
		base = traceEndpoint
	}
	if err := checkCollector(from, base); err != nil {
		return "", err
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	if from != "--trace-endpoint" || u.Path == "" || u.Path == "/" {
		u = u.JoinPath("v1", "traces")
	}
	return u.String(), nil
}

// checkCollector returns what is wrong with an address, without it: there may be a
// password in it.
func checkCollector(from, address string) error {
	config := span.Config{Endpoint: address}
	if err := config.Validate(); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}

// traceparent returns the place in a trace of whoever has started this program, as
// OpenTelemetry's programs pass it on in the environment; empty is none. What is not
// well formed is none, as it is in a header.
func traceparent(environ []string) string {
	if strings.EqualFold(lookup(environ, "OTEL_SDK_DISABLED"), "true") {
		return ""
	}
	trace, above, ok := span.Parent(lookup(environ, "TRACEPARENT"))
	if !ok {
		return ""
	}
	return span.FormatParent(trace, above)
}
