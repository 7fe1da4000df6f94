package cli

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/runtime/meter"
)

const inspected = "../../runtime/meter/testdata/kernels/fib.wasm"

func TestInspectFile(t *testing.T) {
	r := newTestRun(t)
	if code := r.run("module", "inspect", inspected); code != 0 {
		t.Fatalf("exit %d: %s", code, &r.stderr)
	}
	for _, want := range []string{"functions     2\n", "loops         1, ", "checks        ", "cost table    version ", "CLASS ", "\ncomparison "} {
		if !strings.Contains(r.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &r.stdout)
		}
	}
	r = newTestRun(t)
	if code := r.run("module", "inspect", "--json", inspected); code != 0 {
		t.Fatalf("exit %d: %s", code, &r.stderr)
	}
	var got api.Inspection
	if err := json.Unmarshal(r.stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Functions != 2 || got.Loops != 1 || got.Charges < 3 || got.Checks < 2 || got.MeterVersion != meter.Version ||
		got.MeteredBytes <= got.Bytes || got.StartFuel < meter.InstanceFuel || got.CompileNanos <= 0 || !strings.HasPrefix(got.Module, modulePrefix) {
		t.Errorf("got %+v", got)
	}
	instructions := 0
	for _, c := range got.Classes {
		instructions += c.Instructions
	}
	if first := got.Classes[0]; first != (api.ClassShare{Class: "call", Fuel: 8, Instructions: 2}) {
		t.Errorf("the dearest class is %+v", first)
	}
	if instructions != got.Instructions {
		t.Errorf("classes of %d instructions, lint counts %d", instructions, got.Instructions)
	}
}

func TestInspectFileSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"@/m.wasm"}, exitRefused, "refused: the file looks like plain text"},
		{[]string{"@/none.wasm"}, exitNotFound, "there is no such file"},
		{[]string{"--wat", "0", strings.Repeat("ab", 32)}, exitFailure, "--wat wants a module in a file"},
		{[]string{"--wat", "0", "--json", inspected}, exitFailure, "leave out --json"},
	} {
		r := newTestRun(t)
		if code := r.run(append([]string{"module", "inspect"}, c.args...)...); code != c.code || !strings.Contains(r.stderr.String(), c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, &r.stderr)
		}
	}
	t.Setenv("PATH", t.TempDir())
	r := newTestRun(t)
	if code := r.run("module", "inspect", "--wat", "0", inspected); code == 0 || !strings.Contains(r.stderr.String(), "apt install wabt") {
		t.Errorf("without %s: exit %d, %s", disassembler, code, &r.stderr)
	}
}

func TestInspectShowsAFunction(t *testing.T) {
	if _, err := exec.LookPath(disassembler); err != nil {
		t.Skip(err)
	}
	for which, want := range map[string]string{"0": "call 0", "run": "call 0", "1": "call 0"} {
		r := newTestRun(t)
		if code := r.run("module", "inspect", "--wat", which, inspected); code != 0 {
			t.Fatalf("%s: exit %d: %s", which, code, &r.stderr)
		}
		before, after, _ := strings.Cut(r.stdout.String(), "after metering")
		if !strings.Contains(before, want) || strings.Contains(before, "i64.sub") || !strings.Contains(after, "i64.sub") ||
			strings.Count(before, "(func ") != 1 || strings.Count(after, "(func ") != 1 {
			t.Errorf("%s: got\n%s", which, &r.stdout)
		}
	}
	for _, which := range []string{"nobody", "2", "-1"} {
		r := newTestRun(t)
		if code := r.run("module", "inspect", "--wat", which, inspected); code != exitFailure || !strings.Contains(r.stderr.String(), "there is no function "+which) {
			t.Errorf("%s: exit %d, %s", which, code, &r.stderr)
		}
	}
}

func TestFindFunction(t *testing.T) {
	text := `(module
  (import "a" "b" (func $b (type 0)))
  (func $one (type 0)
    nop)
  (func (;2;) (type 0))
  (func $three (type 0))
  (export "shown" (func $three))
  (export "own" (func $b)))
`
	for _, c := range []struct {
		name         string
		number       int
		want         int
		alias, first string
	}{
		{"", 1, 1, "", "  (func $one "},
		{"", 2, 2, "", "  (func (;2;) "},
		{"three", -1, 3, "", "  (func $three "},
		{"shown", -1, -1, "$three", ""},
		{"b", -1, -1, "", ""},
		{"own", -1, -1, "$b", ""},
	} {
		body, number, alias, err := findFunction(strings.NewReader(text), c.name, c.number, 1)
		if err != nil || number != c.want || alias != c.alias || !strings.HasPrefix(body, c.first) || (body == "") != (c.first == "") || strings.Count(body, "(func") > 1 {
			t.Errorf("%q %d: %q, %d, %q, %v", c.name, c.number, body, number, alias, err)
		}
	}
}

func TestIsModuleFile(t *testing.T) {
	dir := t.TempDir()
	for word, want := range map[string]bool{
		"a.wasm": true, filepath.Join(dir, "x"): true, dir: true, "inspect_test.go": true,
		strings.Repeat("ab", 32): false, "sha256:" + strings.Repeat("ab", 32): false, "testdata": false,
	} {
		if got := isModuleFile(word); got != want {
			t.Errorf("%s is a file: %v", word, got)
		}
	}
}
