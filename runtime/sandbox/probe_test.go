package sandbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

func TestProbe(t *testing.T) {
	cases := map[string]struct {
		limits      task.Limits
		out, errors string
		hit         string
	}{
		"clocks": {out: "0 0 0 1 true\n1 0 0 1 true\n2 0 0 1 true\n3 0 0 1 true\n4 28 28 0 false\n2026-01-01 00:00:00\ntrue\n"},
		"poll": {out: `28 []
0 [{1 0 0 [0 0 0 0 0] 0 0}]
0 [{2 0 0 [0 0 0 0 0] 0 0}]
true
0 [{3 0 0 [0 0 0 0 0] 0 0}]
0 [{4 58 0 [0 0 0 0 0] 0 0}]
28 []
28 []
0 [{7 8 1 [0 0 0 0 0] 0 0}]
0 [{9 0 2 [0 0 0 0 0] 16777216 0}]
0 [{11 0 1 [0 0 0 0 0] 1 0}]
0 [{14 0 0 [0 0 0 0 0] 0 0}]
28 21
0
`},
		"vectors": {out: " 0:2 21:0 21:0 21:0 28:0 0:0 28:0 21 28 21  8\n0 16777216 20971520\n", errors: "xx"},
		"files":   {out: "252 33\n8 8 8 0 0\n0 true 0 8\n", hit: "open-files"},
		"dots": {out: `..=0/3/0  ../..=0/3/0  ../a/other=0/4/3  .=0/3/0  a/../a/other=0/4/3 
..=0/3/0  ../other=0/4/3  ../../a/b/file=0/4/5  ../../../../a/b/file=0/4/5  ../=0/3/0  ../none=44/0/0 
../file=0/4/5  ..=0/3/0  ../../../..=0/3/0 
0 true 0
0 ../file ../../moved
a/moved=0/4/5 
37 21
[a input tmp] <nil>
`},
		"zero":   {out: "0:3 0:5 0:9 28:9 0 4 1 10 77 88\n0 1 5 true\n"},
		"random": {out: "2a353cdf769b9573\n21 21\n"},
		"env":    {out: "[env] [B=1 A=2]\n"},
		"fill":   {limits: task.Limits{ScratchBytes: 1 << 20}, out: "write /tmp/full: No space left on device\n", hit: "scratch"},
		"stdin":  {out: "0 EOF\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := task.Spec{Limits: c.limits, Env: []string{"B=1", "A=2", "B=3"}}
			o, out, errs := probe(t, probeModule(t), spec, Streams{}, name)
			if o.Kind != task.Exited || o.ExitCode != 0 || out != c.out || errs != c.errors {
				t.Errorf("got %+v\nstdout %s\nstderr %s", o, out, errs)
			}
			if hit := hits(o); hit != c.hit {
				t.Errorf("limits hit: %q, want %q", hit, c.hit)
			}
		})
	}
}

func hits(o task.Outcome) string {
	var names []string
	for _, h := range o.LimitsHit {
		names = append(names, h.Name)
	}
	return strings.Join(names, " ")
}

func TestStops(t *testing.T) {
	cases := map[string]struct {
		limits task.Limits
		check  string
		kind   task.Kind
		hit    string
	}{
		"fuel in a loop":       {task.Limits{Fuel: 20_000_000}, "spin", task.OutOfFuel, "fuel"},
		"fuel at the start":    {task.Limits{Fuel: 100}, "spin", task.OutOfFuel, "fuel"},
		"deadline in a loop":   {task.Limits{Timeout: 300 * time.Millisecond}, "spin", task.DeadlineExceeded, "timeout"},
		"deadline in a sleep":  {task.Limits{Timeout: 300 * time.Millisecond}, "forever", task.DeadlineExceeded, "timeout"},
		"deadline in stdin":    {task.Limits{Timeout: 300 * time.Millisecond}, "stdin", task.DeadlineExceeded, "timeout"},
		"output without end":   {task.Limits{OutputBytes: 1000}, "output", task.OutputLimit, "output"},
		"scratch without end":  {task.Limits{ScratchBytes: 1 << 20}, "flood", task.ScratchLimit, "scratch"},
		"files without end":    {task.Limits{ScratchFiles: 10}, "many", task.ScratchLimit, "scratch-files"},
		"memory without end":   {task.Limits{MemoryBytes: 16 << 20}, "grow", task.Exited, "memory"},
		"memory for the start": {task.Limits{MemoryBytes: 1 << 20}, "env", task.MemoryLimit, "memory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			stdin, hold := io.Pipe()
			defer hold.Close()
			o, out, _ := probe(t, probeModule(t), task.Spec{Limits: c.limits}, Streams{Stdin: stdin}, c.check)
			if o.Kind != c.kind || hits(o) != c.hit || o.Message == "" {
				t.Errorf("got %+v", o)
			}
			if c.kind == task.OutputLimit && len(out) != 1000 {
				t.Errorf("wrote %d bytes, want 1000", len(out))
			}
			if c.kind == task.OutOfFuel && o.Usage.Fuel != c.limits.Fuel {
				t.Errorf("fuel %d, want %d", o.Usage.Fuel, c.limits.Fuel)
			}
			if name == "memory without end" && (o.ExitCode != 2 || o.Usage.MemoryPeakBytes > 16<<20) {
				t.Errorf("got %+v", o)
			}
		})
	}
}

