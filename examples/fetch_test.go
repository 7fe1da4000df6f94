package examples

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestFetch: a guest gets what is at a URL, when it may, and not else.
func TestFetch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "%s of %s", r.Method, r.URL.Path)
	}))
	defer s.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	allowed := []string{"--allow-http", "--http-port", port, "--http-allow-address", "127.0.0.1"}
	for _, tt := range []struct {
		flags          []string
		path           string
		code           int
		stdout, stderr string
	}{
		{allowed, "/page", 0, "GET of /page", "status 200"},
		{allowed, "/other", 1, "GET of /other", "status 404"},
		{append(allowed, "--http-host", "*.example.org"), "/page", 1, "", "error -6"},
		{[]string{"--allow-http", "--http-port", port}, "/page", 1, "", "error -9"},
		{[]string{"--allow-http"}, "/page", 1, "", "error -7"},
		{nil, "/page", 126, "", "does not ask for the capability http"},
	} {
		args := append([]string{"--grid", "never"}, tt.flags...)
		stdout, stderr, code := run(t, "", append(args, filepath.Join(bin, "fetch.wasm"), "--", s.URL+tt.path)...)
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v %s: code %d, %q, %q", tt.flags, tt.path, code, stdout, stderr)
		}
	}
}
