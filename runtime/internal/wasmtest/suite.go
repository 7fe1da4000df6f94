package wasmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoSuite is returned by Suite when wazero's sources, which carry the
// WebAssembly core test suite, are not in the module cache.
var ErrNoSuite = errors.New("wazero's sources are not in the module cache: run `go mod download github.com/tetratelabs/wazero`")

// Suites names the folders of wazero's copy of the suite: two versions of the
// core specification and the proposals that wazero implements.
var Suites = []string{"v1", "v2", "extended-const", "exception-handling", "tail-call", "threads", "typed-function-references"}

// Script is one test script, as wabt's wast2json converts it.
type Script struct {
	// Name is the suite and the script's name, such as "v2/linking".
	Name     string
	Commands []Command

	dir string
}

// Command is one line of a script. Type says which of the other fields are
// set.
type Command struct {
	Type string `json:"type"`
	// Line is that of the script before its conversion.
	Line int `json:"line"`
	// Name is what the script calls a module, As the name that others import
	// it by.
	Name string `json:"name"`
	As   string `json:"as"`
	// Filename is that of a module; ModuleType is "text" when it is not binary.
	Filename   string `json:"filename"`
	ModuleType string `json:"module_type"`
	// Action is what is called or read, Expected its results.
	Action   Action  `json:"action"`
	Expected []Value `json:"expected"`
	// Text is the reference interpreter's message.
	Text string `json:"text"`
}

// Assertion reports whether the command states something that must hold.
func (c *Command) Assertion() bool { return strings.HasPrefix(c.Type, "assert_") }

// Binary reports whether the command comes with a module in binary form.
func (c *Command) Binary() bool {
	return c.Filename != "" && c.ModuleType != "text" && !strings.HasSuffix(c.Filename, ".wat")
}

// Action calls an exported function, when its Type is "invoke", or reads an
// exported global, when it is "get". Module is the script's name of the module,
// "" for the latest.
type Action struct {
	Type   string  `json:"type"`
	Module string  `json:"module"`
	Field  string  `json:"field"`
	Args   []Value `json:"args"`
}

// SuiteDir returns the folder that holds the suites, or ErrNoSuite.
func SuiteDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoSuite, err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoSuite, err)
	}
	return dir, nil
}

// Suite reads every script of one of Suites.
func Suite(name string) ([]Script, error) {
	root, err := SuiteDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, name, "testdata")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("list scripts: none in %s: %w", dir, errors.Join(err, ErrNoSuite))
	}
	scripts := make([]Script, 0, len(files))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s := Script{Name: name + "/" + strings.TrimSuffix(filepath.Base(file), ".json"), dir: dir}
		if err := json.Unmarshal(b, &s); err != nil {
			return nil, fmt.Errorf("read script %s: %w", file, err)
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// Module reads the module of a command.
func (s *Script) Module(c *Command) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.dir, c.Filename))
}

// SpectestModule reads the module that the scripts import as "spectest".
func SpectestModule() ([]byte, error) {
	root, err := SuiteDir()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(root, "testdata", "spectest.wasm"))
}
