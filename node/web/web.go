// Package web serves the user interface for browsers: a few files that are part of
// the program, need no other host, and speak to the node's API as any client does.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
)

// Path is what the addresses of the interface begin with.
const Path = "/ui/"

//go:embed ui
var files embed.FS

// policy lets a page load nothing but the interface's own files and speak to nobody
// but its own node. A script that would make HTML from a text is stopped by the
// browser.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types are the media types of the files, whatever the machine thinks of their names.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one that is served.
type file struct {
	body []byte
	// kind is its media type, tag changes with its bytes.
	kind, tag string
}

// Handler answers for everything below Path, and sends the root there.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler(Path, http.StatusFound))
	for name, f := range load() {
		mux.Handle("GET "+Path+name, f)
		if name == "index.html" {
			mux.Handle("GET "+Path+"{$}", f)
		}
	}
	return mux
}

// load reads the files by their names below Path. They are part of the program: one
// that cannot be read is a fault of its build.
func load() map[string]*file {
	out := map[string]*file{}
	root, err := fs.Sub(files, "ui")
	if err != nil {
		panic(err)
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, name)
		sum := sha256.Sum256(b)
		out[name] = &file{body: b, kind: types[path.Ext(name)], tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		return err
	})
	if err != nil {
		panic(err)
	}
	return out
}

// ServeHTTP implements http.Handler.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// Another version of the node has other files under the same names.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	if _, err := w.Write(f.body); err != nil {
		return // The browser has gone.
	}
}
