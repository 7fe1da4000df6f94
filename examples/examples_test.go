// Package examples holds guests that show what Dugnad runs, and this test,
// which runs each through the dugnad program.
package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds a single run; it is no measure of speed.
const patience = 3 * time.Minute

// bin is where TestMain builds dugnad and the guests.
var bin string

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	folder, err := os.MkdirTemp("", "dugnad-examples-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	bin = folder
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	code = m.Run()
}

func build() error {
	if err := goBuild(nil, "dugnad", "../node/cmd/dugnad"); err != nil {
		return err
	}
	for _, name := range []string{"hello", "wordcount", "reduce", "primes", "spin", "fetch"} {
		if err := goBuild([]string{"GOOS=wasip1", "GOARCH=wasm"}, name+".wasm", "./"+name); err != nil {
			return err
		}
	}
	return nil
}

func goBuild(env []string, name, folder string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(bin, name), folder)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return nil
}

// run is dugnad run with args in this folder.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "dugnad"), append([]string{"run"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	cmd.Env = append(os.Environ(), "DUGNAD_DATA_DIR="+filepath.Join(bin, "data"), "DUGNAD_CONFIG=")
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("dugnad run %s did not end within %s", strings.Join(args, " "), patience)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestExamples(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte("One two, two; THREE three three.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tally := filepath.Join(t.TempDir(), "tally")
	if err := os.WriteFile(tally, []byte("      2 two\n      1 one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	counts := "      3 three\n      2 two\n      1 one\n"
	tests := []struct {
		name   string
		guest  string
		stdin  string
		flags  []string
		args   []string
		stdout string
		stderr string
		code   int
	}{
		{name: "hello", guest: "hello", stdout: "hello, world\n"},
		{name: "hello somebody", guest: "hello", args: []string{"dear", "neighbour"}, stdout: "hello, dear neighbour\n"},
		{name: "wordcount of stdin", guest: "wordcount", stdin: "three one two\nthree; two THREE", stdout: counts},
		{name: "wordcount of a file", guest: "wordcount", flags: []string{"--input", "t=" + text}, args: []string{"/input/t"}, stdout: counts},
		{name: "wordcount of a folder", guest: "wordcount", flags: []string{"--input", "t=" + filepath.Dir(text)}, args: []string{"/input/t"}, stdout: counts},
		{name: "wordcount of named files", guest: "wordcount", stdin: "text.txt\ntext.txt\n", flags: []string{"--input", "t=" + filepath.Dir(text)}, args: []string{"-in", "/input/t"}, stdout: "      6 three\n      4 two\n      2 one\n"},
		{name: "wordcount of a file that is not there", guest: "wordcount", stdin: "text.txt\nother", flags: []string{"--input", "t=" + filepath.Dir(text)}, args: []string{"-in", "/input/t"}, code: 1, stderr: "other"},
		{name: "wordcount misused", guest: "wordcount", args: []string{"-in"}, code: 1, stderr: "usage: wordcount"},
		{name: "reduce of stdin", guest: "reduce", stdin: "      2 three\n      1 two\n      1 three\n1 one\n      1 two\n", stdout: counts},
		{name: "reduce of files", guest: "reduce", flags: []string{"--input", "a=" + tally, "--input", "b=" + tally}, args: []string{"/input/a", "/input/b"}, stdout: "      4 two\n      2 one\n"},
		{name: "reduce of text", guest: "reduce", stdin: "1 one\none two\n", code: 1, stderr: `reduce: stdin, line 2: "one two" is not a number and a word`},
		{name: "wordcount of nothing", guest: "wordcount", args: []string{"/input/none"}, code: 1, stderr: "wordcount: "},
		{name: "primes counted", guest: "primes", args: []string{"1000000"}, stdout: "78498\n"},
		{name: "primes listed", guest: "primes", args: []string{"-list", "20"}, stdout: "2\n3\n5\n7\n11\n13\n17\n19\n"},
		{name: "primes misused", guest: "primes", args: []string{"many"}, code: 2, stderr: "usage: primes"},
		{name: "spin until the deadline", guest: "spin", flags: []string{"--timeout", "300ms"}, code: 124, stderr: "deadline of 300ms"},
		{name: "spin until the fuel is used up", guest: "spin", flags: []string{"--fuel", "100M"}, code: 123, stderr: "used up all 100M"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append(append(tt.flags, filepath.Join(bin, tt.guest+".wasm"), "--"), tt.args...)
			stdout, stderr, code := run(t, tt.stdin, args...)
			if stdout != tt.stdout || code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("stdout %q, want %q\nexit code %d, want %d\nstderr %q, want %q in it",
					stdout, tt.stdout, code, tt.code, stderr, tt.stderr)
			}
		})
	}
}
