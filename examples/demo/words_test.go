package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSameWords: the demo's own count is right, and tells a wrong one.
func TestSameWords(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"a.go": "Two two; ONE", "x/b.go": "zwei2two", ".git/c.go": "hidden", "bin/d.go": "built", "e.md": "other"} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := gather(from, to, ".go")
	if err != nil || !slices.Equal(names, []string{"a.go", "x/b.go"}) {
		t.Fatalf("gathered %q, %v", names, err)
	}
	if _, err := gather(from, to, ".c"); err == nil {
		t.Error("nothing to count is no mistake")
	}
	for counts, want := range map[string]string{
		"3 two\n1 one\n1 zwei\n":         "",
		"2 two\n1 one\n1 zwei\n":         "1 are wrong: two",
		"3 two\n1 one\n":                 "2 different words counted, want 3",
		"3 two\n1 one\n1 zwei\n1 drei\n": "4 different words counted, want 3",
		"three two\n":                    "is not a count and a word",
	} {
		if err := sameWords(to, counts); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", counts, err, want)
		}
	}
}

func TestNodeID(t *testing.T) {
	for line, want := range map[string]string{
		"node 12D3Koo is up in grid abc as worker": "12D3Koo",
		"node is up":     "",
		"something else": "",
	} {
		if id, ok := nodeID(line); id != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", line, id, ok)
		}
	}
}
