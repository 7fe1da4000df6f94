package prefs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDiff: what a file changes is said by key; comments, order and the way in which a
// value is written change nothing.
func TestDiff(t *testing.T) {
	long := "tenants: {deny: [" + strings.Repeat("abcdefghij, ", 12) + "z]}"
	for _, tt := range []struct {
		before, after string
		want          []string
	}{
		{Text, "", nil},
		{"cores: 2\nupload: 1MiB", "# mine\nupload: 1MiB # now\ncores: 2\n", nil},
		{"hours:\n  weekend: always\n  monday: [9:00-10:00, 11:00-12:00]", "hours: {weekend: always, monday: [9:00-10:00, 11:00-12:00]}", nil},
		{"cores: 50%\ndisk: 1GiB\nfuel: 2G", "fuel: 2G\ncores: 25%\nupload: 1MiB", []string{
			"cores: 25% instead of 50%", "disk: not set any more, was 1GiB", "upload: 1MiB",
		}},
		{"cores: [broken", "hours: {monday: never}", []string{"hours: {monday: never}"}},
		{"", long, []string{"tenants: " + strings.TrimPrefix(long, "tenants: ")[:valueShownMax] + "…"}},
	} {
		if diff := cmp.Diff(tt.want, Diff([]byte(tt.before), []byte(tt.after))); diff != "" {
			t.Errorf("from %.40q to %.40q:\n%s", tt.before, tt.after, diff)
		}
	}
}
