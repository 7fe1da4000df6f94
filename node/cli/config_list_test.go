package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// lists are commands' settings that can be repeated.
type lists struct{ slice, array []string }

func listCommand() (*cobra.Command, *lists) {
	l := &lists{}
	cmd := &cobra.Command{Use: "test"}
	fs := cmd.Flags()
	fs.StringSliceVar(&l.slice, "slice", []string{"default"}, "")
	fs.StringArrayVar(&l.array, "array", []string{"default"}, "")
	fs.String("config", "", "")
	setting(fs, "slice", "array")
	(&cobra.Command{Use: "root"}).AddCommand(cmd)
	return cmd, l
}

// TestConfigLists: every kind of flag that can be repeated takes a list from the file.
func TestConfigLists(t *testing.T) {
	for _, tt := range []struct {
		name, file   string
		env, args    []string
		slice, array []string
		refused      bool
	}{
		{name: "default", slice: []string{"default"}, array: []string{"default"}},
		{name: "lists", file: "slice: [/ip4/1.2.3.4/tcp/1, b]\narray:\n- c,d\n- 7\n", slice: []string{"/ip4/1.2.3.4/tcp/1", "b"}, array: []string{"c,d", "7"}},
		{name: "one each", file: "slice: a\narray: b,c\n", slice: []string{"a"}, array: []string{"b,c"}},
		{name: "separated", file: "slice: a,b\n", slice: []string{"a", "b"}, array: []string{"default"}},
		{name: "environment over file", file: "slice: [a, b]\n", env: []string{"DUGNAD_SLICE=c,d"}, slice: []string{"c", "d"}, array: []string{"default"}},
		{name: "flag over file", file: "slice: [a, b]\n", args: []string{"--slice", "e", "--slice", "f"}, slice: []string{"e", "f"}, array: []string{"default"}},
		{name: "list in a list", file: "slice: [[a, b], c]\n", refused: true},
		{name: "nothing in a list", file: "slice: [a, ]\narray: [~]\n", refused: true},
		{name: "map in a list", file: "array: [{a: b}]\n", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, got := listCommand()
			if err := cmd.ParseFlags(append(tt.args, "--config", path)); err != nil {
				t.Fatal(err)
			}
			err := configure(cmd, tt.env)
			if (err != nil) != tt.refused || err != nil && !strings.Contains(err.Error(), "no plain value") {
				t.Fatal(err)
			}
			if !tt.refused && (!slices.Equal(got.slice, tt.slice) || !slices.Equal(got.array, tt.array)) {
				t.Errorf("slice %q, array %q, want %q and %q", got.slice, got.array, tt.slice, tt.array)
			}
		})
	}
}
