package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/runtime/task"
)

func TestDataDir(t *testing.T) {
	t.Run("without a home", func(t *testing.T) {
		r := newTestRun(t)
		r.env = nil
		if code := r.run("run", "@/m.wasm"); code != exitFailure || !strings.Contains(r.stderr.String(), "--data-dir") {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	})
	t.Run("writable by others", func(t *testing.T) {
		r := newTestRun(t)
		open := filepath.Join(r.dir, "open")
		if err := os.Mkdir(open, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		if code := r.run("run", "--data-dir", open, "@/m.wasm"); code != exitFailure || !strings.Contains(r.stderr.String(), "chmod 700") {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	})
	for _, tt := range []struct {
		name, env, flag, want string
	}{
		{"home", "", "", "home/.cache/dugnad"},
		{"cache home", "XDG_CACHE_HOME=@/cache", "", "cache/dugnad"},
		{"environment", "DUGNAD_DATA_DIR=@/here", "", "here"},
		{"flag over environment", "DUGNAD_DATA_DIR=@/here", "@/there", "there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			if tt.env != "" {
				r.env = append(r.env, strings.ReplaceAll(tt.env, "@", r.dir))
			}
			args := []string{"run", "@/m.wasm"}
			if tt.flag != "" {
				args = append(args, "--data-dir", tt.flag)
			}
			if code := r.run(args...); code != 0 {
				t.Fatalf("exit code %d: %s", code, r.stderr.String())
			}
			info, err := os.Stat(filepath.Join(r.dir, tt.want))
			if err != nil || info.Mode().Perm() != 0o700 || r.runner.config.DataDir != filepath.Join(r.dir, tt.want) {
				t.Errorf("%v, %v, runner has %s", info, err, r.runner.config.DataDir)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name string
		file string
		env  []string
		args []string
		// fuel is what the task gets, or err what stderr holds.
		fuel uint64
		err  string
	}{
		{name: "default", fuel: task.Default().Fuel},
		{name: "file", file: "fuel: 5M\nreal-clock: true\n", fuel: 5e6},
		{name: "file with a number", file: "fuel: 1e6", fuel: 1e6},
		{name: "file with a large number", file: "fuel: 123456789012", fuel: 123456789012},
		{name: "environment over file", file: "fuel: 5M", env: []string{"DUGNAD_FUEL=6M"}, fuel: 6e6},
		{name: "empty environment", file: "fuel: 5M", env: []string{"DUGNAD_FUEL="}, fuel: 5e6},
		{name: "flag over environment", env: []string{"DUGNAD_FUEL=6M"}, args: []string{"--fuel", "7M"}, fuel: 7e6},
		{name: "inside of a task", env: []string{"DUGNAD_TASK_INDEX=3", "DUGNAD_TASK_COUNT=4"}, fuel: task.Default().Fuel},
		{name: "empty file", file: "\n", fuel: task.Default().Fuel},
		{name: "unknown key", file: "feul: 5M", err: "did you mean fuel?"},
		{name: "key below a key", file: "run:\n  fuel: 5M", err: `"run.fuel" is not a setting`},
		{name: "flag that is no setting", file: "count: 3", err: `"count" is not a setting`},
		{name: "bad value in the file", file: "fuel: lots", err: `config.yaml: fuel: "lots" is not a whole number`},
		{name: "bad value in the environment", env: []string{"DUGNAD_FUEL=lots"}, err: `DUGNAD_FUEL: "lots" is not a whole number`},
		{name: "unknown variable", env: []string{"DUGNAD_MEMROY=1M"}, err: "did you mean DUGNAD_MEMORY?"},
		{name: "list for one value", file: "fuel:\n  - 1M\n  - 2M\n", err: "config.yaml: fuel: there is a list, want one value"},
		{name: "no value", file: "fuel:\n", err: "config.yaml: fuel: there is no value"},
		{name: "settings below", file: "fuel: {}\n", err: "config.yaml: fuel"},
		{name: "list of another command", file: "listen: [[a, b]]\nfuel: 5M\n", fuel: 5e6},
		{name: "not YAML", file: "fuel: [", err: "config.yaml"},
		{name: "not a map", file: "- fuel", err: "config.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRun(t)
			r.env = append(r.env, tt.env...)
			if tt.file != "" {
				folder := filepath.Join(r.dir, "home/.config/dugnad")
				if err := os.MkdirAll(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code := r.run(append([]string{"run", "@/m.wasm"}, tt.args...)...)
			if tt.err != "" {
				if e := r.stderr.String(); code != exitFailure || !strings.Contains(e, tt.err) || strings.Count(e, "\n") != 1 {
					t.Errorf("exit code %d, stderr %q, want %q in one line", code, e, tt.err)
				}
				return
			}
			if code != 0 || len(r.runner.specs) != 1 || r.runner.specs[0].Limits.Fuel != tt.fuel {
				t.Errorf("exit code %d, specs %+v, want fuel %d; stderr %q", code, r.runner.specs, tt.fuel, r.stderr.String())
			}
		})
	}
}
