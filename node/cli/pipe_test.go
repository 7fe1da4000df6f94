package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDialogue: a guest reads what has arrived in a pipe, so that somebody can
// talk with it.
func TestDialogue(t *testing.T) {
	p := newProgram(t)
	module := filepath.Join(filepath.Dir(p.path), "echo.wasm")
	build := exec.Command("go", "build", "-o", module, "./testdata/echo")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd, _ := p.command(t, "run", module)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	for _, word := range []string{"one", "two"} {
		if _, err := io.WriteString(in, word+"\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := answers.ReadString('\n'); got != "you said "+word+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestReaderGone: when nobody reads stdout any more, as in | head -1, dugnad
// cleans up and ends as if SIGPIPE had ended it, without a word.
func TestReaderGone(t *testing.T) {
	p := newProgram(t)
	flood := p.file(t, "flood.wasm", guest{bodies: [][]byte{loop(write())}, data: iovec("again and again\n")}.bytes())
	for _, flags := range [][]string{nil, {"--count", "2"}, {"--json"}} {
		cmd, _ := p.command(t, append([]string{"run", "--max-output", "1MiB", flood}, flags...)...)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Read(make([]byte, 1)); n != 1 {
			t.Fatalf("nothing to read: %v: %s", err, errOut.String())
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitSignal+int(syscall.SIGPIPE) || errOut.Len() > 0 {
			t.Errorf("%v: exit code %d (%s), stderr %q", flags, code, cmd.ProcessState, errOut.String())
		}
		if left, err := os.ReadDir(filepath.Join(filepath.Dir(p.path), "data/cache/tmp")); err != nil || len(left) > 0 {
			t.Errorf("%v: left behind: %v %v", flags, left, err)
		}
		if left := p.running(t); len(left) > 0 {
			t.Errorf("%v: processes left behind: %v", flags, left)
		}
	}
}
