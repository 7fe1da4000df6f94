package node

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/span"
)

// told is a span as a collector gets it.
type told struct {
	*otlp.Span
	node string
}

// collector takes spans as OpenTelemetry's does.
type collector struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	spans []told
	raw   []byte
	// came holds an element after spans came.
	came chan struct{}
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, came: make(chan struct{}, 1)}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL + "/v1/traces"
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			c.t.Error(err)
			return
		}
	}
	b, err := io.ReadAll(body)
	// A request for export has its only field where TracesData has it.
	var data otlp.TracesData
	if err == nil {
		err = proto.Unmarshal(b, &data)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s of %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, b...)
	for _, of := range data.GetResourceSpans() {
		node := fact(of.GetResource().GetAttributes(), "service.instance.id").GetStringValue()
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, told{s, node})
			}
		}
	}
	select {
	case c.came <- struct{}{}:
	default:
	}
}

// fact returns what a list of attributes says.
func fact(list []*common.KeyValue, name string) *common.AnyValue {
	for _, kv := range list {
		if kv.GetKey() == name {
			return kv.GetValue()
		}
	}
	return nil
}

// await returns the spans of a job when they are as they should be.
func (c *collector) await(ctx context.Context, job string, ok func(map[string][]told) bool) map[string][]told {
	c.t.Helper()
	for {
		byName := map[string][]told{}
		c.mu.Lock()
		for _, s := range c.spans {
			if fact(s.GetAttributes(), "dugnad.job").GetStringValue() == job {
				byName[s.GetName()] = append(byName[s.GetName()], s)
			}
		}
		c.mu.Unlock()
		if ok(byName) {
			return byName
		}
		select {
		case <-c.came:
		case <-ctx.Done():
			for name, list := range byName {
				c.t.Logf("%d of %s", len(list), name)
			}
			c.t.Fatal("the spans of the job do not come")
		}
	}
}

// tasksOf sums up the tasks of spans.
func tasksOf(list []told) (n int64) {
	for _, s := range list {
		n += fact(s.GetAttributes(), "dugnad.tasks").GetIntValue()
	}
	return n
}

// tree verifies that spans are of one trace, and one tree: it returns the root.
func tree(t *testing.T, trace string, byName map[string][]told) told {
	t.Helper()
	byID := map[string]told{}
	var root told
	for name, list := range byName {
		for _, s := range list {
			id := string(s.GetSpanId())
			if _, twice := byID[id]; twice || len(id) != 8 {
				t.Errorf("%s: id %x again", name, id)
			}
			byID[id] = s
			if got := hex.EncodeToString(s.GetTraceId()); got != trace {
				t.Errorf("%s is in trace %s, want %s", name, got, trace)
			}
			if s.GetStartTimeUnixNano() > s.GetEndTimeUnixNano() {
				t.Errorf("%s ends before it begins", name)
			}
			if name == span.Submit {
				root = s
			}
		}
	}
	for name, list := range byName {
		for _, s := range list {
			above, ok := byID[string(s.GetParentSpanId())]
			want := span.Submit
			switch name {
			case span.Submit:
				continue
			case span.Compile, span.Attempt, span.Store, span.Report:
				want = span.Lease
			}
			if !ok || above.GetName() != want {
				t.Errorf("%s is below %q, %t, want %s", name, above.GetName(), ok, want)
			}
			if ok && want == span.Lease && above.node != s.node {
				t.Errorf("%s of %s is below a lease of %s", name, s.node, above.node)
			}
		}
	}
	return root
}

