package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

func TestVersion(t *testing.T) {
	r := newTestRun(t)
	if code := r.run("version", "--json"); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.stderr.String())
	}
	var v versions
	if err := json.Unmarshal(r.stdout.Bytes(), &v); err != nil || v.Dugnad == "" || v.Lint < 1 || v.Meter < 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDoctor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		output string
		code   int
	}{{"well", "ok\n", 0}, {"ill", "", 1}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			r.runner.attempt = func(_ context.Context, _ task.Spec, s streams) task.Outcome {
				fmt.Fprint(s.Out, tt.output)
				return task.Outcome{Kind: task.Exited}
			}
			if code := r.run("doctor", "--json"); code != tt.code {
				t.Errorf("exit code %d, want %d; stderr %q", code, tt.code, r.stderr.String())
			}
			var d diagnosis
			if err := json.Unmarshal(r.stdout.Bytes(), &d); err != nil || d.OK != (tt.code == 0) || len(d.Checks) < 5 {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		name     string
		terminal bool
		estimate time.Duration
		ticks    []time.Duration
		want     string
	}{
		{"quick on a terminal", true, 0, []time.Duration{100 * time.Millisecond}, ""},
		{
			"on a terminal", true, 9 * time.Second,
			[]time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 3200 * time.Millisecond},
			"\r\x1b[Kdugnad: compiling m.wasm for the first time: 0.4 s of about 9 s\r\x1b[Kdugnad: compiling m.wasm for the first time: 3.2 s of about 9 s\r\x1b[K",
		},
		{"quick in a pipe", false, 9 * time.Second, []time.Duration{400 * time.Millisecond}, ""},
		{
			"in a pipe", false, 9 * time.Second,
			[]time.Duration{2 * time.Second, 3 * time.Second},
			"dugnad: compiling m.wasm for the first time, which takes about 9 s\n",
		},
		{"in a pipe without an estimate", false, 0, []time.Duration{2 * time.Second}, "dugnad: compiling m.wasm for the first time\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			ticks := make(chan time.Time)
			p := newProgress(&out, tt.terminal, "m.wasm")
			p.now, p.ticks = func() time.Time { return start }, ticks
			p.compiling(tt.estimate)
			for _, d := range tt.ticks {
				ticks <- start.Add(d)
			}
			p.stop()
			if out.String() != tt.want {
				t.Errorf("shown %q\n want %q", out.String(), tt.want)
			}
		})
	}
}
