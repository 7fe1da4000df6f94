package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/nodetest"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

// guarded is a grid whose API wants tokens, at an address of each node's own.
type guarded struct {
	*testing.T
	nodes []*nodeProcess
	hosts []string
	// said is all that was printed where no token belongs.
	said bytes.Buffer
	// cookie is a browser's session, secret what else is to be nowhere.
	cookie *http.Cookie
	secret []string
}

func newGuarded(t *testing.T, nodes int, more ...string) *guarded {
	t.Helper()
	g := &guarded{T: t}
	for i := range nodes {
		flags := ownAddress()
		host := strings.Split(flags[2], "/")[2] + ":4611"
		flags = append(flags, "--name", fmt.Sprint("n", i), "--slots", "2", "--api-listen", host, "--api-auth", "token")
		flags = append(flags, more...)
		if i > 0 {
			flags = append(flags, "--join", g.nodes[0].invite(t))
		}
		g.nodes = append(g.nodes, startNode(t, nil, filepath.Join(nodetest.Dir(t), fmt.Sprint("n", i)), flags...).up(t))
		g.hosts = append(g.hosts, host)
	}
	g.nodes[0].meets(t, g.nodes[1:]...)
	return g
}

// run runs dugnad with a token, at the API of a node.
func (g *guarded) run(token string, at int, args ...string) ended {
	g.Helper()
	cmd := dugnadCommand(g, nil, append(args, "--api", "http://"+g.hosts[at])...)
	if token != "" {
		cmd.Env = append(cmd.Env, "DUGNAD_TOKEN="+token)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	g.said.WriteString(out.String() + errOut.String())
	return ended{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// make runs a command that prints a token.
func (g *guarded) make(token string, args ...string) string {
	g.Helper()
	cmd := dugnadCommand(g, nil, append([]string{"tenant"}, args...)...)
	if token != "" {
		cmd.Env = append(cmd.Env, "DUGNAD_TOKEN="+token)
	}
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	text := strings.TrimSpace(string(out))
	if err != nil || !strings.HasPrefix(text, warrant.Prefix) || strings.ContainsAny(text, " \n") {
		g.Fatalf("tenant %v: %v, %s", args, err, errOut.String())
	}
	g.said.WriteString(errOut.String())
	return text
}

func (g *guarded) create(name string) string {
	g.Helper()
	return g.make("", "create", name, "--node-dir", g.nodes[0].dir)
}

func (g *guarded) client(token string, at int) *client.Client {
	g.Helper()
	c, err := client.Open(client.Config{URL: "http://" + g.hosts[at], Token: token})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(c.Close)
	return c
}

// helloFile is a module that says so.
const helloFile = "../../runtime/worker/testdata/hello.wasm"

// TestTenants: two tenants use one grid and do not see each other, whichever node they
// ask; tokens that are not good are refused, everywhere; and none is found where it
// does not belong.
func TestTenants(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := newGuarded(t, 3)
	acme, zeta := g.create("acme"), g.create("zeta")
	if e := runDugnad(t, "tenant", "create", "acme", "--node-dir", g.nodes[0].dir); e.code == 0 || !strings.Contains(e.stderr, "--existing") {
		t.Errorf("made twice: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	if e := runDugnad(t, "tenant", "create", "beta", "--node-dir", g.nodes[1].dir); e.code == 0 || !strings.Contains(e.stderr, "no admin") {
		t.Errorf("made by a worker: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
	job := g.job(ctx, acme)
	g.apart(ctx, job, acme, zeta)
	g.narrower(acme, zeta)
	g.refuses(ctx, acme)
	lent := g.make(acme, "token", "--only", "run")
	g.browser(ctx, lent)
	g.revokes(ctx, acme, lent)
	if code := g.page(ctx, 1, http.MethodGet, "/v1/jobs", ""); code != string(api.CodeTokenRevoked) {
		t.Errorf("the session of a token that was revoked: %q", code)
	}
	g.nowhere(acme, zeta)
}

// job runs a job at one node and waits for it at another.
func (g *guarded) job(ctx context.Context, token string) string {
	g.Helper()
	c := g.client(token, 1)
	m, err := c.PushModule(ctx, bytes.NewReader(read(g, helloFile)))
	if err != nil {
		g.Fatal(err)
	}
	s, err := c.Submit(ctx, []byte("module: "+m.Module+"\n"), "")
	if err != nil {
		g.Fatal(err)
	}
	j, err := g.client(token, 2).Wait(ctx, s.ID, client.Fresh{Index: s.Index})
	if err != nil || j.State != api.JobSucceeded || j.Tenant != "acme" {
		g.Fatalf("%+v, %v", j, err)
	}
	return s.ID
}

// apart: what one tenant has is not there for the other.
func (g *guarded) apart(ctx context.Context, job, acme, zeta string) {
	g.Helper()
	for at := range g.nodes {
		fresh := client.Fresh{Consistent: true}
		mine, theirs := g.client(acme, at), g.client(zeta, at)
		if j, err := mine.Job(ctx, job, fresh); err != nil || j.ID != job {
			g.Errorf("node %d: the job of its own tenant: %+v, %v", at, j, err)
		}
		if _, err := theirs.Job(ctx, job, fresh); !hasCode(err, api.CodeNotFound) {
			g.Errorf("node %d: the job of the other tenant: %v", at, err)
		}
		if list, err := theirs.Jobs(ctx, "", client.Page{}); err != nil || len(list.Jobs) > 0 {
			g.Errorf("node %d: the jobs of the other tenant: %+v, %v", at, list, err)
		}
		if list, err := theirs.Modules(ctx, client.Page{}); err != nil || len(list.Modules) > 0 {
			g.Errorf("node %d: the modules of the other tenant: %+v, %v", at, list, err)
		}
		if list, err := mine.Modules(ctx, client.Page{}); err != nil || len(list.Modules) != 1 {
			g.Errorf("node %d: the modules of its own tenant: %+v, %v", at, list, err)
		}
		for what, ask := range map[string]func() error{
			"cancel": func() error { _, err := theirs.Cancel(ctx, job); return err },
			"why":    func() error { _, err := theirs.Why(ctx, job); return err },
			"tasks":  func() error { _, err := theirs.Tasks(ctx, job, client.TaskQuery{Fresh: fresh}); return err },
			"output": func() error { _, err := theirs.Output(ctx, job, 0, "stdout"); return err },
			"events": func() error { return theirs.Watch(ctx, job, 1, func(api.Event) error { return nil }) },
		} {
			if err := ask(); !hasCode(err, api.CodeNotFound) {
				g.Errorf("node %d: %s of the other tenant's job: %v", at, what, err)
			}
		}
		// The other's job, submitted again by its id.
		file := []byte("module: " + moduleOf(ctx, g, mine) + "\n")
		if s, err := theirs.Submit(ctx, file, job); !hasCode(err, "job_exists") {
			g.Errorf("node %d: the id of the other tenant's job: %+v, %v", at, s, err)
		}
	}
}

func moduleOf(ctx context.Context, g *guarded, c *client.Client) string {
	g.Helper()
	list, err := c.Modules(ctx, client.Page{})
	if err != nil || len(list.Modules) == 0 {
		g.Fatalf("%+v, %v", list, err)
	}
	return list.Modules[0].Module
}

// narrower: a token that was narrowed does what it is for, and nothing else.
func (g *guarded) narrower(acme, zeta string) {
	g.Helper()
	read := g.make(acme, "token", "--only", "read", "--until", "2h")
	other := g.make(acme, "token", "--only", "run", "--module", "../../go.mod")
	this := g.make(acme, "token", "--only", "run", "--module", helloFile)
	for what, c := range map[string]struct {
		token string
		args  []string
		want  string
	}{
		"read, with a token to read":         {read, []string{"job", "ls"}, ""},
		"run, with a token to read":          {read, []string{"run", helloFile}, "the token is for /read"},
		"run, with a token for another":      {other, []string{"run", helloFile}, "not for module"},
		"run, with a token for this module":  {this, []string{"run", helloFile}, ""},
		"drain, with a token for everything": {zeta, []string{"node", "drain", "n1"}, "only the node's operator"},
		"without a token":                    {"", []string{"job", "ls"}, "DUGNAD_TOKEN"},
		"with a part of a token":             {acme[:len(acme)-4], []string{"job", "ls"}, "cannot be read"},
		"with what is no token":              {"secret", []string{"job", "ls"}, "cannot be read"},
	} {
		e := g.run(c.token, 2, c.args...)
		if (e.code == 0) != (c.want == "") || !strings.Contains(e.stderr, c.want) {
			g.Errorf("%s: exit code %d, %q, %q, want %q", what, e.code, e.stdout, e.stderr, c.want)
		}
	}
	e := runDugnad(g, "tenant", "token", read)
	g.said.WriteString(e.stdout + e.stderr)
	if e.code == 0 || !strings.Contains(e.stderr, "a token is a secret") {
		g.Errorf("a token on the command line: %d, %q, %q", e.code, e.stdout, e.stderr)
	}
}

// raw asks a node with a proof as it is, and returns the problem's code.
func (g *guarded) raw(ctx context.Context, at int, method, path, proof string) string {
	g.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.hosts[at]+path, nil)
	if err != nil {
		g.Fatal(err)
	}
	r.Header.Set("Authorization", proof)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		g.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.Fatal(err)
	}
	g.said.Write(b)
	var p api.Problem
	if err := json.Unmarshal(b, &p); err != nil {
		g.Errorf("%s %s: %s, %q", method, path, res.Status, b)
	}
	return string(p.Code)
}

// refuses: each node refuses what is not good, and says why.
func (g *guarded) refuses(ctx context.Context, acme string) {
	g.Helper()
	mint := func(token, host, method, path string) string {
		parsed, err := warrant.Parse(token)
		if err != nil {
			g.Fatal(err)
		}
		proof, err := parsed.Mint(warrant.Call{Host: host, Method: method, Path: path}, time.Now())
		if err != nil {
			g.Fatal(err)
		}
		return proof
	}
	brief := g.make(acme, "token", "--until", "1s")
	stranger := warranttest.New(g).Token(g, "acme", warrant.Limits{}).Text()
	cancel := "/v1/jobs/" + strings.Repeat("0", 32) + "/cancel"
	for at, host := range g.hosts {
		other := g.hosts[(at+1)%len(g.hosts)]
		once := mint(acme, host, "POST", cancel)
		forged := []byte(mint(acme, host, "GET", "/v1/jobs"))
		forged[60] ^= 1
		for what, c := range map[string]struct{ method, path, proof, want string }{
			"garbage":           {"GET", "/v1/jobs", "UCAN garbage", "token_invalid"},
			"forged":            {"GET", "/v1/jobs", string(forged), "token_invalid"},
			"too long":          {"GET", "/v1/jobs", "UCAN " + strings.Repeat("A", 40_000), "token_invalid"},
			"another grid's":    {"GET", "/v1/jobs", mint(stranger, host, "", ""), "token_other_grid"},
			"for another host":  {"GET", "/v1/jobs", mint(acme, other, "", ""), "token_other_call"},
			"for another path":  {"POST", "/v1/jobs", mint(acme, host, "POST", cancel), "token_other_call"},
			"for reading":       {"POST", cancel, mint(acme, host, "", ""), "token_other_call"},
			"good, of no job":   {"POST", cancel, mint(acme, host, "POST", cancel), "not_found"},
			"the token itself":  {"GET", "/v1/jobs", "UCAN " + acme, "token_invalid"},
			"the key, in clear": {"GET", "/v1/jobs", "Bearer " + acme, "token_invalid"},
		} {
			if got := g.raw(ctx, at, c.method, c.path, c.proof); got != c.want {
				g.Errorf("node %d, %s: %q, want %q", at, what, got, c.want)
			}
		}
		if first, second := g.raw(ctx, at, "POST", cancel, once), g.raw(ctx, at, "POST", cancel, once); first != "not_found" || second != "token_replayed" {
			g.Errorf("node %d, sent twice: %q, %q", at, first, second)
		}
		g.until(ctx, at, brief, api.CodeTokenExpired)
	}
}

// until asks a node until it refuses a token with a code.
func (g *guarded) until(ctx context.Context, at int, token string, code api.Code) {
	g.Helper()
	tick := time.NewTicker(statusPause)
	defer tick.Stop()
	c := g.client(token, at)
	for {
		_, err := c.Jobs(ctx, "", client.Page{})
		if hasCode(err, code) {
			g.said.WriteString(err.Error())
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.Fatalf("node %d does not say %s: %v", at, code, err)
		}
	}
}

// revokes: a token that was taken back, and one that was made of it, are refused by
// every node; the one that it was made of goes on.
func (g *guarded) revokes(ctx context.Context, acme, lent string) {
	g.Helper()
	further := g.make(lent, "token", "--only", "run")
	for at := range g.nodes {
		if e := g.run(further, at, "job", "ls"); e.code != 0 {
			g.Errorf("node %d, before: %d, %q", at, e.code, e.stderr)
		}
	}
	file := filepath.Join(g.TempDir(), "token")
	if err := os.WriteFile(file, []byte(lent+"\n"), 0o644); err != nil {
		g.Fatal(err)
	}
	args := []string{"tenant", "revoke", "--node-dir", g.nodes[0].dir, "--token-file", file}
	if e := runDugnad(g, args...); e.code == 0 || !strings.Contains(e.stderr, "chmod 600") {
		g.Errorf("a file that all can read: %d, %q", e.code, e.stderr)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		g.Fatal(err)
	}
	if e := runDugnad(g, args...); e.code != 0 {
		g.Fatalf("revoke: %d, %q", e.code, e.stderr)
	}
	began := time.Now()
	for at := range g.nodes {
		g.until(ctx, at, further, api.CodeTokenRevoked)
		g.until(ctx, at, lent, api.CodeTokenRevoked)
	}
	g.Logf("all nodes refuse what was revoked after %s", time.Since(began))
	if e := g.run(acme, 1, "job", "ls"); e.code != 0 {
		g.Errorf("the one that it was made of: %d, %q", e.code, e.stderr)
	}
}

// nowhere: no token is in what was printed, logged, counted or kept, nor in the
// arguments of a process.
func (g *guarded) nowhere(tokens ...string) {
	g.Helper()
	secrets := g.secret
	for _, token := range tokens {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, warrant.Prefix))
		if err != nil {
			g.Fatal(err)
		}
		seed := raw[1:33]
		secrets = append(secrets, token[:30], string(seed), fmt.Sprintf("%x", seed), base64.StdEncoding.EncodeToString(seed)[:40])
	}
	look := func(where string, in []byte) {
		for _, s := range secrets {
			if bytes.Contains(in, []byte(s)) {
				g.Errorf("a token is in %s", where)
			}
		}
	}
	look("what was printed", g.said.Bytes())
	for i, n := range g.nodes {
		out, _ := n.out.read()
		log, _ := n.errOut.read()
		look(fmt.Sprint("what node ", i, " has said"), []byte(out+log))
		look("its arguments", read(g, fmt.Sprintf("/proc/%d/cmdline", n.cmd.Process.Pid)))
		status := runDugnad(g, "status", "--json", "--node-dir", n.dir)
		look("its status", []byte(status.stdout+status.stderr))
		look("its metrics", metricsOf(g, n))
		g.folder(n.dir, look)
	}
}

// metricsOf asks for a node's metrics through its socket.
func metricsOf(tb testing.TB, n *nodeProcess) []byte {
	tb.Helper()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return control.Dial(ctx, n.dir) },
	}}
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://node/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(b, []byte("dugnad_api_chains")) {
		tb.Errorf("metrics: %s, %v, %.200s", res.Status, err, b)
	}
	return b
}

// folder looks into every file of a node's.
func (g *guarded) folder(dir string, look func(where string, in []byte)) {
	g.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			look(name, read(g, name))
		}
		return nil
	})
	if err != nil {
		g.Error(err)
	}
}

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		tb.Error(err)
	}
	return b
}
