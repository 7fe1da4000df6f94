package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/p2p"
)

// foundBook opens a new ledger in a folder, without a node around it.
func foundBook(t *testing.T, folder string) *book.Book {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := replica.Default()
	c.ID, c.Address, c.Listener = "n1", l.Addr().String(), l
	c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	b, err := book.Open(t.Context(), book.Config{Dir: folder, Replica: c})
	if err == nil {
		err = b.Found(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ledgers are folders to copy: of a node that was stopped, and of one that was
// killed, and a backup.
type ledgers struct{ stopped, killed, backup string }

func makeLedgers(t *testing.T) ledgers {
	t.Helper()
	dir := t.TempDir()
	l := ledgers{filepath.Join(dir, "stopped"), filepath.Join(dir, "killed"), filepath.Join(dir, "backup")}
	b := foundBook(t, l.stopped)
	f, err := os.Create(l.backup)
	if err == nil {
		_, err = b.Backup(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	copyTree(t, l.stopped, l.killed)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// copyTree copies a folder; holes stay holes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
			return err
		}
		return os.Truncate(target, int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// vlogHead is the size of an empty value log. Badger begins one when it is opened.
const vlogHead = 20

// tree sums up everything in a folder but empty value logs.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil // its mode is noted
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".vlog" && info.Size() == vlogHead {
			return nil
		}
		line := info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
			line += fmt.Sprintf(" %d bytes %.8x", len(b), sha256.Sum256(b))
		}
		out[strings.TrimPrefix(path, dir)] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// change rewrites the last of the files that match.
func change(t *testing.T, pattern string, f func(b []byte) []byte) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	name := names[len(names)-1]
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func(b []byte) []byte {
	return func(b []byte) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 0x10
		return b
	}
}

func replaced(content string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(content) }
}

// held locks a file until the test ends.
func held(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// badCall is a call that must fail. In args and words @ stands for a folder with
// the ledger of a node that was stopped, one of a node that was killed, and a backup.
type badCall struct {
	name string
	args []string
	// prepare, unless nil, makes the input bad.
	prepare func(t *testing.T, dir string)
	// words are in the message.
	words []string
	// makes is what files may end with that the call leaves behind.
	makes string
}

const (
	startAnew  = "join them with a new folder and an invitation"
	newerOne   = "use the dugnad that wrote it, or a newer one"
	other      = "use another one"
	isNoNode   = "name a node's data folder"
	otherPlace = "name a folder that no node has used"
)

// damagedStores are damages that check, backup and recover all meet.
func damagedStores() []badCall {
	damage := func(pattern string, f func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { change(t, filepath.Join(dir, "node/ledger", pattern), f) }
	}
	version := func(b []byte) []byte { b[7]++; return b }
	rows := []badCall{
		{"state table's block", nil, damage("store/state/*/*.sst", flip(20)), []string{"store/state/1/000001.sst", "block at byte 0", startAnew}, ""},
		{"state table's index", nil, damage("store/state/*/*.sst", flip(-60)), []string{"store/state/1/000001.sst", "index", startAnew}, ""},
		{"state table is empty", nil, damage("store/state/*/*.sst", replaced("")), []string{"store/state/1/000001.sst", startAnew}, ""},
		{"state manifest", nil, damage("store/state/*/MANIFEST", flip(20)), []string{"store/state/1/MANIFEST", startAnew}, ""},
		{"value log", nil, damage("store/state/*/*.vlog", flip(3)), []string{"store/state/1", startAnew}, ".mem"},
		{"raft's value log", nil, damage("store/raft/*.vlog", flip(3)), []string{"store/raft", startAnew}, ".mem"},
		{"raft log's table", nil, damage("store/raft/*.sst", flip(20)), []string{"store/raft/000001.sst", "block at byte 0", startAnew}, ""},
		{"raft's manifest", nil, damage("store/raft/MANIFEST", flip(20)), []string{"store/raft/MANIFEST", startAnew}, ""},
		{"key registry", nil, damage("store/raft/KEYREGISTRY", flip(20)), []string{"store/raft", startAnew}, ""},
		{"current", nil, damage("store/state/CURRENT", replaced("1")), []string{"store/state/CURRENT", startAnew}, ""},
		{"newer layout", nil, damage("store/state/CURRENT", replaced("dugnad state 2\nwhatever\n")), []string{"store/state/CURRENT has version 2, this program reads 1", newerOne}, ""},
		{"newer raft database", nil, damage("store/raft/MANIFEST", version), []string{"store/raft/MANIFEST", "version: 9 (we support 8)", newerOne}, ""},
		{"newer state database", nil, damage("store/state/*/MANIFEST", version), []string{"store/state/1/MANIFEST", "version: 9 (we support 8)", newerOne}, ""},
		{"member file", nil, damage("member.json", replaced("{")), []string{"ledger/member.json does not say which member this is", isNoNode}, ""},
		{"no member file", nil, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "node/ledger/member.json")); err != nil {
				t.Fatal(err)
			}
		}, []string{"ledger/member.json is missing", isNoNode}, ""},
		{"locked", nil, func(t *testing.T, dir string) { held(t, filepath.Join(dir, "node/ledger/store/LOCK")) }, []string{"another process", "stop the node on @/node first"}, ""},
		{"write-ahead log", []string{"@/killed"}, func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "killed/ledger/store/raft/*.mem"), flip(40))
		}, []string{"store/raft/00001.mem at byte 20", startAnew}, ""},
		{"empty folder", []string{"@/empty"}, nil, []string{"there is no ledger in this folder", isNoNode}, ""},
		{"no folder", []string{"@/missing"}, nil, []string{"there is no ledger in this folder", isNoNode}, ""},
		{"a file", []string{"@/backup"}, nil, []string{"there is no ledger in this folder", isNoNode}, ""},
	}
	var out []badCall
	for _, r := range rows {
		folder := "@/node"
		if r.args != nil {
			folder = r.args[0]
		}
		for _, c := range [][]string{{"check", folder}, {"backup", folder, "@/out"}, {"recover", folder}} {
			out = append(out, badCall{c[0] + " " + r.name, c, r.prepare, r.words, r.makes})
		}
	}
	return out
}

