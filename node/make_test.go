package node

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMakeTargets: every target that a person may call has a line of help, and
// those that README.md, CONTRIBUTING.md and .ci/run name are there.
func TestMakeTargets(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(repository + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	makefile := read("Makefile")
	var helped []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## .`).FindAllStringSubmatch(makefile, -1) {
		helped = append(helped, m[1])
	}
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(makefile)
	if phony == nil {
		t.Fatal("the Makefile has no line .PHONY")
	}
	for _, target := range strings.Fields(phony[1]) {
		if target != "FORCE" && !slices.Contains(helped, target) {
			t.Errorf("make %s has no help: write \"%s: ## what it does\"", target, target)
		}
	}
	for _, path := range []string{"README.md", "CONTRIBUTING.md", ".ci/run"} {
		for _, m := range regexp.MustCompile("(?m)(?:^|`|step )make ([a-z0-9-]+(?: [a-z0-9-]+)*)").FindAllStringSubmatch(read(path), -1) {
			for _, target := range strings.Fields(m[1]) {
				if !slices.Contains(helped, target) {
					t.Errorf("%s names make %s, which the Makefile does not have", path, target)
				}
			}
		}
	}
}
