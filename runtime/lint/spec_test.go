package lint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// suites are the folders of wazero's copy of the specification's tests that
// keep to the accepted features.
var suites = []string{"v1", "v2", "extended-const"}

// suiteDir finds wazero's sources in the module cache.
func suiteDir(tb testing.TB) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest")
	if _, statErr := os.Stat(dir); err != nil || statErr != nil {
		tb.Skip("wazero's sources are not in the module cache: run `go mod download github.com/tetratelabs/wazero`")
	}
	return dir
}

// command is one line of a converted test script.
type command struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Filename   string `json:"filename"`
	ModuleType string `json:"module_type"`
	Text       string `json:"text"`
}

// eachCommand calls f with every binary module of a suite.
func eachCommand(tb testing.TB, suite string, f func(script string, c command, module []byte)) {
	scripts, err := filepath.Glob(filepath.Join(suiteDir(tb), suite, "testdata", "*.json"))
	if err != nil || len(scripts) == 0 {
		tb.Fatalf("no scripts in %s: %v", suite, err)
	}
	for _, script := range scripts {
		data, err := os.ReadFile(script)
		if err != nil {
			tb.Fatal(err)
		}
		var doc struct{ Commands []command }
		if err := json.Unmarshal(data, &doc); err != nil {
			tb.Fatal(script, err)
		}
		for _, c := range doc.Commands {
			if c.Filename == "" || c.ModuleType == "text" || strings.HasSuffix(c.Filename, ".wat") {
				continue
			}
			module, err := os.ReadFile(filepath.Join(filepath.Dir(script), c.Filename))
			if err != nil {
				tb.Fatal(err)
			}
			f(suite+"/"+filepath.Base(script), c, module)
		}
	}
}

const coreFeatures = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

// accepts returns why wazero does not take the module. It panics over some of
// those that lint refuses.
func accepts(module []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx := context.Background()
	// With debug information on, wazero refuses an empty custom section at the end.
	config := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(coreFeatures).WithDebugInfoEnabled(false)
	r := wazero.NewRuntimeWithConfig(ctx, config)
	defer r.Close(ctx)
	_, err = r.CompileModule(ctx, module)
	return err
}

// since2 are what version 1 of the specification forbids and version 2 allows.
var since2 = map[string]bool{
	"func.20.wasm": true, "func.21.wasm": true, // several results
	"type.3.wasm": true, "type.4.wasm": true, // several results
	"imports.49.wasm":           true, // several tables
	"unreached-invalid.87.wasm": true, // an operand of any type for br_table
}

// padded is refused although the specification allows it: see checker.next.
const padded = CodeFeature + "padded_opcode"

func TestSpecification(t *testing.T) {
	for _, suite := range suites {
		valid, refused := 0, 0
		eachCommand(t, suite, func(script string, c command, module []byte) {
			_, err := Check(module, Default())
			var r *Refusal
			if err != nil && !errors.As(err, &r) {
				t.Errorf("%s:%d: %v", script, c.Line, err)
				return
			}
			switch c.Type {
			case "assert_invalid", "assert_malformed":
				refused++
				if err == nil && (suite != "v1" || !since2[c.Filename]) {
					t.Errorf("%s:%d: accepted, want %q (%s)", script, c.Line, c.Text, c.Filename)
				}
			default:
				valid++
				if err != nil && (r == nil || r.Code != padded || c.Filename != "binary-leb128.81.wasm") {
					t.Errorf("%s:%d: %v (%s)", script, c.Line, err, c.Filename)
				}
				if werr := accepts(module); werr != nil {
					t.Errorf("%s:%d: wazero: %v", script, c.Line, werr)
				}
			}
		})
		t.Logf("%s: %d valid modules, %d invalid or malformed ones", suite, valid, refused)
	}
}