// badFiles are backups, and places for them, that are none.
func badFiles() []badCall {
	file := func(f func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { change(t, filepath.Join(dir, "backup"), f) }
	}
	restore := []string{"restore", "@/new", "@/backup"}
	return []badCall{
		{"restore an empty file", restore, file(replaced("")), []string{"@/backup", "byte 0: header is cut off", other}, ""},
		{"restore another file", restore, file(replaced("PK\x03\x04 and so on and so forth")), []string{"@/backup", "not a snapshot of a ledger", other}, ""},
		{"restore a newer version", restore, file(func(b []byte) []byte { b[8]++; return b }), []string{"@/backup", "version is 2, this program reads 1", newerOne}, ""},
		{"restore with more behind it", restore, file(func(b []byte) []byte { return append(b, 0) }), []string{"@/backup", "data behind the end", other}, ""},
		{"restore a folder", []string{"restore", "@/new", "@/node"}, nil, []string{"@/node is not a file that dugnad ledger backup wrote"}, ""},
		{"restore a pipe", []string{"restore", "@/new", "@/pipe"}, func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"@/pipe is not a file that dugnad ledger backup wrote"}, ""},
		{"restore nothing", []string{"restore", "@/new", "@/missing"}, nil, []string{"@/missing: no such file"}, ""},
		{"restore into a ledger", []string{"restore", "@/node", "@/backup"}, nil, []string{"@/node", "belongs to a node already", otherPlace}, ""},
		{"restore into a grid", []string{"restore", "@/empty", "@/backup"}, func(t *testing.T, dir string) {
			if _, err := p2p.FoundGrid(filepath.Join(dir, "empty")); err != nil {
				t.Fatal(err)
			}
		}, []string{"@/empty", "belongs to a node already", otherPlace}, ""},
		{"restore over an identity", []string{"restore", "@/empty", "@/backup"}, func(t *testing.T, dir string) {
			if _, err := p2p.LoadIdentity(filepath.Join(dir, "empty")); err != nil {
				t.Fatal(err)
			}
			held(t, filepath.Join(dir, "empty/other")) // to have a file more
			if err := os.WriteFile(filepath.Join(dir, "empty/lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"@/empty has node.key", "belongs to a node already", otherPlace}, ""},
		{"restore into a folder in use", []string{"restore", "@/empty", "@/backup"}, func(t *testing.T, dir string) {
			held(t, filepath.Join(dir, "empty/lock"))
		}, []string{"a node runs on this folder already: @/empty", otherPlace}, ""},
		{"restore into a file", []string{"restore", "@/backup", "@/backup"}, nil, []string{"@/backup", "not a directory"}, ""},
		{"backup to a file that exists", []string{"backup", "@/node", "@/backup"}, nil, []string{"@/backup: file already exists: name another file, or remove it"}, ""},
		{"backup to a folder", []string{"backup", "@/node", "@/empty"}, nil, []string{"@/empty: file already exists: name another file, or remove it"}, ""},
		{"backup into no folder", []string{"backup", "@/node", "@/missing/file"}, nil, []string{"make @/missing/file", "no such file or directory"}, ""},
		{"no command", []string{"restroe"}, nil, []string{`no command "restroe" (did you mean restore?)`}, ""},
		{"check nothing", []string{"check"}, nil, []string{"0 arguments, want dugnad ledger check FOLDER"}, ""},
		{"check two", []string{"check", "@/node", "@/node"}, nil, []string{"2 arguments, want dugnad ledger check FOLDER"}, ""},
		{"backup nothing", []string{"backup"}, nil, []string{"0 arguments, want dugnad ledger backup FOLDER FILE"}, ""},
		{"backup to nothing", []string{"backup", "@/node"}, nil, []string{"1 arguments, want dugnad ledger backup FOLDER FILE"}, ""},
		{"restore from nothing", []string{"restore", "@/new"}, nil, []string{"1 arguments, want dugnad ledger restore FOLDER FILE"}, ""},
		{"recover two", []string{"recover", "@/node", "@/node"}, nil, []string{"2 arguments, want dugnad ledger recover FOLDER"}, ""},
		{"unknown flag", []string{"restore", "--jsn", "@/new", "@/backup"}, nil, []string{"did you mean --json?"}, ""},
	}
}

// forbidden are the inputs that somebody else owns.
func forbidden() []badCall {
	closed := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if os.Geteuid() == 0 {
				t.Skip("root may read everything")
			}
			name := filepath.Join(dir, name)
			info, err := os.Stat(name)
			if err == nil {
				err = os.Chmod(name, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(name, info.Mode()) })
		}
	}
	words := []string{"permission denied", "run this as the user who owns it"}
	return []badCall{
		{"check a closed folder", []string{"check", "@/node"}, closed("node"), words, ""},
		{"recover a closed store", []string{"recover", "@/node"}, closed("node/ledger/store"), words, ""},
		{"backup of a closed table", []string{"backup", "@/node", "@/out"}, closed("node/ledger/store/raft/000001.sst"), words, ""},
		{"backup into a closed folder", []string{"backup", "@/node", "@/empty/out"}, closed("empty"), words, ""},
		{"restore a closed file", []string{"restore", "@/new", "@/backup"}, closed("backup"), words, ""},
		{"restore into a closed folder", []string{"restore", "@/empty", "@/backup"}, closed("empty"), words, ""},
	}
}

// TestBadLedgers: whatever a command on a ledger is given, it ends with 125 and one
// line that says what is wrong, where, and what to do, and has changed nothing.
func TestBadLedgers(t *testing.T) {
	l := makeLedgers(t)
	call := func(t *testing.T, args ...string) ended {
		r := newTestRun(t)
		code := r.run(args...)
		return ended{r.stdout.String(), r.stderr.String(), code}
	}
	// Badger ends the process for some damages.
	process := func(t *testing.T, args ...string) ended { return runDugnad(t, args...) }
	for _, b := range slices.Concat(badFiles(), forbidden()) {
		t.Run(b.name, func(t *testing.T) { b.test(t, l, call) })
	}
	for _, b := range damagedStores() {
		t.Run(b.name, func(t *testing.T) { b.test(t, l, process) })
	}
}

func (b badCall) test(t *testing.T, l ledgers, dugnad func(t *testing.T, args ...string) ended) {
	dir := t.TempDir()
	copyTree(t, l.stopped, filepath.Join(dir, "node"))
	if slices.Contains(b.args, "@/killed") {
		copyTree(t, l.killed, filepath.Join(dir, "killed"))
	}
	copyTree(t, l.backup, filepath.Join(dir, "backup"))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if b.prepare != nil {
		b.prepare(t, dir)
	}
	before := tree(t, dir)
	args := []string{"ledger"}
	for _, a := range b.args {
		args = append(args, strings.ReplaceAll(a, "@", dir))
	}
	e := dugnad(t, args...)
	t.Log(strings.TrimSpace(e.stderr))
	if e.code != exitFailure || e.stdout != "" || !strings.HasPrefix(e.stderr, "dugnad: ") || strings.Count(e.stderr, "\n") != 1 {
		t.Errorf("exit code %d, stdout %q, stderr %q, want %d and one line on stderr", e.code, e.stdout, e.stderr, exitFailure)
	}
	for _, word := range b.words {
		if word = strings.ReplaceAll(word, "@", dir); !strings.Contains(e.stderr, word) {
			t.Errorf("stderr %q does not say %q", e.stderr, word)
		}
	}
	after := tree(t, dir)
	for name := range after {
		if _, was := before[name]; !was && b.makes != "" && strings.HasSuffix(name, b.makes) {
			delete(after, name)
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}
