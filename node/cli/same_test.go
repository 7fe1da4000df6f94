package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// trickle gives a few bytes at a time, so that they arrive in many pieces.
type trickle struct {
	data []byte
	most int
}

func (r *trickle) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), r.most)], r.data)
	r.data = r.data[n:]
	if n == 0 {
		return 0, io.EOF
	}
	runtime.Gosched()
	return n, nil
}

// TestSameInEveryRun runs a program that does whatever makes programs differ
// from run to run, under all kinds of circumstances: output, clocks and fuel
// are the same.
func TestSameInEveryRun(t *testing.T) {
	p := newProgram(t)
	dir := filepath.Dir(p.path)
	module := filepath.Join(dir, "mix.wasm")
	build := exec.Command("go", "build", "-o", module, "./testdata/mix")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	stdin := bytes.Repeat([]byte("some input\n"), 5000)
	inputs := [2]string{filepath.Join(dir, "here"), filepath.Join(dir, "elsewhere", "with a long name")}
	for _, folder := range inputs {
		if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"c", "a", "b"} {
			if err := os.WriteFile(filepath.Join(folder, f), []byte(f), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	stamp := time.Unix(1e9, 0)
	for _, folder := range inputs {
		for _, f := range []string{"a", "b", "c", "sub", "."} {
			if err := os.Chtimes(filepath.Join(folder, f), stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
	}
	stdinFile := filepath.Join(dir, "stdin")
	if err := os.WriteFile(stdinFile, stdin, 0o600); err != nil {
		t.Fatal(err)
	}
	want, runs := "", 0
	check := func(stdout []byte) {
		t.Helper()
		for line := range strings.Lines(string(stdout)) {
			var got struct {
				Stdout  string `json:"stdout"`
				Outcome struct {
					Kind  string `json:"kind"`
					Usage struct {
						Fuel uint64 `json:"fuel"`
					} `json:"usage"`
				} `json:"outcome"`
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			is := fmt.Sprint(got.Outcome.Kind, " ", got.Outcome.Usage.Fuel, "\n", got.Stdout)
			if want == "" {
				want = is
				t.Log(is)
			}
			if runs++; is != want {
				t.Errorf("run %d: got %s\nwant %s", runs, is, want)
			}
		}
	}
	for i := range 6 {
		cmd, _ := p.command(t, "run", module, "--json", "--stdin=-", "--input", "in="+inputs[i%2],
			"--env", "DUGNAD_TASK_INDEX=0", "--env", "DUGNAD_TASK_COUNT=1")
		cmd.Env = append(cmd.Env, fmt.Sprintf("NOISE%d=%s", i, strings.Repeat("x", i*100)), "TZ=Asia/Tokyo", fmt.Sprintf("GOMAXPROCS=%d", 1+i%4))
		cmd.Dir = inputs[(i/2)%2]
		cmd.Stdin = bytes.NewReader(stdin)
		if i%3 > 0 {
			cmd.Stdin = &trickle{stdin, i * 501}
		}
		out, _ := cmd.Output()
		check(out)
	}
	for _, parallel := range []string{"1", "4"} {
		e := p.run(t, "run", module, "--json", "--stdin", stdinFile, "--count", "8", "--parallel", parallel, "--input", "in="+inputs[0],
			"--env", "DUGNAD_TASK_INDEX=0", "--env", "DUGNAD_TASK_COUNT=1")
		check([]byte(e.stdout))
	}
	if runs != 22 {
		t.Errorf("%d runs ended, want 22", runs)
	}
}
