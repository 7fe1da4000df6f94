package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWebOpen: where there is a display the browser is led to the address, which no
// other program sees; elsewhere it is printed only.
func TestWebOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a stand-in for xdg-open")
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"code":"c0de&<","until":"2026-03-04T05:06:07Z","page":"http://127.0.0.1:1/ui/"}`))
	}))
	t.Cleanup(node.Close)
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	pipe := filepath.Join(dir, "opened")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, environ ...string) (stdout, stderr string) {
		t.Helper()
		r := newTestRun(t)
		r.env = append(r.env, environ...)
		if code := r.run("web", "--open", "--api", node.URL, "--data-dir", dir); code != 0 {
			t.Fatalf("exit code %d, %s", code, r.stderr.String())
		}
		return r.stdout.String(), r.stderr.String()
	}
	address := node.URL + "/ui/#session=c0de&%3C\n"
	for environ, want := range map[string]string{"": "no display here", "DISPLAY=:0": ""} {
		if environ != "" {
			// The program gets one argument, of which the code is no part.
			script := "#!/bin/sh\n{ echo \"$*\"; cat \"$1\"; } > " + pipe + "\n"
			if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
				t.Fatal(err)
			}
		}
		out, errs := run(t, environ)
		if out != address || (want == "") != (errs == "") || !strings.Contains(errs, want) {
			t.Errorf("%q: %q, %q", environ, out, errs)
		}
	}
	got, err := os.ReadFile(pipe)
	arguments, page, _ := strings.Cut(string(got), "\n")
	if err != nil || arguments != filepath.Join(dir, browseFile) || !strings.Contains(page, `url=`+node.URL+`/ui/#session=c0de&amp;%3C"`) {
		t.Errorf("the browser gets %q, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, browseFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
