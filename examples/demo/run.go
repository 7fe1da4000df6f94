package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// record is what the demo reads of the JSON object that dugnad run prints.
type record struct {
	ExitCode int    `json:"exit_code"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	Outcome  struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
		Usage   struct {
			Fuel        uint64        `json:"fuel"`
			MemoryPeak  uint64        `json:"memory_peak_bytes"`
			WallTime    time.Duration `json:"wall_ns"`
			OutputBytes uint64        `json:"output_bytes"`
		} `json:"usage"`
	} `json:"outcome"`
}

// scene is one run of a guest.
type scene struct {
	title string
	guest string
	flags []string
	args  []string
	// kind and code are how it must end.
	kind string
	code int
	// verify returns an error when stdout is not what it must be.
	verify func(stdout string) error
}

// runs has dugnad run run the guests, one after the other.
func (d demo) runs(ctx context.Context) (err error) {
	text, err := os.MkdirTemp("", "dugnad-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(text)) }()
	if _, err := gather(d.text, text, ".md"); err != nil {
		return err
	}
	wrong := 0
	for _, s := range scenes(text) {
		if err := d.play(ctx, s); err != nil {
			fmt.Printf("  WRONG: %v\n", err)
			wrong++
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fmt.Println()
	}
	if wrong > 0 {
		return fmt.Errorf("%d results are wrong", wrong)
	}
	return nil
}

func scenes(text string) []scene {
	return []scene{
		{
			title: "A program says hello", guest: "hello", args: []string{"neighbour"},
			kind: "exited", verify: equal("hello, neighbour\n"),
		},
		{
			title: "It counts the words of this repository's documents", guest: "wordcount",
			flags: []string{"--input", "text=" + text}, args: []string{"/input/text"},
			kind: "exited", verify: func(stdout string) error { return sameWords(text, stdout) },
		},
		{
			title: "It finds primes, by a sieve; here they are found by division", guest: "primes",
			args: []string{"200000"}, kind: "exited", verify: equal(fmt.Sprintln(countPrimes(200_000))),
		},
		{
			title: "A program that never ends reaches its deadline", guest: "spin",
			flags: []string{"--timeout", "1s"}, kind: "deadline", code: 124, verify: equal(""),
		},
		{
			title: "A program that never ends runs out of fuel", guest: "spin",
			flags: []string{"--fuel", "500M"}, kind: "out_of_fuel", code: 123, verify: equal(""),
		},
		{
			title: "Something that is no module is refused", guest: "not-a-module",
			kind: "refused", code: 126, verify: equal(""),
		},
	}
}

func (d demo) play(ctx context.Context, s scene) error {
	module := filepath.Join(d.guests, s.guest+".wasm")
	if s.kind == "refused" {
		module = "README.md"
	}
	args := append([]string{"run", "--json"}, s.flags...)
	args = append(args, module)
	if len(s.args) > 0 {
		args = append(append(args, "--"), s.args...)
	}
	fmt.Printf("%s\n  $ dugnad %s\n", s.title, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.dugnad, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	var r record
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("reading what dugnad run printed: %w", err)
	}
	r.print()
	if code := cmd.ProcessState.ExitCode(); r.Outcome.Kind != s.kind || code != s.code || r.ExitCode != code {
		return fmt.Errorf("it ended as %q with exit code %d (%d in the JSON), want %q with %d",
			r.Outcome.Kind, code, r.ExitCode, s.kind, s.code)
	}
	return s.verify(r.Stdout)
}

// show prints the beginning of an output.
func show(text string) {
	lines := slices.Collect(strings.Lines(text))
	for _, l := range lines[:min(len(lines), linesMax)] {
		fmt.Printf("  | %s\n", strings.TrimSuffix(l, "\n"))
	}
	if more := len(lines) - linesMax; more > 0 {
		fmt.Printf("  | and %d more lines\n", more)
	}
}

// linesMax bounds how much of an output is shown.
const linesMax = 5

func (r *record) print() {
	show(r.Stdout)
	u := r.Outcome.Usage
	fmt.Printf("  outcome %s, exit code %d", r.Outcome.Kind, r.ExitCode)
	if r.Outcome.Message != "" {
		fmt.Printf(": %s", r.Outcome.Message)
	}
	fmt.Printf("\n  used %d fuel, %.1f MiB of memory at most, %s, %d bytes of output\n",
		u.Fuel, float64(u.MemoryPeak)/(1<<20), u.WallTime.Round(10*time.Microsecond), u.OutputBytes)
}

func equal(want string) func(string) error {
	return func(got string) error {
		if got != want {
			return fmt.Errorf("the output is %q, want %q", got, want)
		}
		return nil
	}
}

// countPrimes counts the primes below n by trial division.
func countPrimes(n int) int {
	count := 0
	for i := 2; i < n; i++ {
		prime := true
		for j := 2; j*j <= i && prime; j++ {
			prime = i%j != 0
		}
		if prime {
			count++
		}
	}
	return count
}
