package p2p

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/golden anew: only for what no release has written")

// testTime is when the statements of the tests are signed.
var testTime = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// testKey returns the n-th key of the tests.
func testKey(t testing.TB, n byte) Key {
	t.Helper()
	key, err := NewKey(bytes.NewReader(bytes.Repeat([]byte{n}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// scene is a grid with its founder's node, an admin and a worker.
type scene struct {
	gridKey, founderKey, adminKey, workerKey Key
	grid                                     GridID
	founder, admin, worker                   *Membership
	byGrid, byAdmin                          signer
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{gridKey: testKey(t, 1), founderKey: testKey(t, 2), adminKey: testKey(t, 3), workerKey: testKey(t, 4)}
	s.grid = s.gridKey.GridID()
	s.byGrid = signer{grid: s.grid, key: s.gridKey}
	s.founder = Found(s.gridKey, s.founderKey, testTime)
	s.admin = s.byGrid.member(s.adminKey.NodeID(), RoleAdmin, testTime, time.Time{})
	s.byAdmin = signer{grid: s.grid, key: s.adminKey, admin: s.admin}
	s.worker = s.byAdmin.member(s.workerKey.NodeID(), RoleWorker, testTime.Add(time.Hour), time.Time{})
	return s
}

// golden compares b with a file of testdata/golden, in hexadecimal.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	goldenText(t, name+".hex", hex.EncodeToString(b)+"\n")
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *rewriteGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != strings.TrimSpace(got) {
		t.Errorf("%s differs from what was written before:\ngot  %s\nwant %s", name, got, want)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
