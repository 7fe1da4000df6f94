package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDependencies: each direct dependency has a row with its reason in
// RATIONALE.md, and each row is one.
func TestDependencies(t *testing.T) {
	direct := requirements(t)
	rows := map[string]bool{}
	for _, line := range strings.Split(readRepository(t, "RATIONALE.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, word := range strings.Fields(cells[1]) {
			name, quoted := strings.CutPrefix(strings.TrimRight(word, ","), "`")
			name = strings.TrimSuffix(name, "`")
			domain, _, path := strings.Cut(name, "/")
			if quoted && path && strings.Contains(domain, ".") {
				rows[name] = strings.TrimSpace(cells[2]) != ""
			}
		}
	}
	for name := range direct {
		if !rows[name] {
			t.Errorf("go.mod requires %s, but RATIONALE.md has no row that says why", name)
		}
	}
	for name := range rows {
		if !direct[name] {
			t.Errorf("RATIONALE.md has a row for %s, which go.mod does not require", name)
		}
	}
}

// requirements lists the modules that go.mod requires directly.
func requirements(t *testing.T) map[string]bool {
	t.Helper()
	out, block := map[string]bool{}, false
	for _, line := range strings.Split(readRepository(t, "go.mod"), "\n") {
		fields := strings.Fields(line)
		switch {
		case line == "require (":
			block = true
		case line == ")":
			block = false
		case !strings.HasPrefix(line, "require ") && !block, len(fields) < 2, strings.HasSuffix(line, "// indirect"):
		default:
			out[strings.TrimPrefix(fields[len(fields)-2], "require ")] = true
		}
	}
	if len(out) == 0 {
		t.Fatal("go.mod requires nothing: the test does not understand it")
	}
	return out
}

func readRepository(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
