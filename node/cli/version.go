package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// version is set by the linker: see the Makefile.
var version = "dev"

const enginePath = "github.com/tetratelabs/wazero"

// versions is what dugnad version shows.
type versions struct {
	Dugnad string `json:"dugnad"`
	Go     string `json:"go"`
	System string `json:"system"`
	Engine string `json:"engine"`
	// Lint and Meter are the versions of what a module is checked against
	// and how its fuel is counted: fuel is comparable between equal ones.
	Lint  int `json:"lint"`
	Meter int `json:"meter"`
}

func readVersions() versions {
	v := versions{
		Dugnad: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Engine: "unknown", Lint: lint.Version, Meter: meter.Version,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == enginePath {
				v.Engine = "wazero " + d.Version
			}
		}
	}
	return v
}

// engine names what decides how fast a module burns fuel.
func (v versions) engine() string {
	return fmt.Sprintf("%s, meter %d, %s", v.Engine, v.Meter, v.System)
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of dugnad and of what decides its results",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersions()
			if asJSON {
				return a.writeJSON(v)
			}
			_, err := fmt.Fprintf(a.Out, "dugnad %s (%s, %s)\nengine %s, lint %d, meter %d\n",
				v.Dugnad, v.Go, v.System, v.Engine, v.Lint, v.Meter)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// writeJSON prints v as one line.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.jsonOut())
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
