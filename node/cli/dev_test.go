package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// startDev starts a grid in one process, and returns where it answers the API.
func startDev(t *testing.T, args ...string) (n *nodeProcess, url string) {
	t.Helper()
	cmd := dugnadCommand(t, nil, append([]string{"dev", "--api-listen", "127.0.0.1:0"}, args...)...)
	n = &nodeProcess{dir: "dev", cmd: cmd, out: &transcript{}, errOut: &transcript{}, ended: make(chan struct{})}
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
	url, _, _ = strings.Cut(rest, ",")
	return n, url
}

// TestDev: a grid in one process runs a module for whoever asks its API, and lets it
// make HTTP requests when it is told to.
func TestDev(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the world") }))
	defer s.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	n, url := startDev(t, "--nodes", "3", "--allow-http", "--http-port", port, "--http-allow-address", "127.0.0.1")
	request := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(request, []byte("GET "+s.URL+"/"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e := runDugnad(t, "run", "--api", url, "--grid", "always", "--allow-http", "--stdin", request, fetchFile); e.code != 0 || !strings.HasSuffix(e.stdout, "the world") {
		t.Errorf("exit code %d, %q, %q", e.code, e.stdout, e.stderr)
	}
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

// TestDevKept: a grid that is kept hands back what runs when it is told to stop, and
// goes on with it when it is opened again, although every node has another address
// then.
func TestDevKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	at := func(url string) *client.Client {
		c, err := client.Open(client.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	// awaitRunning waits until the job has been placed so often, and returns where.
	awaitRunning := func(c *client.Client, job string, times int) (node string) {
		errPlaced := errors.New("placed")
		if err := c.Watch(ctx, job, 0, func(e api.Event) error {
			if e.Kind == "placed" {
				node = e.Node
				times--
			}
			if times == 0 {
				return errPlaced
			}
			return nil
		}); !errors.Is(err, errPlaced) {
			t.Fatalf("job %s was not placed: %v", job, err)
		}
		return node
	}
	n, url := startDev(t, "--nodes", "2", "--dir", dir)
	c := at(url)
	job := submitModule(ctx, t, c, "spin", "limits: {fuel: 100P}\nconstraints: {labels: {name: node-2}}\n")
	second := awaitRunning(c, job, 1)
	n.stop(t)

	n, url = startDev(t, "--nodes", "2", "--dir", dir)
	c = at(url)
	if node := awaitRunning(c, job, 2); node != second {
		t.Errorf("it runs on %s, and did on %s", node, second)
	}
	if _, err := c.Cancel(ctx, job); err != nil {
		t.Fatal(err)
	}
	if backs := checkHandedBack(ctx, t, c, job, second); backs != 1 {
		t.Errorf("%d tasks were handed back, want 1", backs)
	}
	n.stop(t)
}