// TestTraces: what becomes of a job is one tree of spans, whichever nodes they come
// from, below the client's span when there is one.
func TestTraces(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	col := newCollector(t)
	var list []*Node
	var clients []*client.Client
	for i := range 3 {
		c := testConfig(filepath.Join(t.TempDir(), fmt.Sprint("node", i)))
		c.Host.Name, c.Found, c.TraceEndpoint = fmt.Sprint("n", i), i == 0, col.url
		if i > 0 {
			c.Invitation = invite(ctx, t, list[0])
		}
		n := openNode(ctx, t, c)
		list, clients = append(list, n), append(clients, apiOf(t, n))
	}
	hello, exit := push(ctx, t, clients[0], "hello"), push(ctx, t, clients[0], "exit2")

	// The founder leads, another node is asked, and a third one works.
	t.Run("own", func(t *testing.T) {
		const count = 1000
		s := submit(ctx, t, clients[1], "module: %s\ncount: %d\nconstraints: {labels: [name=n2]}\n", hello, count)
		if j, err := clients[1].Wait(ctx, s.ID, client.Fresh{Index: s.Index}); err != nil || j.State != api.JobSucceeded {
			t.Fatalf("%+v, %v", j, err)
		}
		byName := col.await(ctx, s.ID, func(m map[string][]told) bool {
			return tasksOf(m[span.Lease]) >= count && tasksOf(m[span.Place]) >= count && len(m[span.Submit]) == 1 && len(m[span.Propose]) == 1 && len(m[span.Report]) > 0
		})
		root := tree(t, s.ID, byName)
		if root.node != string(list[1].self()) || len(root.GetParentSpanId()) != 0 {
			t.Errorf("the root is of %s, below %x", root.node, root.GetParentSpanId())
		}
		for name, node := range map[string]*Node{
			span.Admit: list[1], span.Propose: list[1], span.Queue: list[0], span.Place: list[0],
			span.Fetch: list[2], span.Lease: list[2], span.Compile: list[2], span.Attempt: list[2], span.Store: list[2], span.Report: list[2],
		} {
			if len(byName[name]) == 0 {
				t.Errorf("no span of %s", name)
			}
			for _, s := range byName[name] {
				if s.node != string(node.self()) {
					t.Errorf("%s is of %s, want %s", name, s.node, node.self())
				}
			}
		}
		attempts := map[string]int{}
		for _, s := range byName[span.Attempt] {
			attempts[string(s.GetParentSpanId())]++
			if fact(s.GetAttributes(), "dugnad.fuel").GetIntValue() == 0 || fact(s.GetAttributes(), "dugnad.memory_peak_bytes").GetIntValue() == 0 {
				t.Errorf("attempt without use: %v", s.GetAttributes())
			}
		}
		for _, n := range attempts {
			if n > 64 {
				t.Errorf("%d attempts below a lease", n)
			}
		}
	})
	t.Run("of the client", func(t *testing.T) {
		const trace, above = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
		id := submitTraced(ctx, t, list[2], fmt.Sprintf("module: %s\nretry: {attempts: 1}\nargs: [s3cret-argument]\nenv: {S3CRET: s3cret-value}\nname: s3cret-name\n", exit), "00-"+trace+"-"+above+"-01")
		if j, err := clients[2].Wait(ctx, id, client.Fresh{}); err != nil || j.State != api.JobFailed {
			t.Fatalf("%+v, %v", j, err)
		}
		byName := col.await(ctx, id, func(m map[string][]told) bool {
			return len(m[span.Lease]) == 1 && len(m[span.Place]) == 1 && len(m[span.Propose]) == 1
		})
		if root := tree(t, trace, byName); hex.EncodeToString(root.GetParentSpanId()) != above {
			t.Errorf("the root is below %x, want %s", root.GetParentSpanId(), above)
		}
		list := byName[span.Attempt]
		if len(list) != 1 || list[0].GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR || fact(list[0].GetAttributes(), "dugnad.class").GetStringValue() != "exit" {
			t.Errorf("attempts: %v", list)
		}
		col.mu.Lock()
		defer col.mu.Unlock()
		if bytes.Contains(col.raw, []byte("s3cret")) {
			t.Error("what the tenant has given to its guest is in the spans")
		}
	})
}

// submitTraced submits a job with a traceparent, and returns its id.
func submitTraced(ctx context.Context, t *testing.T, n *Node, file, parent string) string {
	t.Helper()
	const key = "0123456789abcdef0123456789abcdef"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node"+api.Prefix+"/jobs", bytes.NewReader([]byte(file)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/yaml")
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Idempotency-Key", key)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return control.Dial(ctx, n.config.Dir) }}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatal(answer.Status)
	}
	return key
}
