package scratch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/dugnad/dugnad/runtime/task"
)

// TestPaths runs short scripts: each line is an operation and its answer.
func TestPaths(t *testing.T) {
	long := strings.Repeat("n", NameBytesMax)
	deep := strings.Repeat("d/", PathBytesMax/2)
	for _, c := range []struct{ name, script string }{
		{"root", `ls / = input tmp
			ls . = input tmp
			stat .. = dir
			stat ../../tmp = dir
			ls tmp/../.. = input tmp
			mkdir / = EEXIST
			mkdir . = EEXIST
			rmdir / = EBUSY
			rmdir /tmp = EBUSY
			rename /tmp /t = EBUSY
			rename /a / = ENOENT
			unlink / = EISDIR`},
		{"folders", `mkdir a = ok
			mkdir a = EEXIST
			mkdir a/b/ = ok
			mkdir x/y = ENOENT
			ls /a = b
			rmdir a = ENOTEMPTY
			rmdir a/. = EINVAL
			unlink a = EISDIR
			rmdir a/b/ = ok
			rmdir a = ok
			stat a = ENOENT
			rmdir a = ENOENT`},
		{"files", `write f hello = ok
			read f = hello
			read /f = hello
			read ./tmp/../f = hello
			stat f/ = ENOTDIR
			stat f/x = ENOTDIR
			stat f/. = ENOTDIR
			stat f/.. = ENOTDIR
			mkdir f = EEXIST
			mkdir f/x = ENOTDIR
			rmdir f = ENOTDIR
			ls f = ENOTDIR
			write new/ x = EISDIR
			unlink f/ = ENOTDIR
			unlink f = ok
			read f = ENOENT`},
		{"flags", `open f r = ENOENT
			open f w = ENOENT
			open f wc = ok
			open f wcx = EEXIST
			write f hello = ok
			open f wt = ok
			read f = 
			open f rd = ENOTDIR
			open tmp w = EISDIR
			open tmp rw = EISDIR
			open tmp rt = EISDIR
			open tmp rc = EISDIR
			open tmp rcx = EEXIST
			open tmp rd = ok
			open tmp r = ok
			open g rcd = EINVAL
			open f/ rw = ENOTDIR`},
		{"symlinks", `mkdir d = ok
			write d/f hello = ok
			symlink d l = ok
			symlink d/f /tmp/m = ok
			symlink ../d/f /tmp/n = ok
			symlink /d/f /tmp/o = ok
			read l/f = hello
			read tmp/m = ENOENT
			read tmp/n = hello
			read tmp/o = hello
			lstat l = link
			lstat l/ = dir
			stat l = dir
			readlink tmp/n = ../d/f
			readlink d = EINVAL
			open l rn = ELOOP
			open l rnd = ENOTDIR
			open l/ rnd = ok
			open tmp/n rn = ELOOP
			rmdir l = ENOTDIR
			rmdir l/ = ENOTDIR
			unlink l/ = ENOTDIR
			symlink x l = EEXIST
			symlink x y/ = ENOENT
			ls l/../tmp = m n o
			unlink l = ok
			read d/f = hello`},
		{"dangling links", `symlink there here = ok
			stat here = ENOENT
			lstat here = link
			open here wcx = EEXIST
			write here new = ok
			read there = new
			symlink out/of/sight far = ok
			write far x = ENOENT
			mkdir far = EEXIST`},
		{"link loops", `symlink b a = ok
			symlink a b = ok
			stat a = ELOOP
			stat a/x = ELOOP
			lstat a = link
			lstat a/ = ELOOP
			open a rc = ELOOP
			symlink . s = ok
			stat ` + strings.Repeat("s/", 40) + `tmp = dir
			stat ` + strings.Repeat("s/", 41) + `tmp = ELOOP`},
		{"hard links", `write f hello = ok
			link f g = ok
			link f g = EEXIST
			link tmp d = EPERM
			link none d = ENOENT
			link f h/ = ENOENT
			link f input/h = EROFS
			write g other = ok
			read f = other
			rename f g = ok
			read f = other
			unlink f = ok
			read g = other
			symlink g s = ok
			link s s2 = ok
			lstat s2 = link`},
		{"rename", `mkdir a = ok
			mkdir a/sub = ok
			mkdir e = ok
			write f one = ok
			write g two = ok
			rename f g = ok
			read g = one
			rename f g = ENOENT
			rename g a = EISDIR
			rename a g = ENOTDIR
			rename e a = ENOTEMPTY
			rename a e = ok
			ls e = sub
			rename e e/sub/x = EINVAL
			rename e e/x = EINVAL
			rename e/sub e = ENOTEMPTY
			rename e/. x = EINVAL
			rename g h/ = ENOTDIR
			rename e h/ = ok
			rename h h = ok
			rename g none/x = ENOENT
			rename g g/x = ENOTDIR
			rename h/sub/.. x = EINVAL
			rename g input/g = EROFS
			rename input x = EROFS
			rename tmp x = EBUSY
			symlink g s = ok
			rename s t = ok
			readlink t = g
			ls / = g h input t tmp`},
		{"read-only input", `ls input =
			mkdir input/x = EROFS
			write input/x y = EROFS
			symlink a input/x = EROFS
			rmdir input = EBUSY
			chmod input = EROFS`},
		{"long names", `mkdir ` + long + ` = ok
			stat ` + long + ` = dir
			mkdir ` + long + `n = ENAMETOOLONG
			stat ` + long + `n/x = ENAMETOOLONG
			stat ` + deep + ` = ENAMETOOLONG
			stat ` + strings.Repeat("/", PathBytesMax-1) + ` = dir
			symlink ` + deep + ` s = ENAMETOOLONG`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t, Config{BytesMax: 1 << 20, FilesMax: 100})
			runScript(t, f, c.script)
			checkTree(t, f, nil)
		})
	}
}

