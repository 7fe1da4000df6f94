// Package node assembles Dugnad's parts. This test keeps their architecture:
// who may import whom, and why.
package node

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/dugnad/dugnad"
	repository = ".."
	enginePath = "github.com/tetratelabs/wazero"
	// std stands for the whole standard library in the rules.
	std = "std"
)

// importRule restricts what the packages at or below a folder import, outside
// of their tests. A target matches the package of that path and all below it;
// targets without a domain are folders of this repository.
type importRule struct {
	from string
	// except lists folders at or below from that the rule leaves out.
	except []string
	// only, when set, lists everything that may be imported from this
	// repository and, when it is [std] or holds it, from elsewhere.
	only []string
	// never lists what must not be imported.
	never  []string
	reason string
}

func importRules() []importRule {
	return []importRule{
		{
			from: "runtime", never: []string{"node", "p2p", "ledger"},
			reason: "the sandbox trades in bytes, limits and usage; node translates",
		},
		{
			from: "p2p", never: []string{"node", "runtime", "ledger"},
			reason: "the network carries bytes and knows no jobs",
		},
		{
			from: "ledger", never: []string{"node", "runtime", "p2p", enginePath, "github.com/libp2p"},
			reason: "the book of record is a pure state machine: no engine, no network",
		},
		{
			from: "ledger/placement", only: []string{std, "ledger"},
			reason: "a plan is a function of its input: the same on every machine, and on none",
		},
		{
			from: "ledger/replica", except: []string{"ledger/replica/disk"}, never: []string{"ledger/store", "github.com/dgraph-io"},
			reason: "a replica agrees on bytes, wherever they are kept",
		},
		{
			from: "runtime/task", only: []string{std},
			reason: "a program that only talks to a worker links nothing else",
		},
		{
			from: "runtime/abi", only: []string{std},
			reason: "what is offered to guests is a table, from which others are made",
		},
		{
			from: "node/outbound", only: []string{std, "runtime/abi", "runtime/task", "runtime/worker", "p2p/metric", "p2p/bandwidth", "github.com/prometheus", "golang.org/x/time/rate"},
			reason: "what guests may reach is decided in one package that is small enough to be read whole",
		},
		{
			from: "runtime/internal/wasm", only: []string{std},
			reason: "what reads untrusted bytes first must be small enough to be read whole",
		},
		{
			from: "runtime/lint", only: []string{std, "runtime/internal/wasm"},
			reason: "lint decides before anything else sees the module, so it depends on nothing that could be fooled",
		},
		{
			from: "runtime/meter", except: []string{"runtime/meter/bench"}, only: []string{std, "runtime/internal/wasm"},
			reason: "fuel is part of a receipt: its source is the meter's own cost table, not an engine",
		},
		{
			from: "runtime/scratch", never: []string{"runtime/lint", "runtime/meter", "runtime/sandbox", "runtime/worker", "runtime/jail"},
			reason: "a file system knows nothing of who runs on it",
		},
		{
			from: "runtime/jail", never: []string{"runtime", enginePath},
			reason: "the jail closes around any code, so it knows none of it",
		},
		{
			from: "runtime/sandbox", never: []string{"runtime/worker", "runtime/jail", "os/exec", "net"},
			reason: "the sandbox runs inside of the worker process: it starts no process and opens no socket",
		},
		{
			from: "", except: []string{"runtime/sandbox", "runtime/scratch", "runtime/meter/bench"}, never: []string{enginePath},
			reason: "the engine can be replaced: one package runs it, one implements its file system interface",
		},
		{
			from: "node/prefs", only: []string{std, "node/jobspec", "node/nearest", "node/quantity", "go.yaml.in/yaml/v3"},
			reason: "what an operator gives follows from the text, the time and what sensors tell, and nothing else",
		},
		{
			from: "node/steward", never: []string{"node/executor", "node/pool", "ledger", "runtime"},
			reason: "it decides what is given; those who run tasks are its hands",
		},
		{
			from: "node/tail", only: []string{std, "ledger", "p2p", "p2p/bandwidth", "p2p/rpc"},
			reason: "what is followed is asked for in one package, whoever runs it and whoever shows it",
		},
		{
			from: "node/calendar", only: []string{std},
			reason: "when a schedule is due follows from its text and the zone alone, whoever asks",
		},
		{
			from: "node/sharing", only: []string{std, "ledger"},
			reason: "what tenants had follows from the ledger and the times at which it is read",
		},
		{
			from: "node/warrant", never: []string{"node", "runtime", "p2p", "ledger"},
			reason: "whether a token is good follows from the grid's key alone, also for a client that links nothing else",
		},
		{
			from: "node/secret", only: []string{std, "ledger", "p2p"},
			reason: "a client seals secrets without a node, so sealing moves and keeps nothing",
		},
		{
			from: "node/web", only: []string{std},
			reason: "the interface for browsers sees what any client sees: the API",
		},
		{
			from: "node/observe", only: []string{std},
			reason: "what operators download is text: tests compare it with a running node",
		},
		{
			from: "", except: []string{"node/span"}, never: []string{"go.opentelemetry.io"},
			reason: "who tells what becomes of jobs can be replaced: one package speaks OpenTelemetry, and tests read it",
		},
		{
			from: "examples", only: []string{std, "guest-sdk", "node/api", "node/client"},
			reason: "examples are what a guest developer can write, who sees nothing else of Dugnad",
		},
		{
			from: "loadtest", never: []string{"runtime", "ledger", "p2p", "node/cli", "node/scheduler", "node/executor"},
			reason: "load tests prove what users see, through what users see",
		},
		{
			from: "", except: []string{"node/cli", "node/cmd"}, never: []string{"github.com/spf13", "github.com/knadh/koanf"},
			reason: "flags, environment and configuration files are read in node/cli only",
		},
	}
}

