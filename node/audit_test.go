package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
)

// TestAudit: what the operator, a tenant and strangers do is noted, each once, with how
// it ended; what only reads is not; and nothing that was said in confidence is there.
func TestAudit(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	c := testConfig(filepath.Join(dir, "founder"))
	c.Found, c.APIListen = true, "127.0.0.1:0"
	n := openNode(ctx, t, c)
	url, _ := n.APIURL()
	operator, tenant := control.NewClient(c.Dir), openClient(t, client.Config{URL: url})
	socket := openClient(t, client.Config{URL: "http://node", Dial: func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, c.Dir) }})

	invitation, err := operator.Invite(ctx, control.Invitation{Role: "worker", Seconds: 3600, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	v, err := p2p.ParseInvitation(invitation.Text)
	if err != nil {
		t.Fatal(err)
	}
	joinNetworkOnly(ctx, t, testConfig(filepath.Join(dir, "second")), v)
	third := testConfig(filepath.Join(dir, "third")).Host
	third.Dir, third.Invitation = filepath.Join(dir, "third"), v
	if h, err := p2p.Open(ctx, third); err == nil {
		_ = h.Close()
		t.Fatal("an invitation was good twice")
	}
	if err := operator.Expel(ctx, "nobody"); err == nil {
		t.Error("nobody was expelled")
	}

	const secret = "correct-horse-battery-staple"
	file := fmt.Appendf(nil, "module: %s\nenv: {PASSWORD: %s}\nargs: [%s]\n", push(ctx, t, tenant, "hello"), secret, secret)
	if _, err := tenant.Plan(ctx, file); err != nil {
		t.Error(err)
	}
	s, err := tenant.Submit(ctx, file, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.Wait(ctx, s.ID, client.Fresh{Index: s.Index}); err != nil {
		t.Fatal(err)
	}
	_, ended := tenant.Cancel(ctx, s.ID)
	_, wrong := tenant.Submit(ctx, []byte("module: "+secret+"\n"), "")
	_, odd := tenant.Cancel(ctx, "dugnad_"+strings.Repeat(secret, 10))
	if ended == nil || wrong == nil || odd == nil {
		t.Errorf("%v, %v, %v: each is wrong", ended, wrong, odd)
	}
	page, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/jobs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	page.Header.Set("Origin", "https://example.org")
	if res, err := http.DefaultClient.Do(page); err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("a page elsewhere: %v, %v", res, err)
	}
	self := string(n.self())
	if _, err := socket.Drain(ctx, self); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}

	got := noted(t, c.Dir)
	for _, want := range []string{
		"operator - start " + self + " ok",
		"operator socket invite  ok",
		"operator socket expel nobody refused",
		"node join invitation:" + v.ID.String() + " ok",
		"node address join  invitation_used_up",
		"tenant:default address push-module " + strings.Fields(string(file))[1] + " ok",
		"tenant:default address submit-job " + s.ID + " ok",
		"tenant:default address cancel-job " + s.ID + " " + string(problem(ended)),
		"tenant:default address submit-job  " + string(problem(wrong)),
		"tenant:default address cancel-job (no id) " + string(problem(odd)),
		"unknown address POST /v1/jobs  cross_origin",
		"operator socket drain-node " + self + " ok",
		"operator - stop " + self + " ok",
	} {
		want = strings.Replace(want, "node join", "node - join", 1)
		at := slices.Index(got, want)
		if at < 0 {
			t.Errorf("%q was not noted", want)
			continue
		}
		got = slices.Delete(got, at, at+1)
	}
	// A node that was refused may come again by another way.
	got = slices.DeleteFunc(got, func(line string) bool { return line == "node address join  invitation_used_up" })
	if len(got) > 0 {
		t.Errorf("noted beyond that: %q", got)
	}
	hides(t, c.Dir, secret, invitation.Text)
}

// noted returns the records of a folder, a line each; addresses and names of nodes that
// have joined are left out.
func noted(t *testing.T, dir string) (lines []string) {
	t.Helper()
	r, err := audit.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	list, err := r.Next()
	if err != nil || r.Damaged() > 0 {
		t.Fatal(err, r.Damaged())
	}
	for _, r := range list {
		from := r.From
		switch {
		case from == "":
			from = "-"
		case from != audit.Socket:
			from = "address"
		}
		who, _, _ := strings.Cut(r.Who, ":12D3")
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", who, from, r.Operation, r.Object, r.Code))
	}
	return lines
}

// hides looks for secrets in the audit log's files.
func hides(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "audit", "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files %q, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has %q in it:\n%s", file, secret, b)
			}
		}
	}
}
