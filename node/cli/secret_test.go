package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/warrant"
)

// confided is a grid on whose second node jobs with secrets run.
type confided struct {
	*guarded
	module string
	// spans is what the nodes have sent of jobs.
	spans *transcript
}

func newConfided(ctx context.Context, t *testing.T, token func(g *guarded) string) (*confided, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "confide.wasm")
	build := exec.CommandContext(ctx, "go", "build", "-o", file, "./testdata/confide")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	spans := &transcript{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(spans, r.Body) }))
	t.Cleanup(collector.Close)
	g := newGuarded(t, 3, "--trace-endpoint", collector.URL)
	holder := token(g)
	m, err := g.client(holder, 1).PushModule(ctx, bytes.NewReader(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	return &confided{g, m.Module, spans}, holder
}

// newValue is a secret that is nowhere else.
func newValue() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b)
	return "known-" + hex.EncodeToString(b)
}

// set keeps a secret at a node, from stdin.
func (g *confided) set(token string, at int, name, value string, flags ...string) ended {
	g.Helper()
	cmd := dugnadCommand(g, nil, append([]string{"secret", "set", name, "--api", "http://" + g.hosts[at]}, flags...)...)
	cmd.Env = append(cmd.Env, "DUGNAD_TOKEN="+token)
	cmd.Stdin = strings.NewReader(value + "\n")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	g.said.WriteString(out.String() + errOut.String())
	return ended{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// submit submits a job that runs on the second node, and has the secret.
func (g *confided) submit(ctx context.Context, token, do, more string) string {
	g.Helper()
	file := fmt.Sprintf("module: %s\nenv: {DO: %s}\nsecrets: {KEY: API_KEY}\nconstraints: {labels: {name: n1}}\n%s", g.module, do, more)
	s, err := g.client(token, 2).Submit(ctx, []byte(file), "")
	if err != nil {
		g.Fatal(err)
	}
	return s.ID
}

// output waits for a job and returns what it has put out.
func (g *confided) output(ctx context.Context, token, id string) string {
	g.Helper()
	c := g.client(token, 1)
	if j, err := c.Wait(ctx, id, client.Fresh{Consistent: true}); err != nil || j.State != api.JobSucceeded {
		g.Fatalf("%+v, %v", j, err)
	}
	r, err := c.Output(ctx, id, 0, "stdout")
	if err != nil {
		g.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		g.Fatal(err)
	}
	return string(b)
}

func sum(value string) string {
	s := sha256.Sum256([]byte(value))
	return hex.EncodeToString(s[:])
}

// TestSecret: a job is given the secret that it names, as it was set; while it holds it,
// the value is in the memory of the node that runs it, and nowhere else: in no file, log,
// answer, metric, argument, environment or backup of any node, nor in the memory of the
// others. What its tenant removes it is not given any more.
func TestSecret(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var zeta string
	g, acme := newConfided(ctx, t, func(g *guarded) string {
		zeta = g.create("zeta")
		return g.create("acme")
	})
	value := newValue()
	if e := g.set(acme, 2, "API_KEY", value); e.code != 0 || e.stdout != "API_KEY version 1, sealed to 1 custodian\n" {
		t.Fatalf("%+v", e)
	}
	g.misused(ctx, acme, zeta)
	held := g.submit(ctx, acme, "hold", "")
	later := g.submit(ctx, acme, "sum", "after: {jobs: ["+held+"], condition: finished}\n")
	g.heldBy(ctx, value)
	g.search(ctx, acme, value, held, later)
	if e := g.run(acme, 0, "secret", "rm", "API_KEY"); e.code != 0 {
		t.Errorf("%+v", e)
	}
	if _, err := g.client(acme, 0).Cancel(ctx, held); err != nil {
		t.Error(err)
	}
	g.refusedFor(ctx, acme, later)
	next := newValue()
	if e := g.set(acme, 1, "API_KEY", next); e.code != 0 {
		t.Fatalf("%+v", e)
	}
	if got := g.output(ctx, acme, g.submit(ctx, acme, "sum", "")); got != sum(next) {
		t.Errorf("the guest was told a secret of sum %s, want %s", got, sum(next))
	}
	g.submit(ctx, acme, "hold", "")
	g.heldBy(ctx, next)
	// What a node says of its goroutines when it is made to end shows no secret.
	if err := g.nodes[1].cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-g.nodes[1].ended
	if log, _ := g.nodes[1].errOut.read(); !strings.Contains(log, "goroutine ") {
		t.Errorf("no goroutines in what it says:\n%s", log)
	}
	g.files(value)
	g.files(next)
}

// TestSecretPrinted: what a guest makes of its secret is its own affair.
func TestSecretPrinted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g, acme := newConfided(ctx, t, func(g *guarded) string { return g.create("acme") })
	value := newValue() + " {index}\nand a second line"
	if e := g.set(acme, 0, "API_KEY", value, "--node", "n1"); e.code != 0 {
		t.Fatalf("%+v", e)
	}
	if got := g.output(ctx, acme, g.submit(ctx, acme, "print", "")); got != value {
		t.Errorf("printed %q, want %q", got, value)
	}
	// Bound to another node than the job, it is given to none, and the job says why it waits.
	if e := g.set(acme, 0, "API_KEY", value, "--node", "n2"); e.code != 0 || !strings.Contains(e.stdout, "version 2") {
		t.Fatalf("%+v", e)
	}
	id := g.submit(ctx, acme, "print", "")
	until(t, "the reason of the wait", func() bool {
		e := g.run(acme, 2, "job", "why", id)
		return strings.Contains(e.stdout, "API_KEY") && strings.Contains(e.stdout, "set the secret for other nodes")
	})
	if j, err := g.client(acme, 0).Job(ctx, id, client.Fresh{}); err != nil || j.Tasks.Succeeded > 0 || j.Tasks.Failed+j.Tasks.Refused > 0 {
		t.Errorf("%+v, %v", j, err)
	}
	// Set for the node of the job, it is given, and the job goes on.
	if e := g.set(acme, 0, "API_KEY", value, "--node", "n1"); e.code != 0 {
		t.Fatalf("%+v", e)
	}
	if got := g.output(ctx, acme, id); got != value {
		t.Errorf("printed %q, want %q", got, value)
	}
}

// misused: secrets are not there for another tenant, a token that is not for that changes
// none, and what is wrong is said without the value.
func (g *confided) misused(ctx context.Context, acme, zeta string) {
	g.Helper()
	narrow := g.make(acme, "token", "--only", "run")
	for what, c := range map[string]struct {
		e    ended
		code int
		want string
	}{
		"list":                          {g.run(acme, 1, "secret", "ls"), 0, "API_KEY"},
		"list of a narrower token":      {g.run(narrow, 1, "secret", "ls"), 0, "API_KEY"},
		"list of another tenant":        {g.run(zeta, 1, "secret", "ls"), 0, "SECRET "},
		"removal by another tenant":     {g.run(zeta, 1, "secret", "rm", "API_KEY"), exitFailure, "secret_unknown"},
		"removal with a narrower token": {g.run(narrow, 1, "secret", "rm", "API_KEY"), exitFailure, "the token is for /run"},
		"change with a narrower token":  {g.set(narrow, 1, "API_KEY", "other"), exitFailure, "the token is for /run"},
		"a bad name":                    {g.set(acme, 1, "API-KEY", "other"), exitFailure, "not a name of a secret"},
		"an empty value":                {g.set(acme, 1, "A", ""), exitFailure, "it is empty"},
		"a large value":                 {g.set(acme, 1, "A", strings.Repeat("a", 64<<10+1)), exitFailure, "more than 65536 bytes"},
		"a zero byte":                   {g.set(acme, 1, "A", "a\x00b"), exitFailure, "zero byte"},
		"a value as an argument":        {g.set(acme, 1, "A", "b", "hunter2"), exitFailure, "no argument"},
		"a node that is not there":      {g.set(acme, 1, "A", "b", "--node", "nobody"), exitFailure, "no node is called nobody"},
		"a file that is not there":      {g.set(acme, 1, "A", "b", "--from-file", "nowhere"), exitFailure, "--from-file nowhere"},
	} {
		if c.e.code != c.code || !strings.Contains(c.e.stdout+c.e.stderr, c.want) || strings.Contains(c.e.stdout+c.e.stderr, "hunter2") {
			g.Errorf("%s: %+v, want %d, %q", what, c.e, c.code, c.want)
		}
	}
	for what, c := range map[string]struct{ token, name, want string }{
		"another tenant's": {zeta, "API_KEY", "secret set API_KEY"},
		"a misspelt one":   {acme, "API_KEYS", "did you mean API_KEY?"},
	} {
		_, err := g.client(c.token, 2).Submit(ctx, []byte("module: "+g.module+"\nsecrets: {KEY: "+c.name+"}\n"), "")
		if !hasCode(err, api.CodeSecretUnknown) || !strings.Contains(err.Error(), c.want) {
			g.Errorf("a job with %s: %v", what, err)
		}
	}
}

// refusedFor waits until a job was refused because a secret was removed.
func (g *confided) refusedFor(ctx context.Context, token, id string) {
	g.Helper()
	c := g.client(token, 0)
	j, err := c.Wait(ctx, id, client.Fresh{})
	if err != nil || j.State != api.JobFailed || j.Tasks.Refused != 1 {
		g.Errorf("%+v, %v", j, err)
	}
	task, err := c.Task(ctx, id, 0, client.Fresh{Index: j.Index})
	if err != nil || task.Result == nil || !strings.Contains(task.Result.Message, "API_KEY was removed") {
		g.Errorf("%+v, %v", task, err)
	}
}

// forms are the ways in which a value may lie somewhere.
func forms(value string) (list [][]byte) {
	list = append(list, []byte(value), []byte(hex.EncodeToString([]byte(value))))
	for shift := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		list = append(list, []byte(b[4:len(b)-4]))
	}
	return list
}