// whenWritten calls f at the first write.
type whenWritten func()

func (f whenWritten) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o := probeModule(t).Run(ctx, task.Spec{Args: []string{"probe", "spin"}}, Streams{Stdout: whenWritten(cancel)})
	if o.Kind != task.Cancelled || len(o.Stack) == 0 {
		t.Errorf("got %+v", o)
	}
}

// abandoned is a stdin that ends with the caller's patience, which it tries.
type abandoned struct{ lose context.CancelFunc }

func (a abandoned) ReadContext(ctx context.Context, _ []byte) (int, error) {
	a.lose()
	<-ctx.Done()
	return 0, ctx.Err()
}

func (abandoned) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// TestCancelInRead cancels a guest that waits for stdin: it is not told that stdin is
// broken, whichever comes first.
func TestCancelInRead(t *testing.T) {
	m := probeModule(t)
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		o := m.Run(ctx, task.Spec{Args: []string{"probe", "stdin"}}, Streams{Stdin: abandoned{cancel}})
		if o.Kind != task.Cancelled {
			t.Fatalf("got %+v", o)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

type ownPace struct{}

func (ownPace) WriteContext(ctx context.Context, _ []byte) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (ownPace) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

func TestBrokenPipe(t *testing.T) {
	var errs strings.Builder
	o := probeModule(t).Run(context.Background(), task.Spec{Args: []string{"probe", "broken"}}, Streams{Stdout: broken{}, Stderr: &errs})
	if o.ExitCode != 4 || !strings.Contains(errs.String(), "Broken pipe") {
		t.Errorf("got %+v, stderr %q", o, errs.String())
	}
	o = probeModule(t).Run(context.Background(), task.Spec{
		Args:   []string{"probe", "broken"},
		Limits: task.Limits{Timeout: 200 * time.Millisecond},
	}, Streams{Stdout: ownPace{}})
	if o.Kind != task.DeadlineExceeded {
		t.Errorf("got %+v", o)
	}
}

// dribble returns one byte at a time.
type dribble struct{ s string }

func (d *dribble) Read(p []byte) (int, error) {
	if d.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], d.s)
	d.s = d.s[n:]
	return n, nil
}

func TestStdinFuelDoesNotDependOnArrival(t *testing.T) {
	text := strings.Repeat("a line\n", 500)
	whole, out, _ := probe(t, probeModule(t), task.Spec{}, Streams{Stdin: strings.NewReader(text)}, "echo")
	slow, _, _ := probe(t, probeModule(t), task.Spec{}, Streams{Stdin: &dribble{text}}, "echo")
	if out != text || whole.Usage.Fuel != slow.Usage.Fuel {
		t.Errorf("fuel %d and %d, %d bytes of %d", whole.Usage.Fuel, slow.Usage.Fuel, len(out), len(text))
	}
	short, out, _ := probe(t, probeModule(t), task.Spec{}, Streams{Stdin: &dribble{"xyz"}, Interactive: true}, "stdin")
	if out != "1 <nil>\n" {
		t.Errorf("got %+v %q", short, out)
	}
}

func TestDeterminism(t *testing.T) {
	m := probeModule(t)
	first, out, _ := probe(t, m, task.Spec{Seed: 7}, Streams{}, "work")
	type result struct {
		o   task.Outcome
		out string
	}
	results := make(chan result)
	for range 8 {
		go func() {
			o, out, _ := capture(context.Background(), m, task.Spec{Seed: 7, Args: []string{"probe", "work"}}, Streams{})
			results <- result{o, out}
		}()
	}
	for range 8 {
		if r := <-results; r.o.Kind != task.Exited || r.out != out || r.o.Usage.Fuel != first.Usage.Fuel {
			t.Errorf("got %+v %q, want %+v %q", r.o, r.out, first, out)
		}
	}
	if _, other, _ := probe(t, m, task.Spec{Seed: 8}, Streams{}, "work"); other == out {
		t.Error("another seed gives the same random bytes")
	}
	c := open(t, func(c *Config) { c.SliceFuel = 5_003 })
	small := load(t, c, metered(t, goGuest(t, "probe")))
	if o, _, _ := probe(t, small, task.Spec{Seed: 7}, Streams{}, "work"); o.Usage.Fuel != first.Usage.Fuel {
		t.Errorf("fuel %d with small slices, %d with large ones", o.Usage.Fuel, first.Usage.Fuel)
	}
}
