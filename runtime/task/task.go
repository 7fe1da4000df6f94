// Package task holds the nouns that every part of the sandbox shares: what to
// run (Spec), how far it may go (Limits), how it ended (Outcome) and what it
// used (Usage). It imports the standard library only, so that a program that
// talks to a worker does not link a WebAssembly engine.
package task

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Spec is one attempt at running a module.
type Spec struct {
	// Args are the program's arguments; Args[0] is the program's name.
	Args []string `json:"args,omitempty"`
	// Env are "NAME=value" pairs. The guest sees these and nothing else.
	Env []string `json:"env,omitempty"`
	// Inputs are files and folders that the guest sees, read-only, at
	// /input/NAME.
	Inputs []Input `json:"inputs,omitempty"`
	// Limits bound the attempt. A zero field means the default of that field.
	Limits Limits `json:"limits"`
	// RealClock gives the guest the host's clocks. Otherwise its clocks start
	// at Epoch and advance with the fuel that it burns and the time it sleeps,
	// the same on every machine and in every run.
	RealClock bool `json:"real_clock,omitempty"`
	// RealRandom gives the guest the host's randomness. Otherwise its random
	// bytes are a fixed stream that depends on Seed alone.
	RealRandom bool `json:"real_random,omitempty"`
	// Seed selects the deterministic random stream.
	Seed uint64 `json:"seed,omitempty"`
	// HTTP lets the guest make HTTP requests, as far as whoever runs it allows
	// them; nil is that it asks for none.
	HTTP *HTTP `json:"http,omitempty"`
}

// Input is a file or folder of the host that a guest may read.
type Input struct {
	// Name is one path element: no slash, not empty, not "." or "..".
	Name string `json:"name"`
	// Path is where the file or folder lies on the host.
	Path string `json:"path"`
}

// Epoch is what a guest's deterministic wall clock shows when it starts:
// 2026-01-01 00:00:00 UTC.
var Epoch = time.Unix(1767225600, 0).UTC()

// Limits bound one attempt. Every field has a ceiling in Max.
type Limits struct {
	// Fuel is the work the guest may do, in fuel units: see runtime/meter.
	Fuel uint64 `json:"fuel,omitempty"`
	// MemoryBytes bounds linear memory and tables together.
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	// Timeout bounds the wall time from start to outcome.
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	// OutputBytes bounds stdout and stderr together.
	OutputBytes uint64 `json:"output_bytes,omitempty"`
	// ScratchBytes bounds the data in the guest's own files.
	ScratchBytes uint64 `json:"scratch_bytes,omitempty"`
	// ScratchFiles bounds the number of the guest's own files and folders.
	ScratchFiles uint64 `json:"scratch_files,omitempty"`
	// StackBytes bounds the host memory that guest calls may nest into.
	StackBytes uint64 `json:"stack_bytes,omitempty"`
	// OpenFiles bounds the descriptors that are open at the same time.
	OpenFiles uint64 `json:"open_files,omitempty"`
}

// Default returns the limits of an attempt that asks for nothing.
func Default() Limits {
	return Limits{
		Fuel:         100_000_000_000_000,
		MemoryBytes:  256 << 20,
		Timeout:      time.Hour,
		OutputBytes:  64 << 20,
		ScratchBytes: 64 << 20,
		ScratchFiles: 10_000,
		StackBytes:   16 << 20,
		OpenFiles:    256,
	}
}

// Max returns the largest limits that an attempt may ask for.
func Max() Limits {
	return Limits{
		Fuel:         1 << 60,
		MemoryBytes:  4<<30 + 64<<20,
		Timeout:      30 * 24 * time.Hour,
		OutputBytes:  1 << 40,
		ScratchBytes: 4 << 30,
		ScratchFiles: 1_000_000,
		StackBytes:   48 << 20,
		OpenFiles:    4096,
	}
}

// ErrLimit is wrapped by the error of Validate when a limit is out of range.
var ErrLimit = errors.New("limit out of range")

// limitField is one row of the limits table.
type limitField struct {
	name string
	get  func(*Limits) *uint64
}

// limitFields lists every limit but Timeout, which has a unit of its own.
var limitFields = []limitField{
	{"fuel", func(l *Limits) *uint64 { return &l.Fuel }},
	{"memory", func(l *Limits) *uint64 { return &l.MemoryBytes }},
	{"output", func(l *Limits) *uint64 { return &l.OutputBytes }},
	{"scratch", func(l *Limits) *uint64 { return &l.ScratchBytes }},
	{"scratch-files", func(l *Limits) *uint64 { return &l.ScratchFiles }},
	{"stack", func(l *Limits) *uint64 { return &l.StackBytes }},
	{"open-files", func(l *Limits) *uint64 { return &l.OpenFiles }},
}

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	d := Default()
	for _, f := range limitFields {
		if p := f.get(&l); *p == 0 {
			*p = *f.get(&d)
		}
	}
	if l.Timeout == 0 {
		l.Timeout = d.Timeout
	}
	return l
}

// Validate reports the first limit above Max, or a negative timeout.
func (l Limits) Validate() error {
	m := Max()
	for _, f := range limitFields {
		if v, top := *f.get(&l), *f.get(&m); v > top {
			return fmt.Errorf("%w: %s is %d, at most %d", ErrLimit, f.name, v, top)
		}
	}
	if l.Timeout < 0 || l.Timeout > m.Timeout {
		return fmt.Errorf("%w: timeout is %s, from 0 to %s", ErrLimit, l.Timeout, m.Timeout)
	}
	return nil
}

// SpecBytesMax bounds the arguments and the environment of a Spec together.
const SpecBytesMax = 1 << 20

// ErrSpec is wrapped by the error of Spec.Validate when a field other than a
// limit is unusable.
var ErrSpec = errors.New("bad task")

// Validate reports the first field that cannot be used.
func (s *Spec) Validate() error {
	if err := s.Limits.Validate(); err != nil {
		return err
	}
	total := 0
	for _, a := range s.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return fmt.Errorf("%w: argument %q holds a zero byte", ErrSpec, a)
		}
		total += len(a) + 1
	}
	for _, e := range s.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.IndexByte(e, 0) >= 0 {
			// The value may be a secret.
			return fmt.Errorf("%w: environment %q is not NAME=value, or holds a zero byte", ErrSpec, name)
		}
		total += len(e) + 1
	}
	if total > SpecBytesMax {
		return fmt.Errorf("%w: arguments and environment take %d bytes, at most %d", ErrSpec, total, SpecBytesMax)
	}
	seen := map[string]bool{}
	for _, in := range s.Inputs {
		if in.Name == "" || in.Name == "." || in.Name == ".." || strings.ContainsAny(in.Name, "/\x00") {
			return fmt.Errorf("%w: input name %q is not one path element", ErrSpec, in.Name)
		}
		if seen[in.Name] {
			return fmt.Errorf("%w: input name %q is given twice", ErrSpec, in.Name)
		}
		seen[in.Name] = true
	}
	if s.HTTP != nil {
		return s.HTTP.Validate()
	}
	return nil
}
