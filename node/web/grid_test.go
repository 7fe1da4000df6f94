package web_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/runtime/worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.ChildCommand {
		os.Exit(worker.Main(context.Background()))
	}
	os.Exit(m.Run())
}

// patience bounds a wait; it is no measure of speed.
const patience = 2 * time.Minute

const (
	// hostileName is what somebody may call a job: it would be markup, and it turns the
	// direction of writing round.
	hostileName = "\"><img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>\u202egpj.exe"
	// hostileOutput is what a guest may write: markup, and what a terminal obeys.
	hostileOutput = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\n\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J\n&lt;b&gt;"
)

// grid is what the browser looks at: two nodes, and jobs in every state that lasts.
type grid struct {
	url, module string
	// locked is the address of the node that wants tokens, operator asks it as its operator.
	locked   string
	operator *client.Client
	client   *client.Client
	// node is the one that works on running.
	node string
	// hostile, array, failed, waiting and running are jobs.
	hostile, array, failed, waiting, running string
	// order is a standing one.
	order string
}

func openGrid(ctx context.Context, t *testing.T) *grid {
	t.Helper()
	first, _ := openNode(ctx, t, "gard", nil)
	text, err := first.Invite(ctx, control.Invitation{Role: "worker", Seconds: 3600, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	invitation, err := p2p.ParseInvitation(text)
	if err != nil {
		t.Fatal(err)
	}
	second, dir := openNode(ctx, t, "<b>naust</b>", invitation)
	g := &grid{}
	g.url, _ = first.APIURL()
	g.locked, _ = second.APIURL()
	g.client = openClient(t, client.Config{URL: g.url})
	g.operator = openClient(t, client.Config{URL: "http://node", Dial: func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, dir) }})
	g.fill(ctx, t)
	return g
}

func openClient(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	c, err := client.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// openNode returns a node and its folder. One with an invitation wants tokens.
func openNode(ctx context.Context, t *testing.T, name string, invitation *p2p.Invitation) (n *node.Node, dir string) {
	t.Helper()
	// Not in the test's folder, whose name is too long for a socket's.
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := node.Default(dir)
	c.Host.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	c.Host.AllowLoopback, c.Host.MDNS, c.Host.PortMap = true, false, false
	c.Host.Name, c.Found, c.Invitation = name, invitation == nil, invitation
	c.Offer = capacity.Offer{Slots: 4, MemoryBytes: 2 << 30, Labels: []capacity.Label{{Key: "zone", Value: "oslo"}}}
	c.APIListen, c.APIToken = "127.0.0.1:0", invitation != nil
	if n, err = node.Open(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, dir
}

// fill gives the grid its jobs, and waits until each is in the state that is wanted: a
// node that sleeps has no room for what failed on the other.
func (g *grid) fill(ctx context.Context, t *testing.T) {
	t.Helper()
	input, err := g.client.PutObject(ctx, bytes.NewReader([]byte(hostileOutput)))
	if err != nil {
		t.Fatal(err)
	}
	hello := g.push(ctx, t, "hello")
	g.module = hello
	g.hostile = g.submit(ctx, t, `{"module": %q, "name": %q, "stdin": {"object": %q}}`, g.push(ctx, t, "cat"), hostileName, input.Object)
	g.array = g.submit(ctx, t, `{"module": %q, "name": "render-frames", "count": 300}`, hello)
	g.failed = g.submit(ctx, t, `{"module": %q, "name": "thumbnails", "count": 3, "retry": {"attempts": 2, "backoff": "1ms", "on": ["exit"]}}`, g.push(ctx, t, "exit1"))
	g.waiting = g.submit(ctx, t, `{"module": %q, "name": "a-million", "count": 1000000, "constraints": {"labels": {"zone": "bergen"}}}`, hello)
	g.order = g.submit(ctx, t, `{"kind": "cron", "module": %q, "name": %q, "schedule": "30 4 29 2 *"}`, hello, hostileName)
	for _, id := range []string{g.hostile, g.array, g.failed} {
		if _, err := g.client.Wait(ctx, id, client.Fresh{}); err != nil {
			t.Fatal(err)
		}
	}
	g.running = g.submit(ctx, t, `{"module": %q, "name": "watch-the-sea", "count": 4, "real_clock": true}`, g.push(ctx, t, "../../../node/web/testdata/sleep"))
	g.until(ctx, t, g.running, func(e api.Event) bool {
		g.node = e.Node
		return e.Kind == "running"
	})
}

// until waits for an event of a job.
func (g *grid) until(ctx context.Context, t *testing.T, id string, is func(e api.Event) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := false
	err := g.client.Watch(ctx, id, 0, func(e api.Event) error {
		if is(e) {
			seen = true
			cancel()
		}
		return nil
	})
	if !seen {
		t.Fatalf("job %s: %v", id, err)
	}
}

func (g *grid) push(ctx context.Context, t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(guest(name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.client.PushModule(ctx, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m.Module
}

func guest(name string) string {
	return filepath.Join("..", "..", "runtime", "worker", "testdata", name+".wasm")
}

func (g *grid) submit(ctx context.Context, t *testing.T, format string, args ...any) string {
	t.Helper()
	s, err := g.client.Submit(ctx, fmt.Appendf(nil, format, args...), "")
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// TestRoot: a node sends browsers from its root to the interface, and answers for its
// API beside it.
func TestRoot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, _ := openNode(ctx, t, "gard", nil)
	url, _ := n.APIURL()
	for _, path := range []string{"/", "/ui", "/ui/", "/v1/nodes", "/openapi.json"} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", path, answer.Status, err)
		}
	}
}
