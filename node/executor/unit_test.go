package executor

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

func discard() worker.Streams { return worker.Streams{Stdout: io.Discard, Stderr: io.Discard} }

// TestClasses pins the numbers and names, which are stored.
func TestClasses(t *testing.T) {
	want := "none exit trap out_of_fuel deadline cancelled output_limit scratch_limit memory_limit refused worker_lost output_unkept other input_unread"
	var names []string
	for i, c := range Classes() {
		names = append(names, c.String())
		if int(c) != i || uint8(c) == ledger.ExitVarious || !c.State().Final() {
			t.Errorf("class %d is %d, %s", i, c, c.State())
		}
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("classes are %s", got)
	}
	for _, kind := range task.Kinds() {
		if c := ClassOf(&task.Outcome{Kind: kind, ExitCode: 1}); c == ClassNone || c == ClassOther {
			t.Errorf("%s has class %s", kind, c)
		}
	}
	if c := ClassOf(&task.Outcome{Kind: "new"}); c != ClassOther || Class(ledger.ExitVarious).String() != "various" {
		t.Error(c)
	}
}

func TestConfig(t *testing.T) {
	good := Default()
	good.Node, good.Dir, good.Ledger, good.Objects, good.Sandbox = "n", "d", &faulty{}, &content.Store{}, &box{}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for words, change := range map[string]func(*Config){
		"Node":          func(c *Config) { c.Node = "" },
		"Dir":           func(c *Config) { c.Dir = "" },
		"Sandbox":       func(c *Config) { c.Sandbox = nil },
		"SmallBytesMax": func(c *Config) { c.SmallBytesMax = 0 },
		"RenewInterval": func(c *Config) { c.RenewInterval = c.Lease },
		"BackoffMin":    func(c *Config) { c.BackoffMin = c.BackoffMax + 1 },
		"Slots":         func(c *Config) { c.Slots = 0 },
		"OutcomesMax":   func(c *Config) { c.OutcomesMax = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// TestSlots: slots are given in turn, and those of who gives up to the next.
func TestSlots(t *testing.T) {
	s := &slots{max: 4}
	if err := s.take(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	large, small := make(chan error), make(chan error)
	waiting := func(n int) {
		for {
			s.mu.Lock()
			is := len(s.waiting)
			s.mu.Unlock()
			if is == n {
				return
			}
			<-time.After(time.Millisecond)
		}
	}
	go func() { large <- s.take(ctx, 4) }()
	waiting(1)
	go func() { small <- s.take(t.Context(), 1) }()
	waiting(2)
	cancel()
	if err := <-large; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-small; err != nil {
		t.Error(err)
	}
	if used, busy := s.load(); used != 4 || busy == 0 {
		t.Errorf("%d used, %s", used, busy)
	}
	s.give(3, time.Second)
	s.give(1, time.Second)
	if used, busy := s.load(); used != 0 || busy != 0 {
		t.Errorf("%d used, %s", used, busy)
	}
}

// tarEntry is a member of an archive.
type tarEntry struct {
	header tar.Header
	body   string
}

func entryOf(name, body string) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o777, Size: int64(len(body))}, body}
}

func archive(t testing.TB, list ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents lists the files at a path with what they hold.
func contents(t testing.TB, at string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(at, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if name == at {
			list = append(list, string(b))
			return nil
		}
		rel, err := filepath.Rel(at, name)
		list = append(list, filepath.ToSlash(rel)+":"+string(b))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return strings.Join(list, ",")
}

func newStore(t testing.TB) *content.Store {
	t.Helper()
	s, err := content.Open(t.Context(), content.Default(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestUnpack: an archive gives files and folders, or is refused as a whole.
func TestUnpack(t *testing.T) {
	store := newStore(t)
	long := strings.Repeat("x/", 600) + "y"
	link := tarEntry{header: tar.Header{Name: "l", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}}
	hard := tarEntry{header: tar.Header{Name: "l", Linkname: "a", Typeflag: tar.TypeLink}}
	device := tarEntry{header: tar.Header{Name: "dev", Typeflag: tar.TypeChar}}
	folder := tarEntry{header: tar.Header{Name: "d/", Typeflag: tar.TypeDir}}
	whole := archive(t, entryOf("a", strings.Repeat("b", 2000)))
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  string
		err   error
	}{
		{"files", archive(t, entryOf("./a", "1"), folder, entryOf("d/e/f", "2")), "a:1,d/e/f:2", nil},
		{"empty", archive(t), "", nil},
		{"up", archive(t, entryOf("../a", "1")), "", ErrInput},
		{"up inside", archive(t, entryOf("d/../a", "1")), "", ErrInput},
		{"absolute", archive(t, entryOf("/a", "1")), "", ErrInput},
		{"symbolic link", archive(t, link), "", ErrInput},
		{"hard link", archive(t, entryOf("a", "1"), hard), "", ErrInput},
		{"device", archive(t, device), "", ErrInput},
		{"twice", archive(t, entryOf("a", "1"), entryOf("a", "2")), "", ErrInput},
		{"file as folder", archive(t, entryOf("a", "1"), entryOf("a/b", "2")), "", ErrInput},
		{"folder as file", archive(t, folder, entryOf("d", "2")), "", ErrInput},
		{"deep", archive(t, entryOf(long, "1")), "", ErrInput},
		{"too many", archive(t, entryOf("a", "1"), entryOf("b", "1"), entryOf("c", "1"), entryOf("d", "1")), "", ErrInput},
		{"cut off", whole[:1000], "", ErrInput},
		{"no archive", []byte(strings.Repeat("no archive", 100)), "", ErrInput},
		{"too large", archive(t, entryOf("a", strings.Repeat("b", 9000))), "", ErrInputBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, err := store.Put(t.Context(), bytes.NewReader(tt.bytes), "test")
			if err != nil {
				t.Fatal(err)
			}
			c := Default()
			c.InputBytesMax, c.InputFilesMax = 8<<10, 3
			in, dir := newInputs(&c), t.TempDir()
			p, err := in.place(t.Context(), inputKey{dir: dir, hash: h, folder: true}, func() (*content.Object, error) { return store.Open(h, false) })
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err == nil {
				if got := contents(t, p.path); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
				in.remove(p)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 0 || in.bytes != 0 {
				t.Errorf("%v and %d bytes are left: %v", list, in.bytes, err)
			}
		})
	}
}

// TestInputsAreShared: an input is placed once for all who use it at a time, and
// what an earlier process left does not count.
func TestInputsAreShared(t *testing.T) {
	store := newStore(t)
	h, _, err := store.Put(t.Context(), strings.NewReader("content"), "test")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	in, key, opened := newInputs(&c), inputKey{dir: t.TempDir(), hash: h}, 0
	if err := os.WriteFile(filepath.Join(key.dir, h.String()), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() (*content.Object, error) { opened++; return store.Open(h, false) }
	first, err := in.place(t.Context(), key, open)
	if err != nil {
		t.Fatal(err)
	}
	second, err := in.place(t.Context(), key, open)
	if err != nil || opened != 1 || first.path != second.path {
		t.Errorf("opened %d times: %v", opened, err)
	}
	in.remove(first)
	if got := contents(t, second.path); got != "content" {
		t.Errorf("%q", got)
	}
	in.remove(second)
	if _, err := os.Stat(second.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := in.place(t.Context(), key, open); err != nil || opened != 2 {
		t.Errorf("opened %d times: %v", opened, err)
	}
}

// TestLines: the shares of all tasks together are the object, each of whole lines.
func TestLines(t *testing.T) {
	var many strings.Builder
	for i := range 3*marksMax + 17 {
		fmt.Fprintln(&many, i)
	}
	for name, text := range map[string]string{
		"empty": "", "one": "a", "ended": "a\n", "blank": "\n\n\n", "mixed": "a\n\nbc\nd", "many": many.String(),
		"long": strings.Repeat("x", 3*lineBuffer) + "\n" + strings.Repeat("y", lineBuffer) + "\nz",
	} {
		s, err := indexLines(t.Context(), strings.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(text, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		if s.lines != uint64(len(lines)) || len(s.marks) > marksMax {
			t.Errorf("%s: %d lines, %d marks, want %d lines", name, s.lines, len(s.marks), len(lines))
		}
		for _, count := range []uint32{1, 2, 3, 7, 1000} {
			for index := range count {
				r, err := s.share(count, index)
				if err != nil {
					t.Fatal(err)
				}
				first, next := jobspec.Shares(s.lines, count, index)
				if got, want := readAll(t, r), strings.Join(lines[first:next], ""); got != want {
					t.Fatalf("%s: share %d of %d is %.50q, want %.50q", name, index, count, got, want)
				}
			}
		}
	}
}