// topLevel lists the folders that may lie at the top of the repository.
func topLevel() []string {
	return []string{"node", "runtime", "p2p", "ledger", "guest-sdk", "examples", "loadtest", "bin"}
}

const mainLinesMax = 40

// source is one Go file of the repository.
type source struct {
	// folder and file are slash-separated and relative to the repository.
	folder, file string
	test         bool
	syntax       *ast.File
	lines        int
	imports      []string
}

// sources parses every Go file outside of dot-folders, testdata and bin.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	files := token.NewFileSet()
	err := filepath.WalkDir(repository, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != repository && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(repository, name)
		if err != nil {
			return err
		}
		s := source{
			folder: path.Dir(filepath.ToSlash(rel)), file: filepath.ToSlash(rel), syntax: syntax,
			test: strings.HasSuffix(name, "_test.go"), lines: files.File(syntax.Pos()).LineCount(),
		}
		for _, i := range syntax.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found: the test looks in the wrong place")
	}
	return out
}

// below says whether p is folder or lies in it; the empty folder holds all.
func below(p, folder string) bool {
	return folder == "" || p == folder || strings.HasPrefix(p, folder+"/")
}

// matches says whether the import path p falls under the target of a rule.
func matches(p, target string) bool {
	domain, _, _ := strings.Cut(p, "/")
	inStd := !strings.Contains(domain, ".")
	switch {
	case target == std:
		return inStd
	case inStd:
		return below(p, target) && !slices.Contains(topLevel(), strings.SplitN(target, "/", 2)[0])
	}
	if own, ok := strings.CutPrefix(p, modulePath+"/"); ok {
		return below(own, target)
	}
	return below(p, target)
}

// breaks returns why a file of folder must not import p, or "".
func (r importRule) breaks(folder, p string) string {
	in := func(targets []string) bool {
		return slices.ContainsFunc(targets, func(target string) bool { return matches(p, target) })
	}
	if !below(folder, r.from) || slices.ContainsFunc(r.except, func(e string) bool { return below(folder, e) }) {
		return ""
	}
	if own, ok := strings.CutPrefix(p, modulePath+"/"); ok && below(own, r.from) && r.from != "" {
		return "" // a package below the rule's folder may import another there
	}
	if in(r.never) || len(r.only) > 0 && !in(r.only) {
		return r.reason
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, p := range s.imports {
			for _, r := range importRules() {
				if reason := r.breaks(s.folder, p); reason != "" {
					t.Errorf("%s imports %s, but %s", s.file, p, reason)
				}
			}
		}
	}
}

