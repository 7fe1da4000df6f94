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

// TestTraceparent: jobs hang below the trace of whoever has started dugnad, which a node
// is told when there is one.
func TestTraceparent(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, args := range []string{"run --grid always @/m.wasm", "job submit @/job.yaml"} {
		for _, tt := range []struct {
			environ []string
			want    string
		}{
			{nil, ""},
			{[]string{"TRACEPARENT=" + parent}, parent},
			{[]string{"TRACEPARENT=" + parent, "OTEL_SDK_DISABLED=false"}, parent},
			{[]string{"TRACEPARENT=" + parent, "OTEL_SDK_DISABLED=True"}, ""},
			{[]string{"TRACEPARENT="}, ""},
			{[]string{"TRACEPARENT=x\r\nAuthorization: y"}, ""},
		} {
			f, r := newFakeGrid(t), newTestRun(t)
			r.write(t, "job.yaml", "module: m.wasm\n")
			r.env = append(r.env, tt.environ...)
			code := r.run(append(strings.Fields(args), "--api", f.url)...)
			if got := f.parents; code != 0 || len(got) == 0 || got[len(got)-1] != tt.want {
				t.Errorf("%s with %q: exit code %d, %s, sends %q, want %q", args, tt.environ, code, r.stderr.String(), f.parents, tt.want)
			}
		}
	}
}
