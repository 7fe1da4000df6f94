package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node/book"
)

// TestLedger takes a ledger from its node through every command.
func TestLedger(t *testing.T) {
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	b := foundBook(t, folder)
	run := func(want string, args ...string) string {
		t.Helper()
		r := newTestRun(t)
		code := r.run(append([]string{"ledger"}, args...)...)
		if want == "" && code != exitOK || want != "" && (code != exitFailure || !strings.Contains(r.stderr.String(), want)) {
			t.Errorf("%v: exit code %d, stderr %q, want %q", args, code, r.stderr.String(), want)
		}
		return r.stdout.String()
	}
	run("stop the node on "+folder+" first", "recover", folder)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	run("", "check", folder)
	run("", "backup", folder, file)
	run("file already exists", "backup", folder, file)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, _, err := store.Verify(f); err != nil {
		t.Errorf("backup: %v", err)
	}
	run("", "recover", folder)
	var first, second book.Report
	for _, r := range []*book.Report{&first, &second} {
		if err := json.Unmarshal([]byte(run("", "recover", "--json", folder)), r); err != nil {
			t.Fatal(err)
		}
	}
	if first.ID != "n1" || first.Index == 0 || second.Index < first.Index {
		t.Errorf("recovered %+v, then %+v", first, second)
	}
	run("name a node's data folder", "check", t.TempDir())
	run("0 arguments, want dugnad ledger recover FOLDER", "recover")
}
