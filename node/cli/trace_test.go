package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/span"
)

// TestCollector: where spans go, by flags and by OpenTelemetry's variables.
func TestCollector(t *testing.T) {
	const general, traces = "OTEL_EXPORTER_OTLP_ENDPOINT=", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="
	tests := map[string]struct {
		flags   upFlags
		environ []string
		want    string
	}{
		"off":                  {environ: []string{general + "http://a:1"}},
		"flag":                 {flags: upFlags{traceEndpoint: "http://a:1"}, want: "http://a:1/v1/traces"},
		"flag with a path":     {flags: upFlags{traceEndpoint: "https://a/x"}, want: "https://a/x"},
		"flag before variable": {flags: upFlags{traceEndpoint: "http://a:1/"}, environ: []string{general + "http://b:2"}, want: "http://a:1/v1/traces"},
		"nothing said":         {flags: upFlags{trace: true}, want: "http://localhost:4318/v1/traces"},
		"variable":             {flags: upFlags{trace: true}, environ: []string{general + "http://b:2/base"}, want: "http://b:2/base/v1/traces"},
		"variable for traces":  {flags: upFlags{trace: true}, environ: []string{general + "http://b:2", traces + "http://c:3/t"}, want: "http://c:3/t"},
	}
	for name, tt := range tests {
		if got, err := tt.flags.collector(tt.environ); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	for _, bad := range []string{"a:1", "ftp://a", "http://", "http://me:s3cret@a", "http://s3cret%zz", "://s3cret"} {
		for _, f := range []upFlags{{traceEndpoint: bad}, {trace: true}} {
			for _, name := range []string{general, traces} {
				_, err := f.collector([]string{name + bad})
				if !errors.Is(err, span.ErrEndpoint) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%q: %v, want %v", bad, err, span.ErrEndpoint)
				}
			}
		}
	}
}
