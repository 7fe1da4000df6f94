package placement

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what the transcripts print into their files")

// now is the time of every transcript.
const now = ledger.Time(1_000_000_000_000_000)

// TestTranscripts runs testdata/*.txt. Lines set a scene; "plan" and "explain
// JOB" print, and "----" ends a step, after which what they printed stands up to
// the next empty line. A "#" line is a comment. "reset" begins anew.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript differs (-want +got), -rewrite accepts it:\n%s", diff)
			}
		})
	}
}

func runTranscript(t *testing.T, text string) string {
	t.Helper()
	var out, printed strings.Builder
	s := newScene()
	skip := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case skip:
			skip = line != ""
			if skip {
				continue
			}
		case line == "----":
			out.WriteString(line + "\n" + printed.String())
			printed.Reset()
			skip = true
			continue
		case line == "reset":
			s = newScene()
		case line != "" && line[0] != '#':
			if err := s.step(&printed, strings.Fields(line)); err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

// TestCodes pins the codes' names, which users and dashboards know.
func TestCodes(t *testing.T) {
	var got bytes.Buffer
	for c := range codes {
		fmt.Fprintf(&got, "%d %s\n", c, c)
	}
	const file = "testdata/codes.golden"
	if *rewrite {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("codes differ (-want +got):\n%s", diff)
	}
	if slices.Contains(codeNames[:], "") {
		t.Error("a code has no name")
	}
}