func holds(in []byte, value string) bool {
	for _, f := range forms(value) {
		if bytes.Contains(in, f) {
			return true
		}
	}
	return false
}

// heldBy waits until the value is in the memory of the second node, and looks that it is
// not in that of the others.
func (g *confided) heldBy(ctx context.Context, value string) {
	g.Helper()
	tick := time.NewTicker(statusPause)
	defer tick.Stop()
	for {
		found, err := remembers(g.nodes[1].cmd.Process.Pid, value)
		if errors.Is(err, fs.ErrPermission) {
			g.Logf("memory of other processes cannot be read here: %v", err)
			return
		}
		if found {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.Fatal("the node that runs the job does not have the value in memory: it could not be found elsewhere either")
		}
	}
	for _, i := range []int{0, 2} {
		for _, pid := range append(childrenOf(g, g.nodes[i].cmd.Process.Pid), g.nodes[i].cmd.Process.Pid) {
			if found, err := remembers(pid, value); found {
				g.Errorf("node %d remembers the value: process %d, %v", i, pid, err)
			}
		}
	}
}

// remembers reports whether a process has the value in memory that it can write.
func remembers(pid int, value string) (bool, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, err
	}
	defer mem.Close()
	const piece = 8 << 20
	buffer := make([]byte, piece+4096)
	for _, line := range strings.Split(string(maps), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "rw") {
			continue
		}
		low, high, _ := strings.Cut(fields[0], "-")
		from, errFrom := strconv.ParseUint(low, 16, 63)
		to, errTo := strconv.ParseUint(high, 16, 63)
		if err := errors.Join(errFrom, errTo); err != nil {
			return false, err
		}
		for ; from < to; from += piece {
			n, _ := mem.ReadAt(buffer[:min(uint64(len(buffer)), to-from)], int64(from)) // what is not there is not read
			if bytes.Contains(buffer[:n], []byte(value)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// childrenOf lists the processes that a process has started.
func childrenOf(g *confided, pid int) (list []int) {
	g.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		g.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(e)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(e))); err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			list = append(list, child)
		}
	}
	return list
}

