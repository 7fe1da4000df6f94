package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/dugnad/dugnad/node/api"
)

// browser: what dugnad web prints lets a browser in, once, at its node, as the token's
// tenant; the operator's own is for who asks through the socket.
func (g *guarded) browser(ctx context.Context, token string) {
	g.Helper()
	if code := g.page(ctx, 1, http.MethodGet, "/v1/jobs", ""); code != string(api.CodeUnauthorized) {
		g.Errorf("without a session: %q", code)
	}
	code := g.web(token, "--api", "http://"+g.hosts[1])
	begin := `{"code": "` + code + `"}`
	const exchange = "/v1/sessions/begin"
	if got := g.page(ctx, 2, http.MethodPost, exchange, begin); got != string(api.CodeSessionCode) {
		g.Errorf("at another node: %q", got)
	}
	if got := g.page(ctx, 1, http.MethodPost, exchange, begin); got != "" || g.cookie == nil {
		g.Fatalf("at its node: %q", got)
	}
	for _, c := range []struct {
		at                 int
		method, path, want string
	}{
		{1, http.MethodPost, exchange, string(api.CodeSessionCode)},
		{1, http.MethodGet, "/v1/jobs", ""},
		{2, http.MethodGet, "/v1/jobs", string(api.CodeUnauthorized)},
		{1, http.MethodPost, "/v1/jobs/" + strings.Repeat("0", 32) + "/cancel", string(api.CodeNotFound)},
		{1, http.MethodPost, "/v1/nodes/n1/drain", string(api.CodeOperatorOnly)},
	} {
		if got := g.page(ctx, c.at, c.method, c.path, begin); got != c.want {
			g.Errorf("%s %s at node %d: %q, want %q", c.method, c.path, c.at, got, c.want)
		}
	}
	if e := g.run(token, 1, "web", "--operator"); e.code == 0 || !strings.Contains(e.stderr, "only the node's operator") {
		g.Errorf("an operator's session, with a token: %d, %q", e.code, e.stderr)
	}
	g.web("", "--operator", "--node-dir", g.nodes[0].dir)
}

// web returns the code that dugnad web prints.
func (g *guarded) web(token string, args ...string) string {
	g.Helper()
	cmd := dugnadCommand(g, nil, append([]string{"web"}, args...)...)
	if token != "" {
		cmd.Env = append(cmd.Env, environToken+"="+token)
	}
	out, err := cmd.Output()
	at, wrong := url.Parse(strings.TrimSpace(string(out)))
	if err != nil || wrong != nil {
		g.Fatalf("dugnad web: %v, %v", err, wrong)
	}
	code, ok := strings.CutPrefix(at.Fragment, "session=")
	if !ok || at.Path != "/ui/" || at.RawQuery != "" {
		g.Fatalf("dugnad web prints the path %s", at.Path)
	}
	g.secret = append(g.secret, code)
	return code
}

// page asks a node as a page of its own does, and returns the problem's code.
func (g *guarded) page(ctx context.Context, at int, method, path, body string) string {
	g.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.hosts[at]+path, strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "http://"+g.hosts[at])
	r.Header.Set(api.SessionHeader, "1")
	if g.cookie != nil {
		r.AddCookie(g.cookie)
	}
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
	if list := res.Cookies(); len(list) > 0 && list[0].MaxAge > 0 {
		g.cookie = list[0]
		g.secret = append(g.secret, g.cookie.Value)
	}
	var p api.Problem
	if res.StatusCode >= http.StatusBadRequest {
		if err := json.Unmarshal(b, &p); err != nil {
			g.Errorf("%s %s: %s, %q", method, path, res.Status, b)
		}
	}
	return string(p.Code)
}
