package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stdTestsVariable names more packages of Go's standard library to test, apart
// by spaces, or "long" for stdTestsLong: see CONTRIBUTING.md.
const stdTestsVariable = "TEST_GO_STD"

// stdTests are quick to build and to run.
var stdTests = []string{"sort", "strconv", "unicode/utf8", "container/heap"}

// stdTestsLong pass, too, in some minutes.
var stdTestsLong = []string{
	"bufio", "bytes", "compress/flate", "crypto/sha256", "encoding/base64", "encoding/json", "hash/crc32", "math",
	"math/big", "math/bits", "regexp", "strings", "sync", "text/template", "unicode/utf16",
}

// TestGoStd runs the tests of Go's standard library as guests: somebody else's
// idea of what a correct machine does.
func TestGoStd(t *testing.T) {
	p := newProgram(t)
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := stdTests
	switch more := os.Getenv(stdTestsVariable); more {
	case "":
	case "long":
		packages = append(packages[:len(packages):len(packages)], stdTestsLong...)
	default:
		packages = append(packages[:len(packages):len(packages)], strings.Fields(more)...)
	}
	for _, name := range packages {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(filepath.Dir(p.path), strings.ReplaceAll(name, "/", "_")+".wasm")
			build := exec.Command("go", "test", "-c", "-o", binary, name)
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			e := p.run(t, "run", "--input", "go="+strings.TrimSpace(string(root)), "--env", "PWD=/input/go/src/"+name,
				binary, "--", "-test.short", "-test.v")
			if e.code != 0 || !strings.HasSuffix(e.stdout, "PASS\n") || !strings.Contains(e.stdout, "--- PASS: ") {
				t.Errorf("exit code %d\n%s\n%s", e.code, tail(e.stdout), tail(e.stderr))
			}
		})
	}
}

// tail is the end of a long output.
func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}
