package lint

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
)

// suites are the folders of wazero's copy of the specification's tests that
// keep to the accepted features.
var suites = []string{"v1", "v2", "extended-const"}

// eachCommand calls f with every binary module of a suite.
func eachCommand(tb testing.TB, suite string, f func(script string, c wasmtest.Command, module []byte)) {
	scripts, err := wasmtest.Suite(suite)
	if errors.Is(err, wasmtest.ErrNoSuite) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	for i := range scripts {
		for _, c := range scripts[i].Commands {
			if !c.Binary() {
				continue
			}
			module, err := scripts[i].Module(&c)
			if err != nil {
				tb.Fatal(err)
			}
			f(scripts[i].Name, c, module)
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
		eachCommand(t, suite, func(script string, c wasmtest.Command, module []byte) {
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
