package jobspec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
)

func TestTask(t *testing.T) {
	p := &Program{
		Name: "{index}", Args: []string{"{index}/{count}", "{job}", "{attempt}{attempt}", "{other}", "{{index}}"},
		Env:    []string{"A={index}", "{index}=1", EnvironCount + "=mine", "E="},
		Limits: task.Limits{Fuel: 5}, RealClock: true, RealRandom: true, Seed: 7,
		Inputs: []Input{{Name: "in"}}, Stdin: &Source{},
	}
	job := ledger.JobID{0xab}
	want := task.Spec{
		Args:   []string{"{index}", "3/10", job.String(), "22", "{other}", "{3}"},
		Env:    []string{"A=3", "{index}=1", EnvironCount + "=mine", "E=", EnvironJob + "=" + job.String(), EnvironIndex + "=3", EnvironAttempt + "=2"},
		Limits: task.Limits{Fuel: 5}, RealClock: true, RealRandom: true, Seed: 7,
	}
	got := p.Task(job, 3, 10, 2)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the task (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if got := (&Program{}).Task(job, 0, 1, 0).Args; len(got) != 1 || got[0] != "module" {
		t.Errorf("a program without a name has the arguments %q", got)
	}
}

// TestTaskFits: the largest payload, filled in, is a task that the sandbox takes.
func TestTaskFits(t *testing.T) {
	p := &Program{}
	for {
		more := *p
		more.Args = append(more.Args, strings.Repeat("{job}", 200))
		if _, err := more.Encode(); err != nil {
			break
		}
		p = &more
	}
	if s := p.Task(ledger.JobID{}, 0, 1, 0); s.Validate() != nil || len(s.Args) < 60 {
		t.Errorf("%d arguments: %v", len(s.Args), s.Validate())
	}
}

func TestTerminal(t *testing.T) {
	exit := func(code uint32) task.Outcome { return task.Outcome{Kind: task.Exited, ExitCode: code} }
	of := func(k task.Kind) task.Outcome { return task.Outcome{Kind: k} }
	for _, tt := range []struct {
		on      string
		outcome task.Outcome
		want    bool
	}{
		{"", exit(0), true},
		{"", exit(1), false},
		{"", of(task.Refused), true},
		{"", of(task.MemoryLimit), true},
		{"", of(task.WorkerLost), false},
		{"", of(task.Cancelled), false},
		{"", of(task.Trapped), false},
		{"", of(task.OutOfFuel), false},
		{"", of(task.DeadlineExceeded), false},
		{"", of(task.OutputLimit), false},
		{"", of(task.ScratchLimit), false},
		{"exit", exit(0), true},
		{"exit", exit(1), false},
		{"exit", of(task.Trapped), true},
		{"exit:75", exit(75), false},
		{"exit:75", exit(7), true},
		{"trap exit:2", exit(2), false},
		{"trap exit:2", of(task.Trapped), false},
		{"trap exit:2", of(task.OutOfFuel), true},
		{"trap", of(task.WorkerLost), false},
		{"trap", of(task.Cancelled), false},
		{"trap", of(task.Refused), true},
	} {
		p := &Program{RetryOn: strings.Fields(tt.on)}
		if got := p.Terminal(tt.outcome); got != tt.want {
			t.Errorf("on %q: %s %d is terminal = %t, want %t", tt.on, tt.outcome.Kind, tt.outcome.ExitCode, got, tt.want)
		}
	}
}

// TestRetryOnKinds: each kind of outcome either may be named or says why not.
func TestRetryOnKinds(t *testing.T) {
	for _, k := range task.Kinds() {
		message, _ := checkRetryOn(string(k))
		if strings.Contains(message, "is not an outcome") {
			t.Errorf("%s: %s", k, message)
		}
	}
}

func drawProgram(t *rapid.T) *Program {
	text := rapid.StringMatching(`[^\x00]{0,10}`)
	source := rapid.Custom(func(t *rapid.T) Source {
		s := Source{Lines: rapid.Bool().Draw(t, "lines")}
		if rapid.Bool().Draw(t, "of a job") {
			copy(s.Job[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "job"))
			s.Job[0] |= 1
			s.Stream = rapid.SampledFrom([]Stream{Stdout, Stderr}).Draw(t, "stream")
			return s
		}
		copy(s.Object[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "object"))
		s.Object[0] |= 1
		return s
	})
	p := &Program{
		Name: text.Draw(t, "name"), Args: rapid.SliceOfN(text, 1, 4).Draw(t, "args"),
		Limits:    task.Limits{Fuel: rapid.Uint64Range(0, 1<<60).Draw(t, "fuel"), Timeout: 5},
		RealClock: rapid.Bool().Draw(t, "clock"), RealRandom: rapid.Bool().Draw(t, "random"), Seed: rapid.Uint64().Draw(t, "seed"),
		RetryOn: rapid.SliceOfN(rapid.SampledFrom(append(RetryOutcomes(), "exit:3")), 1, 3).Draw(t, "on"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "inputs") {
		in := Input{Name: fmt.Sprint("in", i), Source: source.Draw(t, "source")}
		in.Folder = !in.Lines && in.Job == (ledger.JobID{}) && rapid.Bool().Draw(t, "folder")
		p.Inputs, p.Env = append(p.Inputs, in), append(p.Env, "V="+text.Draw(t, "value"))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "secrets") {
		p.Secrets = append(p.Secrets, Secret{fmt.Sprint("S", i), rapid.SampledFrom([]ledger.SecretName{"A", "B_2"}).Draw(t, "secret")})
	}
	if rapid.Bool().Draw(t, "stdin") {
		s := source.Draw(t, "stdin source")
		p.Stdin = &s
	}
	return p
}

func TestProgramRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProgram(t)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeProgram(b)
		if diff := cmp.Diff(p, again); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// TestProgramVersion: a program says that it is of version 2 only when it reads
// what a job has put out, so that nodes of the version before run all others.
func TestProgramVersion(t *testing.T) {
	for want, s := range map[string]Source{
		`"version":1,`: {Object: [32]byte{1}},
		`"version":2,`: {Job: ledger.JobID{1}, Stream: Stderr},
	} {
		if b, err := (&Program{Stdin: &s}).Encode(); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s, %v, want %s", b, err, want)
		}
	}
	if b, err := (&Program{Secrets: []Secret{{"KEY", "API_KEY"}}}).Encode(); err != nil || !strings.Contains(string(b), `"version":3,`) {
		t.Errorf("secrets: %s, %v, want version 3", b, err)
	}
}

func TestBadPrograms(t *testing.T) {
	object, job := `"sha256:`+strings.Repeat("ab", 32)+`"`, strings.Repeat("ab", 16)
	for text, want := range map[string]error{
		"":                                 ErrProgram,
		"null":                             ErrProgramVersion,
		"{}":                               ErrProgramVersion,
		`{"version":4}`:                    ErrProgramVersion,
		`{"version":2,"traceparent":"00"}`: ErrProgram,
		`{"version":"1"}`:                  ErrProgram,
		`{"version":1} 2`:                  ErrProgram,
		`{"version":1,"shell":true}`:       ErrProgram,
		`{"version":1,"env":["A"]}`:        ErrProgram,
		`{"version":1,"args":["\u0000"]}`:  ErrProgram,
		`{"version":1,"name":"\u0000"}`:    ErrProgram,
		`{"version":1,"limits":{"fuel":1152921504606846977}}`:                                   ErrProgram,
		`{"version":1,"retry_on":["refused"]}`:                                                  ErrProgram,
		`{"version":1,"stdin":{"object":"sha256:00"}}`:                                          ErrProgram,
		`{"version":1,"inputs":[{"name":"a"}]}`:                                                 ErrProgram,
		`{"version":1,"inputs":[{"name":"/","object":` + object + `}]}`:                         ErrProgram,
		`{"version":1,"stdin":{"job":"` + job + `","stream":"stdout"}}`:                         ErrProgram,
		`{"version":2,"secrets":{"A":"A"}}`:                                                     ErrProgram,
		`{"version":3,"secrets":{"A":"1"}}`:                                                     ErrProgram,
		`{"version":3,"secrets":{"":"A"}}`:                                                      ErrProgram,
		`{"version":3,"secrets":{"A=":"A"}}`:                                                    ErrProgram,
		`{"version":3,"env":["A=1"],"secrets":{"A":"A"}}`:                                       ErrProgram,
		`{"version":2,"stdin":{"job":"` + job + `"}}`:                                           ErrProgram,
		`{"version":2,"stdin":{"job":"` + job + `","stream":"stdin"}}`:                          ErrProgram,
		`{"version":2,"stdin":{"job":"7","stream":"stdout"}}`:                                   ErrProgram,
		`{"version":2,"stdin":{"object":` + object + `,"stream":"stdout"}}`:                     ErrProgram,
		`{"version":2,"stdin":{"job":"` + job + `","stream":"stdout","object":` + object + `}}`: ErrProgram,
		`{"version":2,"http":{}}`:                                                               ErrProgram,
		`{"version":3,"http":{"hosts":["http://a"]}}`:                                           ErrProgram,
		`{"version":1,"args":["` + strings.Repeat("x", ledger.PayloadBytesMax) + `"]}`:          ErrProgram,
	} {
		if _, err := DecodeProgram([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", text, err, want)
		}
	}
	for name, p := range map[string]*Program{
		"no object":         {Inputs: []Input{{Name: "a"}}},
		"no UTF-8":          {Args: []string{"\xff"}},
		"too long":          {Args: []string{strings.Repeat("x", ledger.PayloadBytesMax)}},
		"too many":          {RetryOn: make([]string, RetryOnMax+1)},
		"no outcome":        {RetryOn: []string{""}},
		"folder of a job":   {Inputs: []Input{{Name: "a", Source: Source{Job: ledger.JobID{1}, Stream: Stdout}, Folder: true}}},
		"lines of a folder": {Inputs: []Input{{Name: "a", Source: Source{Object: [32]byte{1}, Lines: true}, Folder: true}}},
	} {
		if _, err := p.Encode(); !errors.Is(err, ErrProgram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeProgram: what is read is written and read again as the same, and
// makes a task that the sandbox takes.
func FuzzDecodeProgram(f *testing.F) {
	b, err := (&Program{
		Name: "n", Args: []string{"{index}"}, Env: []string{"A=b"}, Stdin: &Source{Object: [32]byte{1}, Lines: true},
		Inputs: []Input{{Name: "in", Source: Source{Object: [32]byte{2}}, Folder: true}}, Limits: task.Default(), RetryOn: []string{"trap", "exit:4"},
	}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":2,"stdin":{"job":"` + strings.Repeat("ab", 16) + `","stream":"stderr","lines":true}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := DecodeProgram(in)
		if err != nil {
			if !errors.Is(err, ErrProgram) && !errors.Is(err, ErrProgramVersion) {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		out, err := p.Encode()
		if err != nil {
			if len(in) > 8<<10 {
				return // defaults that are written out may be one byte too many
			}
			t.Fatal(err)
		}
		again, err := DecodeProgram(out)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%s became %s became %s, %v", in, out, twice, err)
		}
		s := p.Task(ledger.JobID{1}, 2, 3, 4)
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestShares: the shares follow each other, are all lines, and differ by at most
// one.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.OneOf(rapid.Uint64Range(0, 100), rapid.Uint64()).Draw(t, "lines")
		count := rapid.OneOf(rapid.Uint32Range(1, 50), rapid.Uint32Range(1, 1<<32-1)).Draw(t, "count")
		index := rapid.Uint32Range(0, count-1).Draw(t, "index")
		from, to := Shares(lines, count, index)
		size := lines / uint64(count)
		if from > to || to > lines || to-from < size || to-from-size > 1 {
			t.Fatalf("task %d of %d has %d to %d of %d", index, count, from, to, lines)
		}
		if index > 0 {
			if _, before := Shares(lines, count, index-1); before != from {
				t.Fatalf("task %d begins at %d, the one before ends at %d", index, from, before)
			}
		}
		if index == 0 && from != 0 || index == count-1 && to != lines {
			t.Fatalf("task %d of %d has %d to %d of %d", index, count, from, to, lines)
		}
	})
}
