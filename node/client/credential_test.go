package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

// TestPlain: a token is not used where others could read along.
func TestPlain(t *testing.T) {
	token := warranttest.New(t).Token(t, "acme", warrant.Limits{}).Text()
	dial := func(context.Context) (net.Conn, error) { return nil, errAway }
	for name, c := range map[string]struct {
		config Config
		want   error
	}{
		"another machine":            {Config{URL: "http://192.0.2.1:4611", Token: token}, ErrPlain},
		"another machine's name":     {Config{URL: "http://localhost.example:4611", Token: token}, ErrPlain},
		"another machine, over TLS":  {Config{URL: "https://192.0.2.1:4611", Token: token}, nil},
		"this machine":               {Config{URL: "http://127.0.0.1:4611", Token: token}, nil},
		"this machine, IPv6":         {Config{URL: "http://[::1]:4611", Token: token}, nil},
		"a socket":                   {Config{URL: "http://node", Token: token, Dial: dial}, nil},
		"no token":                   {Config{URL: "http://192.0.2.1:4611"}, nil},
		"what is no token":           {Config{URL: "http://127.0.0.1:4611", Token: "dugnad_secret"}, warrant.ErrMalformed},
		"a token that was cut short": {Config{URL: "http://127.0.0.1:4611", Token: token[:100]}, warrant.ErrMalformed},
	} {
		client, err := Open(c.config)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), token[:40]) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
		if client != nil {
			client.Close()
		}
	}
}

// TestProofs: requests carry proofs that the node takes, those that read the same one,
// and no request carries the token. Where the node sends the client is not gone to.
func TestProofs(t *testing.T) {
	root := warranttest.New(t)
	token := root.Token(t, "acme", warrant.Limits{})
	verifier := warrant.NewVerifier(warrant.Roots{Grid: root.Public()}, time.Now())
	var mu sync.Mutex
	var sent bytes.Buffer
	proofs := map[string]int{}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		sent.Write(dump)
		proof := r.Header.Get("Authorization")
		proofs[r.Method+proof]++
		if _, err := verifier.Verify(proof, warrant.Call{Host: r.Host, Method: r.Method, Path: r.URL.RequestURI()}, time.Now()); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		if strings.HasSuffix(r.URL.Path, "/nodes") {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(node.Close)
	c, err := Open(Config{URL: node.URL, Token: token.Text()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 3 {
		if _, err := c.Jobs(t.Context(), "active", Page{Limit: 7}); err != nil {
			t.Error(err)
		}
		if _, err := c.PutObject(t.Context(), strings.NewReader("object")); err != nil {
			t.Error(err)
		}
	}
	if err := c.RemoveModule(t.Context(), "sha256:0 0/?"); err != nil {
		t.Error(err)
	}
	if _, err := c.Nodes(t.Context(), Page{}); err == nil {
		t.Error("the client went where the node has sent it")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(proofs) != 1+3+1 {
		t.Errorf("%d proofs were made for 3 uploads, a removal and all that reads", len(proofs))
	}
	if text := sent.String(); strings.Contains(text, token.Text()[:40]) || !strings.Contains(text, warrant.Scheme+" ") {
		t.Errorf("sent:\n%s", text)
	}
}
