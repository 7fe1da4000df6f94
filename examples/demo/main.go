// Command demo shows Dugnad's main job: it runs the example guests through
// dugnad run, shows how each ended and what it used, and compares the results
// with the same computed here, without a sandbox. It exits with 1 when one is
// wrong.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
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

// show is one run of a guest.
type show struct {
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

type demo struct {
	dugnad, guests, text string
}

func main() {
	d := demo{}
	flag.StringVar(&d.dugnad, "dugnad", "bin/dugnad", "the program to show")
	flag.StringVar(&d.guests, "guests", "bin/examples", "the folder of the compiled examples")
	flag.StringVar(&d.text, "text", ".", "the folder whose *.md files are counted")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		cancel()
		os.Exit(1)
	}
}

func (d demo) run(ctx context.Context) error {
	text, cleanup, err := d.gather()
	if err != nil {
		return err
	}
	defer cleanup()
	wrong := 0
	for _, s := range shows(text) {
		if err := d.play(ctx, s); err != nil {
			fmt.Printf("  WRONG: %v\n", err)
			wrong++
		}
		fmt.Println()
	}
	if wrong > 0 {
		return fmt.Errorf("%d results are wrong", wrong)
	}
	fmt.Println("All results are as they must be.")
	return nil
}

// gather copies the repository's markdown into a folder of its own, which is
// all that the guest gets to see.
func (d demo) gather() (folder string, cleanup func(), err error) {
	folder, err = os.MkdirTemp("", "dugnad-demo-*")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { _ = os.RemoveAll(folder) }
	files, err := filepath.Glob(filepath.Join(d.text, "*.md"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no *.md files in %s", d.text)
	}
	for _, f := range files {
		var text []byte
		if text, err = os.ReadFile(f); err == nil {
			err = os.WriteFile(filepath.Join(folder, filepath.Base(f)), text, 0o600)
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		cleanup()
		return "", nil, err
	}
	return folder, cleanup, nil
}

func shows(text string) []show {
	return []show{
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

func (d demo) play(ctx context.Context, s show) error {
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

// linesMax bounds how much of an output is shown.
const linesMax = 5

func (r *record) print() {
	lines := slices.Collect(strings.Lines(r.Stdout))
	for _, l := range lines[:min(len(lines), linesMax)] {
		fmt.Printf("  | %s\n", strings.TrimSuffix(l, "\n"))
	}
	if more := len(lines) - linesMax; more > 0 {
		fmt.Printf("  | and %d more lines\n", more)
	}
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

// sameWords counts the words in folder, letter by letter, and compares.
func sameWords(folder, stdout string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return err
	}
	want := map[string]int{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		countWords(text, want)
	}
	got, total := map[string]int{}, 0
	for line := range strings.Lines(stdout) {
		var n int
		var word string
		if _, err := fmt.Sscan(line, &n, &word); err != nil {
			return fmt.Errorf("line %q is not a count and a word: %w", line, err)
		}
		got[word] = n
		total += n
	}
	var differ []string
	for w, n := range want {
		if got[w] != n {
			differ = append(differ, w)
		}
	}
	slices.Sort(differ)
	if len(differ) > 0 || len(got) != len(want) {
		return fmt.Errorf("%d different words counted, want %d; wrong: %s", len(got), len(want), strings.Join(differ, " "))
	}
	fmt.Printf("  %d words, %d different ones: the same as counted here\n", total, len(want))
	return nil
}

func countWords(text []byte, counts map[string]int) {
	var word bytes.Buffer
	end := func() {
		if word.Len() > 0 {
			counts[word.String()]++
			word.Reset()
		}
	}
	for _, c := range string(text) {
		if unicode.IsLetter(c) {
			word.WriteRune(unicode.ToLower(c))
		} else {
			end()
		}
	}
	end()
}