// search looks for the value in all that the nodes say and keep.
func (g *confided) search(ctx context.Context, token, value string, jobs ...string) {
	g.Helper()
	look := func(where string, in []byte) {
		if holds(in, value) {
			g.Errorf("the secret is in %s", where)
		}
	}
	g.files(value)
	commands := [][]string{{"secret", "ls", "--json"}, {"job", "ls", "--all", "--json"}, {"node", "ls", "--json"}, {"module", "ls", "--json"}}
	for _, id := range jobs {
		commands = append(commands, []string{"job", "show", id, "--json"}, []string{"job", "why", id, "--json"}, []string{"job", "tasks", id, "--json"})
	}
	for i, n := range g.nodes {
		for _, c := range commands {
			e := g.run(token, i, c...)
			if e.code != 0 {
				g.Errorf("%v at node %d: %+v", c, i, e)
			}
			look(fmt.Sprint(c, " at node ", i), []byte(e.stdout+e.stderr))
		}
		look("its metrics", metricsOf(g, n))
		for _, pid := range append(childrenOf(g, n.cmd.Process.Pid), n.cmd.Process.Pid) {
			for _, file := range []string{"cmdline", "environ"} {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
				if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
					g.Error(err)
				}
				look(fmt.Sprintf("%s of process %d of node %d", file, pid, i), b)
			}
		}
	}
	backup := filepath.Join(g.TempDir(), "backup")
	if e := runDugnad(g, "backup", backup, "--node-dir", g.nodes[0].dir); e.code != 0 {
		g.Errorf("%+v", e)
	}
	look("a backup", read(g, backup))
	s, err := g.nodes[2].client.Status(ctx)
	if err != nil {
		g.Error(err)
	}
	look("a node's status", fmt.Append(nil, s))
	// The last thing that has become of the first job, and of one that comes after it.
	for i, last := range []string{"placed", "submitted"} {
		if err := g.client(token, 1).Watch(ctx, jobs[i], 0, func(e api.Event) error {
			look("an event", fmt.Append(nil, e))
			if e.Kind == last {
				return errSeen
			}
			return nil
		}); !errors.Is(err, errSeen) {
			g.Error(err)
		}
	}
	g.views(ctx, token, look, jobs)
	until(g.T, "spans of the job", func() bool {
		text, _ := g.spans.read()
		look("a span", []byte(text))
		return strings.Contains(text, jobs[0])
	})
}

