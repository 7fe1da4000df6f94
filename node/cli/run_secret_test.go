package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/jobspec"
)

// TestRunSecret is a table of secrets of a guest that runs here: the guest has them, and
// nothing that is printed does.
func TestRunSecret(t *testing.T) {
	const value, other = "known-1", "known-2\nof two lines"
	for what, c := range map[string]struct {
		args []string
		want []string
		// fault is in the message of a call that is refused.
		fault string
	}{
		"of the environment":      {[]string{"--secret", "TOKEN"}, []string{"TOKEN=" + value}, ""},
		"by another name":         {[]string{"--secret", "KEY=TOKEN"}, []string{"KEY=" + value}, ""},
		"of a file":               {[]string{"--secret", "KEY=OTHER", "--secret-file", "OTHER=@/secret"}, []string{"KEY=" + other}, ""},
		"a file before":           {[]string{"--secret", "TOKEN", "--secret-file", "TOKEN=@/secret"}, []string{"TOKEN=" + other}, ""},
		"two of one":              {[]string{"--secret", "A=TOKEN", "--secret", "B=TOKEN"}, []string{"A=" + value, "B=" + value}, ""},
		"of nowhere":              {[]string{"--secret", "NONE"}, nil, "there is no variable NONE"},
		"of no file":              {[]string{"--secret", "OTHER", "--secret-file", "OTHER=@/none"}, nil, "no such file"},
		"of an empty file":        {[]string{"--secret", "OTHER", "--secret-file", "OTHER=@/empty"}, nil, "it is empty"},
		"of a file with zeros":    {[]string{"--secret", "OTHER", "--secret-file", "OTHER=@/zeros"}, nil, "zero byte"},
		"of an empty variable":    {[]string{"--secret", "EMPTY"}, nil, "it is empty"},
		"the value itself":        {[]string{"--secret", "KEY=known-1"}, nil, "VARIABLE=SECRET"},
		"no name":                 {[]string{"--secret", "=TOKEN"}, nil, "VARIABLE=SECRET"},
		"in the environment, too": {[]string{"--secret", "KEY=TOKEN", "--env", "KEY=1"}, nil, "--env"},
		"twice":                   {[]string{"--secret", "KEY=TOKEN", "--secret", "KEY=TOKEN"}, nil, "twice"},
		"a file of no secret":     {[]string{"--secret-file", "TOKEN=@/secret"}, nil, "no --secret"},
		"no file":                 {[]string{"--secret", "TOKEN", "--secret-file", "TOKEN"}, nil, "SECRET=FILE"},
		"a file for the grid":     {[]string{"--secret", "TOKEN", "--secret-file", "TOKEN=@/secret", "--grid", "always"}, nil, "dugnad secret set"},
		"too many":                {slices.Repeat([]string{"--secret", "TOKEN"}, 17), nil, "at most 16"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newTestRun(t)
			r.env = append(r.env, "TOKEN="+value, "EMPTY=")
			for name, b := range map[string]string{"secret": other + "\n", "empty": "", "zeros": "known\x00"} {
				if err := os.WriteFile(filepath.Join(r.dir, name), []byte(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code := r.run(append([]string{"run", "@/m.wasm", "--json"}, c.args...)...)
			if (code == 0) != (c.fault == "") || !strings.Contains(r.stderr.String(), c.fault) {
				t.Errorf("exit code %d, %q, want %q", code, r.stderr.String(), c.fault)
			}
			if strings.Contains(r.stdout.String()+r.stderr.String(), "known") {
				t.Errorf("it prints a value: %q, %q", r.stdout.String(), r.stderr.String())
			}
			for _, spec := range r.runner.specs {
				for _, w := range c.want {
					if !slices.Contains(spec.Env, w) {
						t.Errorf("the guest has %q, want %q", spec.Env, w)
					}
				}
			}
			if c.want != nil && len(r.runner.specs) != 1 {
				t.Errorf("%d tasks have run", len(r.runner.specs))
			}
		})
	}
}

// TestGridSecret: the grid is told the names of secrets, as by a job file, and no value;
// with a file a call stays here.
func TestGridSecret(t *testing.T) {
	f := newFakeGrid(t)
	f.attempt = func(j *jobspec.Job, _ uint32) fakeTask {
		return fakeTask{api.Task{State: "succeeded", Result: &api.Result{Kind: "exited"}}, j.Secrets["KEY"] + j.Secrets["TOKEN"] + j.Env["KEY"], ""}
	}
	r := newTestRun(t)
	r.env = append(r.env, "TOKEN=known")
	code := r.run("run", "@/m.wasm", "--grid", "always", "--api", f.url, "--secret", "KEY=WEATHER", "--secret", "TOKEN", "--count", "1")
	if code != 0 || r.stdout.String() != "WEATHERTOKEN" || len(r.runner.specs) != 0 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, r.stdout.String(), r.stderr.String())
	}
	r = newTestRun(t)
	if code := r.run("run", "@/m.wasm", "--api", f.url, "--secret", "TOKEN", "--secret-file", "TOKEN=@/in.txt", "--count", "1"); code != 0 || len(r.runner.specs) != 1 {
		t.Errorf("exit code %d, %d tasks have run here, stderr %q", code, len(r.runner.specs), r.stderr.String())
	}
}
