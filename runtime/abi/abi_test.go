package abi

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocument compares ABI.md with the tables: what one of them has, the other has.
func TestDocument(t *testing.T) {
	raw, err := os.ReadFile("ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range Functions() {
		want = append(want, fmt.Sprintf("| `%s` | `%s` | `%s` |", f.Name, strings.Join(f.Params, "`, `"), f.Capability))
	}
	for _, c := range Codes() {
		want = append(want, fmt.Sprintf("| %d | `%s` | %s |", int32(c), c.Name(), c.Error()))
	}
	var rows []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "| `") || strings.HasPrefix(line, "| -") && !strings.HasPrefix(line, "| ---") {
			rows = append(rows, line)
		}
	}
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("ABI.md has\n%s\nand the tables\n%s", got, strings.Join(want, "\n"))
	}
	for _, text := range []string{Module, fmt.Sprint(HTTPHeadBytesMax), fmt.Sprintf("At most %d requests", HTTPOpenMax)} {
		if !strings.Contains(string(raw), text) {
			t.Errorf("ABI.md does not say %q", text)
		}
	}
}

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range Codes() {
		if int32(c) != int32(-1-i) || seen[c.Name()] || c.Error() == "" || !c.Known() {
			t.Errorf("code %d: %q", c, c.Name())
		}
		seen[c.Name()] = true
	}
	if len(seen) != len(codeTable) || Code(0).Known() || codesEnd.Known() || Code(1).Known() {
		t.Errorf("%d codes, %d rows", len(seen), len(codeTable))
	}
}
