package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/node/api"
)

// shells have the real shell complete a command line with the script that dugnad
// makes for it. The words of the line are the arguments, the last one is completed;
// what is offered is in the output.
var shells = []struct {
	name string
	// needs is a file without which the shell completes nothing.
	needs  string
	script string
}{
	{name: "bash", needs: "/usr/share/bash-completion/bash_completion", script: `
		. /usr/share/bash-completion/bash_completion
		. <(dugnad completion bash)
		compopt() { :; } # is for the line editor
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_TYPE=9 COMP_KEY=9
		COMP_POINT=${#COMP_LINE}
		$(complete -p dugnad | grep -o "__[a-z_]*") dugnad "${@: -1}" "${@: -2:1}"
		printf "%s\n" "${COMPREPLY[@]}"`},
	{name: "fish", script: `
		dugnad completion fish | source
		complete -C "$argv"`},
	// A terminal of its own is where zsh completes. The last line says when it has.
	{name: "zsh", script: `
		zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "autoload -U compinit; compinit -u -D; source <(dugnad completion zsh)"
		zpty -w z "LISTMAX=0 COLUMNS=300 LINES=100; print is-\$((1+1))-ready"
		zpty -r -m z out "*is-2-ready*"
		zpty -w -n z "$*"$'\t'$'\C-a: \C-e;print \$((1+1))-offered\n'
		zpty -r -m z out "*2-offered*"
		print -r -- "$out"
		zpty -d z`},
}

// TestShells: a shell offers the commands, and what is in the grid.
func TestShells(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the real program, which the race detector does not see into")
	}
	binary, err := buildDugnad()
	if err != nil {
		t.Fatal(err)
	}
	f := full(t)
	f.nodes = []api.Node{{ID: testNode, Name: "kitchen", State: "up"}}
	job := f.jobs[0].ID
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell.name)
			if err == nil && shell.needs != "" {
				_, err = os.Stat(shell.needs)
			}
			if err != nil {
				t.Skip("not on this machine: ", err)
			}
			for _, tt := range []struct {
				words []string
				want  []string
			}{
				{[]string{"dugnad", "job", ""}, []string{"cancel", "results", "why"}},
				{[]string{"dugnad", "job", "show", job[:8]}, []string{job}},
				{[]string{"dugnad", "node", "drain", "k"}, []string{"kitchen"}},
				{[]string{"dugnad", "run", "--grid", "a"}, []string{"auto", "always"}},
			} {
				got := complete(t, path, filepath.Dir(binary), f.url, shell.script, tt.words)
				for _, want := range tt.want {
					if !strings.Contains(got, want) {
						t.Errorf("%q: %q is not offered, but\n%s", tt.words, want, got)
					}
				}
				if strings.Contains(got, "m.wasm") {
					t.Errorf("%q: files are offered\n%s", tt.words, got)
				}
			}
		})
	}
}

// complete runs a shell in a folder with a file in it.
func complete(t *testing.T, shell, binaries, api, script string, words []string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.wasm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := []string{"-c", script}
	if filepath.Base(shell) != "fish" {
		args = append(args, shell) // the script's own name
	}
	cmd := exec.CommandContext(ctx, shell, append(args, words...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + binaries + ":" + os.Getenv("PATH"), "HOME=" + dir, "TERM=xterm", "DUGNAD_API=" + api}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v\n%s", words, err, out)
	}
	return string(out)
}
