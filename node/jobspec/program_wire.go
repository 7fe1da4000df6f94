package jobspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/task"
)

// programVersion is the version of an encoded Program. A new field needs a new
// one: a node that does not know it would run something else. A program that
// does without what later versions brought, the outputs of jobs in version 2 and the
// trace, HTTP requests and secrets in version 3, is written as an earlier one, which older nodes run too.
const (
	programVersion  = 3
	programVersion2 = 2
	programVersion1 = 1
)

// traceparentBytesMax bounds Program.Traceparent.
const traceparentBytesMax = 64

var (
	// ErrProgram is returned by Program.Encode and DecodeProgram for a program that
	// cannot be run, or bytes that are none.
	ErrProgram = errors.New("bad program")
	// ErrProgramVersion is returned by DecodeProgram for a program that a newer
	// version of Dugnad has written: the node has to refuse its tasks.
	ErrProgramVersion = errors.New("program of an unknown version")
)

// programWire is the encoded form of a Program.
type programWire struct {
	Version int      `json:"version"`
	Name    string   `json:"name,omitempty"`
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	// Secrets has the name of a secret for each variable.
	Secrets    map[string]ledger.SecretName `json:"secrets,omitempty"`
	Stdin      *sourceWire                  `json:"stdin,omitempty"`
	Inputs     []inputWire                  `json:"inputs,omitempty"`
	Limits     task.Limits                  `json:"limits"`
	RealClock  bool                         `json:"real_clock,omitempty"`
	RealRandom bool                         `json:"real_random,omitempty"`
	Seed       uint64                       `json:"seed,omitempty"`
	RetryOn    []string                     `json:"retry_on,omitempty"`
	Trace      string                       `json:"traceparent,omitempty"`
	HTTP       *task.HTTP                   `json:"http,omitempty"`
}

type sourceWire struct {
	// Object is nil when there is a Job.
	Object *wireHash `json:"object,omitempty"`
	Job    string    `json:"job,omitempty"`
	Stream Stream    `json:"stream,omitempty"`
	Lines  bool      `json:"lines,omitempty"`
}

func (s *Source) wire() sourceWire {
	if s.Job != (ledger.JobID{}) {
		return sourceWire{Job: s.Job.String(), Stream: s.Stream, Lines: s.Lines}
	}
	h := wireHash(s.Object)
	return sourceWire{Object: &h, Lines: s.Lines}
}

// source is the inverse of Source.wire.
func (w *sourceWire) source() (s Source, err error) {
	s = Source{Stream: w.Stream, Lines: w.Lines}
	if w.Object != nil {
		s.Object = *w.Object
	}
	if w.Job != "" {
		if s.Job, err = ledger.ParseJobID(w.Job); err != nil {
			err = fmt.Errorf("%w: %w", ErrProgram, err)
		}
	}
	return s, err
}

type inputWire struct {
	Name string `json:"name"`
	sourceWire
	Folder bool `json:"folder,omitempty"`
}

// wireHash is a Hash that may be zero, as while a job's files are not uploaded.
type wireHash Hash

func (h wireHash) MarshalText() ([]byte, error) { return Hash(h).MarshalText() }

func (h *wireHash) UnmarshalText(b []byte) error {
	parsed, err := ParseHash(string(b))
	*h = wireHash(parsed)
	return err
}

// Encode returns the bytes of the program, at most ledger.PayloadBytesMax.
func (p *Program) Encode() ([]byte, error) {
	if err := p.objects(); err != nil {
		return nil, err
	}
	return p.encode()
}

// sources lists what the tasks read.
func (p *Program) sources() (list []*Source) {
	if p.Stdin != nil {
		list = append(list, p.Stdin)
	}
	for i := range p.Inputs {
		list = append(list, &p.Inputs[i].Source)
	}
	return list
}

// objects reports an input that is nothing.
func (p *Program) objects() error {
	for _, s := range p.sources() {
		if s.Object == [32]byte{} && s.Job == (ledger.JobID{}) {
			return fmt.Errorf("%w: an input has no object and no job", ErrProgram)
		}
	}
	return nil
}

// version returns the first version that can say what the program says.
func (p *Program) version() int {
	if p.Traceparent != "" || p.HTTP != nil || len(p.Secrets) > 0 {
		return programVersion
	}
	if slices.ContainsFunc(p.sources(), func(s *Source) bool { return s.Job != ledger.JobID{} }) {
		return programVersion2
	}
	return programVersion1
}

// encode is Encode, also of a program whose objects are not known yet.
func (p *Program) encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	w := programWire{
		Version: p.version(), Name: p.Name, Args: p.Args, Env: p.Env, Limits: p.Limits,
		RealClock: p.RealClock, RealRandom: p.RealRandom, Seed: p.Seed, RetryOn: p.RetryOn, Trace: p.Traceparent, HTTP: p.HTTP,
	}
	for _, s := range p.Secrets {
		if w.Secrets == nil {
			w.Secrets = map[string]ledger.SecretName{}
		}
		w.Secrets[s.Variable] = s.Name
	}
	if p.Stdin != nil {
		s := p.Stdin.wire()
		w.Stdin = &s
	}
	for i := range p.Inputs {
		in := &p.Inputs[i]
		w.Inputs = append(w.Inputs, inputWire{in.Name, in.wire(), in.Folder})
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	b := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if len(b) > ledger.PayloadBytesMax {
		return nil, fmt.Errorf("%w: arguments, variables and inputs take %d bytes together, at most %d", ErrProgram, len(b), ledger.PayloadBytesMax)
	}
	return b, nil
}

