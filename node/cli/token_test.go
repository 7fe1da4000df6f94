package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
)

// TestToken: a token is read from where it should be, narrowed and shown without a
// node, and refused from where others can read it.
func TestToken(t *testing.T) {
	text := warranttest.New(t).Token(t, "acme", warrant.Limits{Command: warrant.Run}).Text()
	for name, c := range map[string]struct {
		env  string
		args []string
		code int
		want string
	}{
		"nothing":            {"", []string{"tenant", "token"}, exitFailure, "there is no token"},
		"shown":              {text, []string{"tenant", "token", "--show"}, 0, "acme"},
		"shown, as JSON":     {text, []string{"tenant", "token", "--show", "--json"}, 0, `"tenant":"acme"`},
		"of a file":          {"", []string{"tenant", "token", "--show", "--token-file", "@/own"}, 0, "acme"},
		"of both":            {text, []string{"tenant", "token", "--show", "--token-file", "@/own"}, exitFailure, "leave one out"},
		"of an open file":    {"", []string{"tenant", "token", "--token-file", "@/open"}, exitFailure, "chmod 600"},
		"of no file":         {"", []string{"tenant", "token", "--token-file", "@/none"}, exitFailure, "no such file"},
		"of a folder":        {"", []string{"tenant", "token", "--token-file", "@"}, exitFailure, "no file with a token"},
		"of an empty file":   {"", []string{"tenant", "token", "--token-file", "@/empty"}, exitFailure, "no file with a token"},
		"garbage":            {"dugnad_garbage", []string{"tenant", "token"}, exitFailure, "cannot be read"},
		"as an argument":     {"", []string{"tenant", "token", text}, exitFailure, "is a secret"},
		"as an id":           {"", []string{"tenant", "revoke", text}, exitFailure, "is a secret"},
		"as a command":       {"", []string{"tenant", text}, exitFailure, "no command"},
		"as a flag":          {"", []string{"tenant", "token", "--token", text}, exitFailure, "unknown flag"},
		"an id cut short":    {"", []string{"tenant", "revoke", "abc"}, exitFailure, "64 hexadecimal"},
		"an end of no id":    {text, []string{"tenant", "revoke", "--until", "2h"}, exitFailure, "--until is for an id"},
		"only what is not":   {text, []string{"tenant", "token", "--only", "all the rest"}, exitFailure, "none of run, read and all"},
		"only what is more":  {text, []string{"tenant", "token", "--only", "all"}, exitFailure, "more than it was given"},
		"until before now":   {text, []string{"tenant", "token", "--until", "2020-01-01T00:00:00Z"}, exitFailure, "is in the past"},
		"until no time":      {text, []string{"tenant", "token", "--until", "soon"}, exitFailure, "neither a period"},
		"for no module":      {text, []string{"tenant", "token", "--module", "@/none.wasm"}, exitFailure, "name a file"},
		"for half a hash":    {text, []string{"tenant", "token", "--module", "sha256:abc"}, exitFailure, "64 hexadecimal"},
		"narrowed":           {text, []string{"tenant", "token", "--module", "@/m.wasm", "--until", "30d"}, 0, warrant.Prefix},
		"narrowed to a file": {text, []string{"tenant", "token", "--until", "2h", "-o", "@/made"}, 0, ""},
		"over another file":  {text, []string{"tenant", "token", "-o", "@/own"}, exitFailure, "file exists"},
	} {
		r := newTestRun(t)
		for file, mode := range map[string]os.FileMode{"own": 0o600, "open": 0o640} {
			if err := os.WriteFile(filepath.Join(r.dir, file), []byte(text+"\n"), mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(r.dir, "empty"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if c.env != "" {
			r.env = append(r.env, environToken+"="+c.env)
		}
		code := r.run(c.args...)
		out := r.stdout.String() + r.stderr.String()
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, %q, %q, want %d and %q", name, code, r.stdout.String(), r.stderr.String(), c.code, c.want)
		}
		if strings.Contains(out, text[:40]) {
			t.Errorf("%s: the token is shown: %q", name, out)
		}
	}
}

// TestTokenNarrowed: what the flags say is what the new token allows.
func TestTokenNarrowed(t *testing.T) {
	text := warranttest.New(t).Token(t, "acme", warrant.Limits{}).Text()
	r := newTestRun(t)
	r.env = append(r.env, environToken+"="+text)
	before := time.Now()
	if code := r.run("tenant", "token", "--only", "read", "--module", "@/m.wasm", "--until", "30d", "-o", "@/made"); code != 0 {
		t.Fatalf("exit code %d: %s", code, r.stderr.String())
	}
	made, err := readToken(filepath.Join(r.dir, "made"), nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := warrant.Parse(made)
	if err != nil {
		t.Fatal(err)
	}
	g := token.Grant()
	// The SHA-256 of "module".
	const module = "sha256:120970d812836f19888625587a4606a5ad23cef31c8684e601771552548fc6b9"
	if g.Tenant != "acme" || g.Command != warrant.Read || len(g.Modules) != 1 || g.Modules[0] != module || len(g.IDs) != 2 {
		t.Errorf("%+v", g)
	}
	if left := g.Until.Sub(before); left < 29*24*time.Hour || left > 31*24*time.Hour {
		t.Errorf("it ends in %s", left)
	}
}
