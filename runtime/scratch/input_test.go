package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/dugnad/dugnad/runtime/task"
)

const secret = "not for guests"

// hostTree makes a folder to be given to a guest, beside a secret that no
// guest may read, and returns both.
func hostTree(t testing.TB) (tree, outside string) {
	t.Helper()
	base := t.TempDir()
	tree, outside = filepath.Join(base, "tree"), filepath.Join(base, "outside")
	for _, d := range []string{filepath.Join(tree, "sub"), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		filepath.Join(tree, "b.txt"): "bee", filepath.Join(tree, "a.txt"): "ay",
		filepath.Join(tree, "sub", "deep.txt"): "deep", filepath.Join(outside, "secret"): secret,
	}
	for p, s := range files {
		if err := os.WriteFile(p, []byte(s), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"passwd": "/etc/passwd", "abs": filepath.Join(outside, "secret"), "outside": "../outside",
		"up": "../../../../../../../etc/passwd", "in": "sub/deep.txt", "insub": "sub", "back": "sub/../a.txt",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(tree, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	return tree, outside
}

func withTree(t testing.TB, tree string) *FS {
	t.Helper()
	c := Default()
	c.Inputs = []task.Input{{Name: "tree", Path: tree}, {Name: "one", Path: filepath.Join(tree, "b.txt")}}
	return open(t, c)
}

func TestInputs(t *testing.T) {
	tree, _ := hostTree(t)
	f := withTree(t, tree)
	runScript(t, f, `ls input = one tree
		read input/one = bee
		read input/one/ = ENOTDIR
		read input/one/x = ENOTDIR
		ls input/tree = a.txt abs b.txt back in insub outside passwd pipe sub up
		ls input/tree/insub = deep.txt
		read input/tree/sub/deep.txt = deep
		read input/tree/in = deep
		read input/tree/insub/deep.txt = deep
		read input/tree/back = ay
		read input/tree/sub/../../one = bee
		readlink input/tree/in = sub/deep.txt
		lstat input/tree/in = link
		stat input/tree/in = file
		stat input/tree/none = ENOENT
		stat input/tree/none/x = ENOENT
		stat input/tree/a.txt/x = ENOTDIR
		stat input/tree/.. = dir
		ls input/tree/../.. = input tmp
		open input/tree/in rn = ELOOP
		open input/tree rd = ok
		open input/tree/a.txt rd = ENOTDIR
		open input/tree/pipe r = EACCES
		open input/tree/pipe w = EACCES
		open input/tree/a.txt w = EROFS
		open input/tree/a.txt rw = EROFS
		open input/tree/a.txt rt = EROFS
		open input/tree/a.txt rc = ok
		open input/tree/a.txt rcx = EEXIST
		open input/tree/new wc = EROFS
		open input/tree w = EISDIR
		open input/one w = EROFS
		mkdir input/tree/new = EROFS
		mkdir input/tree/sub = EEXIST
		rmdir input/tree/sub = EROFS
		rmdir input/tree = EROFS
		unlink input/tree/a.txt = EROFS
		unlink input/tree/none = ENOENT
		unlink input/one = EROFS
		rename input/tree/a.txt input/tree/c = EROFS
		rename input/tree/a.txt tmp/c = EROFS
		rename input/tree tmp/c = EROFS
		rename tmp input/tree/c = EROFS
		link input/tree/a.txt tmp/c = EXDEV
		symlink x input/tree/c = EROFS
		chmod input/tree/a.txt = EROFS
		symlink /input/tree/sub tmp/s = ok
		read tmp/s/deep.txt = deep`)
	if errno := f.Utimens("input/one", 1, 1); errno != sys.EROFS {
		t.Errorf("Utimens: %s", errnoName(errno))
	}
	checkTree(t, f, nil)
}

func TestInputsCannotBeLeft(t *testing.T) {
	tree, outside := hostTree(t)
	f := withTree(t, tree)
	runScript(t, f, fmt.Sprintf(`read input/tree/passwd = ENOENT
		read input/tree/abs = ENOENT
		read input/tree/up = ENOENT
		read input/tree/outside/secret = ENOENT
		ls input/tree/outside = ENOENT
		read %s/secret = ENOENT
		read input/tree/../../../..%s/secret = ENOENT
		symlink %s/secret tmp/s = ok
		read tmp/s = ENOENT`, outside, outside, outside))
}

// TestInputSwappedWhileRead swaps a folder and a file of the input with links
// that lead out of it, all the time, while the guest reads through them.
func TestInputSwappedWhileRead(t *testing.T) {
	tree, outside := hostTree(t)
	f := withTree(t, tree)
	var stop atomic.Bool
	var wg sync.WaitGroup
	swap := func(name, target string) {
		at, aside := filepath.Join(tree, name), filepath.Join(tree, name+".aside")
		link := filepath.Join(tree, name+".link")
		for !stop.Load() {
			if err := errors.Join(os.Symlink(target, link), os.Rename(at, aside), os.Rename(link, at),
				os.Remove(at), os.Rename(aside, at)); err != nil {
				t.Error(err)
				return
			}
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "sub", "secret"), []byte("public"), 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { swap("sub", outside) })
	wg.Go(func() { swap("a.txt", filepath.Join(outside, "secret")) })
	reads := 0
	for i := 0; i < 200_000 && (reads < 500 || i < 5_000); i++ {
		for _, p := range []string{"input/tree/sub/secret", "input/tree/a.txt"} {
			s, errno := readFile(f, p)
			if errno == 0 {
				reads++
			}
			if s == secret {
				t.Fatalf("%s led out of the input", p)
			}
		}
		if d, errno := f.OpenFile("input/tree/sub", sys.O_DIRECTORY, 0); errno == 0 {
			list, _ := d.Readdir(0)
			if len(list) == 1 {
				t.Fatalf("listed %v, which is outside", list)
			}
			must(t, "Close", d.Close())
		}
	}
	stop.Store(true)
	wg.Wait()
	if reads == 0 {
		t.Error("no read succeeded")
	}
	checkTree(t, f, nil)
}

// TestInputSwappedBeforeOpen: what was a file or folder when it was looked up
// is something else when it is opened.
func TestInputSwappedBeforeOpen(t *testing.T) {
	tree, outside := hostTree(t)
	f := withTree(t, tree)
	swap := func(name string, make func(at string) error) {
		at := filepath.Join(tree, name)
		if err := errors.Join(os.RemoveAll(at), make(at)); err != nil {
			t.Fatal(err)
		}
	}
	pipe := func(at string) error { return syscall.Mkfifo(at, 0o644) }
	link := func(target string) func(string) error {
		return func(at string) error { return os.Symlink(target, at) }
	}
	file, errno := f.existing("input/tree/a.txt", followLast)
	must(t, "look up", errno)
	dir, errno := f.existing("input/tree/sub", followLast)
	must(t, "look up", errno)
	for name, make := range map[string]func(string) error{
		"pipe": pipe, "link to a file": link(filepath.Join(outside, "secret")), "link to a folder": link("../outside"),
		"link to a device": link("/dev/zero"), "nothing": func(string) error { return nil },
	} {
		swap("a.txt", make)
		if _, _, errno := file.node.hostOpen(); errno == 0 {
			t.Errorf("a file that became a %s was opened", name)
		}
		swap("sub", make)
		if _, errno := dir.node.hostEntries(10); errno == 0 {
			t.Errorf("a folder that became a %s was listed", name)
		}
		if n, errno := dir.node.hostChild("secret"); n != nil {
			t.Errorf("a file was found in a folder that became a %s: %s", name, errnoName(errno))
		}
	}
}

// TestInputMetadata: what a guest sees of two copies of a folder is the same.
func TestInputMetadata(t *testing.T) {
	see := func() string {
		tree, _ := hostTree(t)
		f := withTree(t, tree)
		var out strings.Builder
		inos := map[uint64]string{}
		var walk func(dir string)
		walk = func(dir string) {
			d, errno := f.OpenFile(dir, sys.O_DIRECTORY, 0)
			must(t, "OpenFile "+dir, errno)
			list, errno := d.Readdir(-1)
			must(t, "Readdir "+dir, errno)
			for _, e := range list {
				p := dir + "/" + e.Name
				st, errno := f.Lstat(p)
				must(t, "Lstat "+p, errno)
				if st.Ino == 0 || st.Ino != e.Ino || st.Mode.Type() != e.Type {
					t.Errorf("%s: entry %+v, stat %+v", p, e, st)
				}
				if other, twice := inos[st.Ino]; twice {
					t.Errorf("%s and %s share an inode number", p, other)
				}
				inos[st.Ino] = p
				if !strings.HasSuffix(p, "/abs") {
					fmt.Fprintf(&out, "%s %+v\n", p, st)
				}
				if e.IsDir() {
					walk(p)
				}
			}
			must(t, "Close", d.Close())
		}
		walk("")
		return out.String()
	}
	if a, b := see(), see(); a != b {
		t.Errorf("two copies differ:\n%s\n%s", a, b)
	}
}

func TestInputDepthIsBounded(t *testing.T) {
	base := t.TempDir()
	if err := os.MkdirAll(filepath.Join(base, strings.Repeat("d/", 400)), 0o755); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Inputs = []task.Input{{Name: "deep", Path: base}}
	f := open(t, c)
	runScript(t, f, "stat input/deep/"+strings.Repeat("d/", 100)+" = dir\nstat input/deep/"+strings.Repeat("d/", 400)+" = ENAMETOOLONG")
}

func TestInputListing(t *testing.T) {
	tree, _ := hostTree(t)
	f := withTree(t, tree)
	d, errno := f.OpenFile("input/tree", sys.O_DIRECTORY, 0)
	must(t, "OpenFile", errno)
	for range 2 {
		var names []string
		for {
			list, errno := d.Readdir(2)
			must(t, "Readdir", errno)
			checkTree(t, f, []sys.File{d})
			for _, e := range list {
				names = append(names, e.Name)
			}
			if len(list) < 2 {
				break
			}
		}
		if got := strings.Join(names, " "); got != "a.txt abs b.txt back in insub outside passwd pipe sub up" {
			t.Errorf("listed %s", got)
		}
		if list, _ := d.Readdir(2); len(list) != 0 || f.listed != 0 {
			t.Errorf("after the end: %v, %d entries are held", list, f.listed)
		}
		if _, errno := d.Seek(0, 0); errno != 0 {
			t.Error(errnoName(errno))
		}
	}
	_, _ = d.Readdir(1)
	f.listed += hostEntriesMax
	other, _ := f.OpenFile("input/tree", sys.O_DIRECTORY, 0)
	if _, errno := other.Readdir(1); errno != sys.EIO {
		t.Errorf("too many entries: %s", errnoName(errno))
	}
	f.listed -= hostEntriesMax
	must(t, "Close", other.Close())
	must(t, "Close", d.Close())
	checkTree(t, f, nil)
}

// TestCloseClosesHostFiles: nothing of the host stays open.
func TestCloseClosesHostFiles(t *testing.T) {
	tree, _ := hostTree(t)
	before := countDescriptors(t)
	f := withTree(t, tree)
	h, errno := f.OpenFile("input/tree/a.txt", sys.O_RDONLY, 0)
	must(t, "OpenFile", errno)
	closed, errno := f.OpenFile("input/one", sys.O_RDONLY, 0)
	must(t, "OpenFile", errno)
	must(t, "Close", closed.Close())
	if s, _ := readFile(f, "input/one"); s != "bee" {
		t.Errorf("closing a handle closed the input: %q", s)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, errno := h.Read(make([]byte, 1)); errno != sys.EBADF {
		t.Errorf("Read after Close: %s", errnoName(errno))
	}
	if after := countDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(list)
}
