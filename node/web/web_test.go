package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func ask(t *testing.T, method, path, tag string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

// TestHandler: each file has its type, a policy that lets it load nothing else, and a
// tag by which a browser sees that it has it already.
func TestHandler(t *testing.T) {
	tests := []struct{ path, kind string }{
		{"", "text/html; charset=utf-8"},
		{"index.html", "text/html; charset=utf-8"},
		{"style.css", "text/css; charset=utf-8"},
		{"app.js", "text/javascript; charset=utf-8"},
		{"icon.svg", "image/svg+xml"},
	}
	for _, tt := range tests {
		r := ask(t, http.MethodGet, Path+tt.path, "")
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%s: %s, %s", tt.path, r.Status, r.Header.Get("Content-Type"))
		}
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(r.Header.Get("Content-Security-Policy"), want) {
				t.Errorf("%s: policy %q lacks %s", tt.path, r.Header.Get("Content-Security-Policy"), want)
			}
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess its type", tt.path)
		}
		if again := ask(t, http.MethodGet, Path+tt.path, r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: asked again: %s", tt.path, again.Status)
		}
	}
	if r := ask(t, http.MethodGet, "/", ""); r.StatusCode != http.StatusFound || r.Header.Get("Location") != Path {
		t.Errorf("the root: %s to %q", r.Status, r.Header.Get("Location"))
	}
	for _, path := range []string{Path + "nothing", Path + "../web.go", Path + "testdata/axe.min.js"} {
		if r := ask(t, http.MethodGet, path, ""); r.StatusCode == http.StatusOK {
			t.Errorf("%s is there", path)
		}
	}
	if r := ask(t, http.MethodPost, Path, ""); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a post: %s", r.Status)
	}
}

// TestFiles: every file has a type; none names another host, makes HTML from a text,
// or has a script or style within a page, which the policy would stop.
func TestFiles(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|srcdoc`)
	host := regexp.MustCompile(`(https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	inline := regexp.MustCompile(`<script>|<style|\son[a-z]+=|\sstyle=`)
	for name, f := range load() {
		text := string(f.body)
		if f.kind == "" {
			t.Errorf("%s has no type", name)
		}
		if strings.HasSuffix(name, ".js") && bad.MatchString(text) {
			t.Errorf("%s: %s", name, bad.FindString(text))
		}
		if strings.HasSuffix(name, ".html") && inline.MatchString(text) {
			t.Errorf("%s: %s", name, inline.FindString(text))
		}
		if found := host.FindString(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")); found != "" {
			t.Errorf("%s names another host: %s", name, found)
		}
	}
}
