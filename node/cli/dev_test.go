package cli

import (
	"strings"
	"testing"
)

// TestDev: a grid in one process runs a module for whoever asks its API.
func TestDev(t *testing.T) {
	t.Parallel()
	cmd := dugnadCommand(t, nil, "dev", "--nodes", "3", "--api-listen", "127.0.0.1:0")
	n := nodeProcess{dir: "dev", cmd: cmd, out: &transcript{}, errOut: &transcript{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = n.out, n.errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-n.ended
	})
	n.await(t, n.out, 0, "folders in")
	text, _ := n.out.read()
	_, rest, _ := strings.Cut(text, "API at ")
	url, _, _ := strings.Cut(rest, ",")
	e := runDugnad(t, "run", "--api", url, "--grid", "always", "../../runtime/worker/testdata/hello.wasm", "--count", "5")
	if e.code != 0 || e.stdout != strings.Repeat("hello\n", 5) {
		t.Errorf("exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	if e := runDugnad(t, "node", "ls", "--api", url); e.code != 0 || strings.Count(e.stdout, "node-") != 3 {
		t.Errorf("exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	n.stop(t)
	if e := runDugnad(t, "dev", "--nodes", "0"); e.code != exitFailure || !strings.Contains(e.stderr, "from 1 to 50") {
		t.Errorf("exit code %d, %q", e.code, e.stderr)
	}
}