// DecodeProgram is the inverse of Program.Encode. It refuses what it does not
// know.
func DecodeProgram(b []byte) (*Program, error) {
	if len(b) > ledger.PayloadBytesMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrProgram, len(b), ledger.PayloadBytesMax)
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if version.Version < programVersion1 || version.Version > programVersion {
		return nil, fmt.Errorf("%w: %d, this is %d", ErrProgramVersion, version.Version, programVersion)
	}
	var w programWire
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: bytes after its end", ErrProgram)
	}
	p := &Program{
		Name: w.Name, Args: w.Args, Env: w.Env, Limits: w.Limits,
		RealClock: w.RealClock, RealRandom: w.RealRandom, Seed: w.Seed, RetryOn: w.RetryOn, Traceparent: w.Trace, HTTP: w.HTTP,
	}
	if err := p.read(&w); err != nil {
		return nil, err
	}
	if err := errors.Join(p.objects(), p.check()); err != nil {
		return nil, err
	}
	if p.version() > w.Version {
		return nil, fmt.Errorf("%w: version %d does not have all that it says", ErrProgram, w.Version)
	}
	return p, nil
}

// read takes the sources of an encoded program.
func (p *Program) read(w *programWire) error {
	for _, variable := range slices.Sorted(maps.Keys(w.Secrets)) {
		p.Secrets = append(p.Secrets, Secret{variable, w.Secrets[variable]})
	}
	if w.Stdin != nil {
		s, err := w.Stdin.source()
		if err != nil {
			return err
		}
		p.Stdin = &s
	}
	for i := range w.Inputs {
		in := &w.Inputs[i]
		s, err := in.source()
		if err != nil {
			return err
		}
		p.Inputs = append(p.Inputs, Input{in.Name, s, in.Folder})
	}
	return nil
}

// check reports the first thing that no node could run.
func (p *Program) check() error {
	spec := task.Spec{Args: append([]string{p.Name}, p.Args...), Env: p.Env, Limits: p.Limits, HTTP: p.HTTP}
	for _, in := range p.Inputs {
		spec.Inputs = append(spec.Inputs, task.Input{Name: in.Name})
	}
	if err := spec.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if len(p.Inputs) > InputsMax || len(p.RetryOn) > RetryOnMax {
		return fmt.Errorf("%w: %d inputs and %d outcomes, at most %d and %d", ErrProgram, len(p.Inputs), len(p.RetryOn), InputsMax, RetryOnMax)
	}
	if len(p.Traceparent) > traceparentBytesMax {
		return fmt.Errorf("%w: the traceparent has %d bytes, at most %d", ErrProgram, len(p.Traceparent), traceparentBytesMax)
	}
	for _, in := range p.Inputs {
		if len(in.Name) > InputNameBytesMax || in.Folder && (in.Lines || in.Job != ledger.JobID{}) {
			return fmt.Errorf("%w: input %s has a long name, or is a folder with lines or of a job", ErrProgram, quote(in.Name))
		}
	}
	if err := p.checkSecrets(); err != nil {
		return err
	}
	for _, s := range p.sources() {
		if err := s.check(); err != nil {
			return err
		}
	}
	for _, on := range p.RetryOn {
		if message, _ := checkRetryOn(on); message != "" {
			return fmt.Errorf("%w: %s", ErrProgram, message)
		}
	}
	// JSON would replace what is not UTF-8.
	for _, text := range append(append(spec.Args, spec.Env...), append(inputNames(p.Inputs), p.Traceparent)...) {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %s is not UTF-8", ErrProgram, quote(strings.ToValidUTF8(text, "?")))
		}
	}
	return nil
}

// checkSecrets reports a variable that is none, or is given twice.
func (p *Program) checkSecrets() error {
	if len(p.Secrets) > ledger.JobSecretsMax {
		return fmt.Errorf("%w: %d secrets, at most %d", ErrProgram, len(p.Secrets), ledger.JobSecretsMax)
	}
	for i, s := range p.Secrets {
		given := slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, s.Variable+"=") })
		if s.Variable == "" || strings.ContainsAny(s.Variable, "=\x00") || given || !utf8.ValidString(s.Variable) || i > 0 && s.Variable <= p.Secrets[i-1].Variable {
			return fmt.Errorf("%w: variable %s of a secret is none, or is given twice", ErrProgram, quote(s.Variable))
		}
		if !ledger.ValidSecretName(s.Name) {
			return fmt.Errorf("%w: variable %s has no name of a secret", ErrProgram, quote(s.Variable))
		}
	}
	return nil
}

// check reports a source that is two things, or a stream of none.
func (s *Source) check() error {
	job := s.Job != ledger.JobID{}
	if job && s.Object != [32]byte{} || job != slices.Contains(Stdout.names(), string(s.Stream)) || !job && s.Stream != "" {
		return fmt.Errorf("%w: an input is an object, or stdout or stderr of a job", ErrProgram)
	}
	return nil
}

func inputNames(inputs []Input) []string {
	names := make([]string, len(inputs))
	for i, in := range inputs {
		names[i] = in.Name
	}
	return names
}