// runScript runs the lines of a script.
func runScript(t *testing.T, f *FS, script string) {
	t.Helper()
	for _, line := range strings.Split(script, "\n") {
		op, want, _ := strings.Cut(strings.TrimSpace(line), " =")
		want = strings.TrimSpace(want)
		if got := step(f, strings.Fields(op)); got != want {
			t.Errorf("%.80s = %q, want %q", op, got, want)
		}
	}
}

// step runs one operation.
func step(f *FS, op []string) string {
	switch op[0] {
	case "mkdir":
		return errnoName(f.Mkdir(op[1], 0o755))
	case "rmdir":
		return errnoName(f.Rmdir(op[1]))
	case "unlink":
		return errnoName(f.Unlink(op[1]))
	case "rename":
		return errnoName(f.Rename(op[1], op[2]))
	case "link":
		return errnoName(f.Link(op[1], op[2]))
	case "symlink":
		return errnoName(f.Symlink(op[1], op[2]))
	case "chmod":
		return errnoName(f.Chmod(op[1], 0o700))
	case "readlink":
		s, errno := f.Readlink(op[1])
		return or(errno, s)
	case "stat", "lstat":
		stat := f.Stat
		if op[0] == "lstat" {
			stat = f.Lstat
		}
		st, errno := stat(op[1])
		kind := map[bool]string{true: "dir"}[st.Mode.IsDir()]
		if st.Mode&os.ModeSymlink != 0 {
			kind = "link"
		} else if st.Mode.IsRegular() {
			kind = "file"
		}
		return or(errno, kind)
	case "ls":
		h, errno := f.OpenFile(op[1], sys.O_DIRECTORY, 0)
		if errno != 0 {
			return errnoName(errno)
		}
		defer h.Close()
		list, errno := h.Readdir(-1)
		var names []string
		for _, e := range list {
			names = append(names, e.Name)
		}
		return or(errno, strings.Join(names, " "))
	case "read":
		s, errno := readFile(f, op[1])
		return or(errno, s)
	case "write":
		return errnoName(writeFile(f, op[1], op[2]))
	case "open":
		h, errno := f.OpenFile(op[1], flags(op[2]), 0o600)
		if errno == 0 {
			h.Close()
		}
		return errnoName(errno)
	}
	panic(fmt.Sprint("no such operation: ", op))
}

func or(errno sys.Errno, s string) string {
	if errno != 0 {
		return errnoName(errno)
	}
	return s
}

// flags reads r, w, c, x, t, d, n, a.
func flags(s string) (flag sys.Oflag) {
	for _, c := range strings.TrimPrefix(s, "rw") {
		flag |= map[rune]sys.Oflag{
			'w': sys.O_WRONLY, 'c': sys.O_CREAT, 'x': sys.O_EXCL, 't': sys.O_TRUNC,
			'd': sys.O_DIRECTORY, 'n': sys.O_NOFOLLOW, 'a': sys.O_APPEND,
		}[c]
	}
	if strings.HasPrefix(s, "rw") {
		flag |= sys.O_RDWR
	}
	return flag
}

func writeFile(f *FS, path, data string) sys.Errno {
	h, errno := f.OpenFile(path, sys.O_WRONLY|sys.O_CREAT|sys.O_TRUNC, 0o600)
	if errno != 0 {
		return errno
	}
	defer h.Close()
	_, errno = h.Write([]byte(data))
	return errno
}

func readFile(f *FS, path string) (string, sys.Errno) {
	h, errno := f.OpenFile(path, sys.O_RDONLY, 0)
	if errno != 0 {
		return "", errno
	}
	defer h.Close()
	var all []byte
	buf := make([]byte, 5000)
	for {
		n, errno := h.Read(buf)
		if errno != 0 || n == 0 {
			return string(all), errno
		}
		all = append(all, buf[:n]...)
	}
}

// TestLongLinks checks that a short path cannot lead a long way.
func TestLongLinks(t *testing.T) {
	f, err := Open(Config{BytesMax: 1 << 20, FilesMax: 100, HandlesMax: 10, Now: func() time.Time { return time.Unix(0, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 3 {
		target := strings.Repeat("./", linkBytesMax/4) + fmt.Sprint("l", i)
		if errno := f.Symlink(target, fmt.Sprint("l", i+1)); errno != 0 {
			t.Fatal(errno)
		}
	}
	if errno := f.Mkdir("l0", 0o700); errno != 0 {
		t.Fatal(errno)
	}
	for i, want := range []sys.Errno{0, 0, sys.ENAMETOOLONG} {
		if _, errno := f.Stat(fmt.Sprint("l", i)); errno != want {
			t.Errorf("a way of %d links: got %v, want %v", i, errno, want)
		}
	}
}

func TestSymlinkKeepsItsTarget(t *testing.T) {
	f := open(t, Default())
	shared := []byte("target")
	must(t, "Symlink", f.Symlink(aliased(shared), "l"))
	copy(shared, "/tmp/x")
	if s, _ := f.Readlink("l"); s != "target" {
		t.Errorf("the target became %q", s)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		in   task.Input
		want string
	}{
		{task.Input{Name: "data", Path: missing}, `open input "data": stat`},
		{task.Input{Name: "null", Path: "/dev/null"}, `open input "null": neither a file nor a folder`},
		{task.Input{Name: "a/b", Path: dir}, "one path element"},
		{task.Input{Name: "..", Path: dir}, "one path element"},
	} {
		f, err := Open(Config{Inputs: []task.Input{{Name: "ok", Path: dir}, c.in}})
		if f != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open with %v: %v, want %q", c.in, err, c.want)
		}
	}
}