// TestImportRules shows that the rules bite.
func TestImportRules(t *testing.T) {
	tests := []struct {
		folder, imported string
		broken           bool
	}{
		{"runtime/lint", modulePath + "/runtime/internal/wasm", false},
		{"runtime/lint", modulePath + "/runtime/task", true},
		{"runtime/lint", "golang.org/x/sync/errgroup", true},
		{"runtime/lint", "fmt", false},
		{"runtime/task", "golang.org/x/sys/unix", true},
		{"runtime/worker", modulePath + "/node/cli", true},
		{"runtime/worker", modulePath + "/runtime/sandbox", false},
		{"runtime/sandbox", modulePath + "/runtime/worker", true},
		{"runtime/sandbox", enginePath + "/api", false},
		{"runtime/sandbox", "os/exec", true},
		{"runtime/sandbox", "runtime/debug", false},
		{"runtime/jail", "runtime", false},
		{"runtime/jail", modulePath + "/runtime/task", true},
		{"node/cli", enginePath, true},
		{"node/cli", "github.com/spf13/cobra", false},
		{"runtime/worker", "github.com/spf13/cobra", true},
		{"ledger/store", modulePath + "/p2p", true},
		{"p2p/rpc", modulePath + "/p2p", false},
		{"examples/hello", "fmt", false},
		{"examples/hello", modulePath + "/runtime/task", true},
		{"examples/hello", modulePath + "/guest-sdk/go", false},
	}
	for _, tt := range tests {
		broken := slices.ContainsFunc(importRules(), func(r importRule) bool { return r.breaks(tt.folder, tt.imported) != "" })
		if broken != tt.broken {
			t.Errorf("%s importing %s: broken = %t, want %t", tt.folder, tt.imported, broken, tt.broken)
		}
	}
}

// TestPackageComments: godoc is where a reader starts.
func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, s := range sources(t) {
		commented[s.folder] = commented[s.folder] || s.syntax.Doc != nil && !isConstraint(s.syntax.Doc)
	}
	for folder, ok := range commented {
		if !ok {
			t.Errorf("no file of %s has a package comment: say what the package is for", folder)
		}
	}
}

// isConstraint says whether a comment group only holds build constraints.
func isConstraint(g *ast.CommentGroup) bool {
	return !slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return !constraint.IsGoBuild(c.Text) })
}

// TestPackageNames: a package named like one of the standard library forces
// an alias on everybody who needs both.
func TestPackageNames(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}", std).Output()
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	for _, p := range strings.Fields(string(out)) {
		// Nobody outside can import what is internal, such as internal/abi.
		if elements := strings.Split(p, "/"); !slices.Contains(elements, "internal") {
			taken = append(taken, path.Base(p))
		}
	}
	// net/rpc is frozen, and nothing here imports it.
	taken = slices.DeleteFunc(taken, func(name string) bool { return name == "rpc" })
	for _, s := range sources(t) {
		name := s.syntax.Name.Name
		if name != "main" && slices.Contains(taken, strings.TrimSuffix(name, "_test")) {
			t.Errorf("%s: package %s has the name of a package of the standard library", s.file, name)
		}
		if name != "main" && !s.test && name != path.Base(s.folder) {
			t.Errorf("%s: package %s does not have its folder's name", s.file, name)
		}
	}
}

// TestMains: what a program does belongs into a package that a test can call.
func TestMains(t *testing.T) {
	found := false
	for _, s := range sources(t) {
		if !below(s.folder, "node/cmd") {
			continue
		}
		found = true
		if s.lines > mainLinesMax {
			t.Errorf("%s has %d lines, at most %d: move them to node/cli", s.file, s.lines, mainLinesMax)
		}
	}
	if !found {
		t.Error("no program found below node/cmd")
	}
}

// TestTopLevel: the top of the repository is the map that everybody learns
// first, so it stays as it is.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel(), e.Name()) {
			t.Errorf("folder %s does not belong at the top: one of %s holds it", e.Name(), strings.Join(topLevel(), ", "))
		}
		if strings.HasSuffix(e.Name(), ".go") {
			t.Errorf("%s: there is no Go package at the top", e.Name())
		}
	}
}

// TestRules: a rule without a reason is one that nobody dares to change.
func TestRules(t *testing.T) {
	for _, r := range importRules() {
		if r.reason == "" || len(r.only)+len(r.never) == 0 {
			t.Errorf("the rule for %q has no reason or no effect", r.from)
		}
	}
}
