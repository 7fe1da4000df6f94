package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/nodetest"
)

// fetchFile makes the request on its stdin, and exits with the code of an error.
const fetchFile = "../../runtime/worker/testdata/fetch.wasm"

// TestOutbound: guests make HTTP requests when tenant, job and operator agree, on nodes
// whose operators do; each is in the audit log, without what may be secret.
func TestOutbound(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		fmt.Fprint(w, r.Header.Get("Secret"))
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	founder := startNode(t, nil, filepath.Join(nodetest.Dir(t), "n0"), append(ownAddress(), "--name", "n0", "--slots", "1")...).up(t)
	run := func(words string, flags ...string) ended {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		args := append(append(strings.Fields(words), "--node-dir", founder.dir), flags...)
		cmd := dugnadCommand(t, nil, args...)
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		defer stop()
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		_ = cmd.Run()
		return ended{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	}
	want := func(got ended, code int, stdout, stderr string) {
		t.Helper()
		if got.code != code || !strings.Contains(got.stdout, stdout) || !strings.Contains(got.stderr, stderr) {
			t.Errorf("%+v, want code %d, %q and %q", got, code, stdout, stderr)
		}
	}
	request := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(request, []byte("GET "+s.URL+"/path?key=hidden-1\nsecret: hidden-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fetch := []string{"--stdin", request, fetchFile}
	onGrid := "run --grid always --allow-http"
	want(run(onGrid, fetch...), 125, "", "capability: http")
	want(run("tenant allow default storage"), 125, "", "no capability")
	want(run("tenant allow default"), 125, "", "which?")
	want(run("tenant allow default http"), 0, "http", "")
	// No node is there whose operator allows it: the job waits, and says for what.
	file := filepath.Join(t.TempDir(), "job.yaml")
	text := fmt.Sprintf("module: %q\ncapabilities: [http]\nstdin: {path: %q}\n", absolute(t, fetchFile), request)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	submitted := run("job submit", file)
	want(submitted, 0, "", "")
	job := strings.TrimSpace(submitted.stdout)
	until(t, "the reason of the wait", func() bool {
		return strings.Contains(run("job why "+job).stdout, "only operators are missing")
	})
	willing := startNode(t, nil, filepath.Join(nodetest.Dir(t), "n1"), append(ownAddress(), "--name", "n1", "--slots", "1", "--join", founder.invite(t),
		"--allow-http", "--http-port", port, "--http-allow-address", "127.0.0.1")...).up(t)
	founder.meets(t, willing)
	want(run("job wait "+job), 0, "", "")
	want(run("job logs "+job), 0, "hidden-2", "")
	want(run(onGrid, fetch...), 0, "200\n", "")
	before := reached.Load()
	want(run(onGrid, append([]string{"--http-host", "example.org"}, fetch...)...), 6, "", "")
	want(run("run --grid always", fetch...), 126, "", "capabilities: [http]")
	want(run("tenant deny default http"), 0, "none", "")
	want(run(onGrid, fetch...), 125, "", "capability: http")
	if n := reached.Load(); n != before || n != 2 {
		t.Errorf("the server was reached %d times, %d before", n, before)
	}
	checkRequestLog(t, willing, job, port)
}

// checkRequestLog looks for requests in the audit log of a node.
func checkRequestLog(t *testing.T, n *nodeProcess, job, port string) {
	t.Helper()
	log := string(read(t, filepath.Join(n.dir, "audit", "others.jsonl")))
	for _, want := range []string{
		`"operation":"http-request","object":"` + job + `","detail":"task 0: GET 200, sent 0, received 8, at 127.0.0.1: http port ` + port + ` of 127.0.0.1","code":"ok"`,
		`"who":"tenant:default"`, `"code":"host"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "hidden") {
		t.Errorf("the audit log has what may be secret:\n%s", log)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// until waits for what has no event to wait for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New(what))
	defer cancel()
	tick := time.NewTicker(statusPause)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
}

func TestOutboundFlags(t *testing.T) {
	for flags, want := range map[string]string{
		"--http-port 0":                               "--http-port: 0 is not from 1 to 65535",
		"--http-port 65536":                           "--http-port: 65536 is not",
		"--http-allow-address localhost":              "is no address",
		"--http-allow-address 10.0.0.1/8":             "is no address",
		"--http-allow-address fe80::1%eth0":           "is no address",
		"--http-host a.example":                       "narrows --allow-http",
		"--allow-http --http-host http://a.example/x": "is no host",
	} {
		r := newTestRun(t)
		if code := r.run(append([]string{"run", "@/m.wasm"}, strings.Fields(flags)...)...); code != exitFailure || !strings.Contains(r.stderr.String(), want) {
			t.Errorf("%s: %d, %s", flags, code, r.stderr.String())
		}
	}
}