// errSeen ends a watch that has seen what it was for.
var errSeen = errors.New("seen")

// views looks at what nodes answer to browsers and programs: views, pages, problems.
func (g *confided) views(ctx context.Context, token string, look func(where string, in []byte), jobs []string) {
	g.Helper()
	parsed, err := warrant.Parse(token)
	if err != nil {
		g.Fatal(err)
	}
	paths := map[string]int{
		"/v1/secrets": 200, "/v1/custodians": 200, "/v1/jobs": 200, "/v1/modules": 200, "/v1/nodes": 200, "/v1/tenants/acme": 200,
		"/v1/secrets/API_KEY": 405, "/v1/jobs/none": 422, "/openapi.json": 200, "/": 200,
	}
	for _, id := range jobs {
		for _, of := range []string{"", "/why", "/tasks"} {
			paths["/v1/jobs/"+id+of] = 200
		}
	}
	for at, host := range g.hosts {
		for path, status := range paths {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
			if err != nil {
				g.Fatal(err)
			}
			proof, err := parsed.Mint(warrant.Call{Host: host, Method: r.Method, Path: path}, time.Now())
			if err != nil {
				g.Fatal(err)
			}
			r.Header.Set("Authorization", proof)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				g.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != status || len(b) == 0 {
				g.Errorf("%s at node %d: %d, want %d, %d bytes, %v", path, at, res.StatusCode, status, len(b), err)
			}
			look(path, append(b, fmt.Sprint(res.Header)...))
		}
	}
}

// files looks for a value in all that was printed, in the nodes' logs and in their files.
func (g *confided) files(value string) {
	g.Helper()
	look := func(where string, in []byte) {
		if holds(in, value) {
			g.Errorf("the secret is in %s", where)
		}
	}
	look("what was printed", g.said.Bytes())
	for i, n := range g.nodes {
		out, _ := n.out.read()
		log, _ := n.errOut.read()
		look(fmt.Sprint("what node ", i, " has said"), []byte(out+log))
		g.folder(n.dir, look)
	}
}
