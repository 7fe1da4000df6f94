package scratch

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/dugnad/dugnad/runtime/task"
)

// aliased returns a string that shares its memory with b, as wazero makes.
func aliased(b []byte) string { return unsafe.String(&b[0], len(b)) }

func create(t testing.TB, f *FS, path string, flag sys.Oflag) sys.File {
	t.Helper()
	h, errno := f.OpenFile(path, flag|sys.O_CREAT, 0o600)
	must(t, "OpenFile "+path, errno)
	return h
}

func TestSparse(t *testing.T) {
	f := open(t, Config{BytesMax: 3 * ChunkBytes, FilesMax: 1})
	h := create(t, f, "s", sys.O_RDWR)
	before := f.BytesUsed()
	if _, errno := h.Pwrite([]byte{7}, 1<<40); errno != 0 {
		t.Fatal(errno)
	}
	if got := f.BytesUsed() - before; got != ChunkBytes {
		t.Errorf("one byte at 1 TiB costs %d, want %d", got, ChunkBytes)
	}
	buf := bytes.Repeat([]byte{9}, 10)
	if n, _ := h.Pread(buf, 1<<40-5); n != 6 || !bytes.Equal(buf[:6], []byte{0, 0, 0, 0, 0, 7}) {
		t.Errorf("read %d: %v", n, buf)
	}
	must(t, "Truncate", h.Truncate(sizeMax))
	if errno := h.Truncate(sizeMax + 1); errno != EFBIG {
		t.Errorf("Truncate beyond: %s", errnoName(errno))
	}
	for _, off := range []int64{sizeMax, math.MaxInt64} {
		if _, errno := h.Pwrite([]byte{1}, off); errno != EFBIG {
			t.Errorf("Pwrite at %d: %s", off, errnoName(errno))
		}
	}
	if f.TakeErrno() != 22 || f.TakeErrno() != 0 {
		t.Error("TakeErrno must give EFBIG once")
	}
	must(t, "Truncate", h.Truncate(0))
	if f.BytesUsed() != before {
		t.Error("truncating gives everything back")
	}
	checkTree(t, f, []sys.File{h})
}

func TestTruncateClears(t *testing.T) {
	f := open(t, Default())
	h := create(t, f, "f", sys.O_RDWR)
	data := bytes.Repeat([]byte{1}, 3*ChunkBytes)
	_, _ = h.Write(data)
	must(t, "shrink", h.Truncate(ChunkBytes+5))
	must(t, "grow", h.Truncate(3*ChunkBytes))
	got := make([]byte, 3*ChunkBytes)
	n, _ := h.Pread(got, 0)
	clear(data[ChunkBytes+5:])
	if n != len(got) || !bytes.Equal(got, data) {
		t.Error("what was cut off came back")
	}
	if errno := h.Truncate(-1); errno != sys.EINVAL {
		t.Errorf("Truncate(-1): %s", errnoName(errno))
	}
}

func TestSeekAndAppend(t *testing.T) {
	f := open(t, Default())
	h := create(t, f, "f", sys.O_RDWR|sys.O_APPEND)
	_, _ = h.Write([]byte("hello"))
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
		errno  sys.Errno
	}{
		{0, io.SeekCurrent, 5, 0},
		{-2, io.SeekEnd, 3, 0},
		{1, io.SeekCurrent, 4, 0},
		{-5, io.SeekCurrent, 0, sys.EINVAL},
		{0, 3, 0, sys.EINVAL},
		{math.MaxInt64, io.SeekStart, math.MaxInt64, 0},
		{1, io.SeekCurrent, 0, sys.EINVAL},
		{math.MinInt64, io.SeekEnd, 0, sys.EINVAL},
		{1, io.SeekStart, 1, 0},
	} {
		if got, errno := h.Seek(c.off, c.whence); got != c.want || errno != c.errno {
			t.Errorf("Seek(%d, %d) = %d, %s", c.off, c.whence, got, errnoName(errno))
		}
	}
	_, _ = h.Write([]byte("!"))
	must(t, "SetAppend", h.SetAppend(false))
	_, _ = h.Seek(0, io.SeekStart)
	_, _ = h.Write([]byte("J"))
	if s, _ := readFile(f, "f"); s != "Jello!" {
		t.Errorf("content %q", s)
	}
}

func TestAccess(t *testing.T) {
	f := open(t, Default())
	w := create(t, f, "f", sys.O_WRONLY)
	r := create(t, f, "f", sys.O_RDONLY)
	if _, errno := w.Read(make([]byte, 1)); errno != sys.EBADF {
		t.Errorf("Read: %s", errnoName(errno))
	}
	if _, errno := r.Write([]byte{1}); errno != sys.EBADF {
		t.Errorf("Write: %s", errnoName(errno))
	}
	if errno := r.Truncate(1); errno != sys.EBADF {
		t.Errorf("Truncate: %s", errnoName(errno))
	}
	if _, errno := w.Pwrite([]byte{1}, -1); errno != sys.EINVAL {
		t.Errorf("Pwrite at -1: %s", errnoName(errno))
	}
	must(t, "Close", w.Close())
	must(t, "Close again", w.Close())
	if _, errno := w.Stat(); errno != sys.EBADF {
		t.Errorf("Stat of a closed file: %s", errnoName(errno))
	}
}

func TestUnlinkWhileOpen(t *testing.T) {
	f := open(t, Config{BytesMax: 1 << 20, FilesMax: 1})
	h := create(t, f, "f", sys.O_RDWR)
	_, _ = h.Write(make([]byte, 10000))
	must(t, "Unlink", f.Unlink("f"))
	checkTree(t, f, []sys.File{h})
	if f.BytesUsed() != 3*ChunkBytes || f.FilesUsed() != 1 {
		t.Errorf("holds %d bytes, %d files", f.BytesUsed(), f.FilesUsed())
	}
	if _, errno := f.OpenFile("g", sys.O_CREAT, 0); errno != ENOSPC {
		t.Errorf("an unlinked open file still counts: %s", errnoName(errno))
	}
	if st, _ := h.Stat(); st.Nlink != 0 || st.Size != 10000 {
		t.Errorf("stat %+v", st)
	}
	must(t, "Close", h.Close())
	if f.BytesUsed() != 0 || f.FilesUsed() != 0 {
		t.Errorf("after the last close: %d bytes, %d files", f.BytesUsed(), f.FilesUsed())
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		script string
		hit    string
	}{
		{"none", Config{BytesMax: 100, FilesMax: 2}, "mkdir a = ok", ""},
		{"files", Config{BytesMax: 100, FilesMax: 1}, "mkdir a = ok\nmkdir b = ENOSPC\nls / = a input tmp", LimitFiles},
		{"links", Config{BytesMax: 5000, FilesMax: 1}, "write a x = ok\nlink a b = ENOSPC\nls / = a input tmp", LimitFiles},
		{"names", Config{BytesMax: 3, FilesMax: 9}, "mkdir abc = ok\nmkdir d = ENOSPC\nrename abc xyz = ok\nrename xyz four = ENOSPC\nls / = input tmp xyz", LimitBytes},
		{"targets", Config{BytesMax: 5, FilesMax: 9}, "symlink four x = ok\nunlink x = ok\nsymlink fives x = ENOSPC\nls / = input tmp", LimitBytes},
		{"content", Config{BytesMax: 5000, FilesMax: 9}, "write f x = ok\nwrite g x = ENOSPC\nread g =", LimitBytes},
		{"nothing", Config{}, "mkdir a = ENOSPC", LimitBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t, c.config)
			runScript(t, f, c.script)
			checkTree(t, f, nil)
			if name, hit := f.LimitHit(); name != c.hit || hit != (c.hit != "") {
				t.Errorf("LimitHit = %q, %v", name, hit)
			}
			if e := f.TakeErrno(); (e == 51) != (c.hit != "") {
				t.Errorf("TakeErrno = %d", e)
			}
		})
	}
}

func TestPartialWrite(t *testing.T) {
	f := open(t, Config{BytesMax: 2*ChunkBytes + 1, FilesMax: 1})
	h := create(t, f, "f", sys.O_RDWR)
	if n, errno := h.Write(make([]byte, 3*ChunkBytes)); n != 2*ChunkBytes || errno != 0 {
		t.Errorf("Write = %d, %s", n, errnoName(errno))
	}
	if e := f.TakeErrno(); e != 0 {
		t.Errorf("TakeErrno = %d after a write that did something", e)
	}
	if n, errno := h.Write([]byte{1}); n != 0 || errno != ENOSPC {
		t.Errorf("Write = %d, %s", n, errnoName(errno))
	}
	if name, _ := f.LimitHit(); name != LimitBytes {
		t.Errorf("LimitHit = %q", name)
	}
	checkTree(t, f, []sys.File{h})
}

func TestHandlesMax(t *testing.T) {
	f := open(t, Config{BytesMax: 1 << 20, FilesMax: 9, HandlesMax: 2})
	a := create(t, f, "a", 0)
	create(t, f, "b", 0)
	if _, errno := f.OpenFile("a", sys.O_RDONLY, 0); errno != EMFILE {
		t.Errorf("third open: %s", errnoName(errno))
	}
	must(t, "Close", a.Close())
	create(t, f, "a", 0)
}

func TestTimes(t *testing.T) {
	now := task.Epoch
	f := open(t, Config{BytesMax: 1 << 20, FilesMax: 9, Now: func() time.Time { now = now.Add(time.Second); return now }})
	must(t, "write", writeFile(f, "f", "x"))
	st, _ := f.Stat("f")
	if st.Mtim <= st.Atim || st.Ctim != st.Mtim {
		t.Errorf("after a write: %+v", st)
	}
	must(t, "Utimens", f.Utimens("f", 5, sys.UTIME_OMIT))
	after, _ := f.Stat("f")
	if after.Atim != 5 || after.Mtim != st.Mtim || after.Ctim <= st.Ctim {
		t.Errorf("after Utimens: %+v", after)
	}
	root, _ := f.Stat("/")
	must(t, "Unlink", f.Unlink("f"))
	if removed, _ := f.Stat("/"); removed.Mtim <= root.Mtim {
		t.Error("removing changes the folder's time")
	}
}

func TestFolderHandle(t *testing.T) {
	f := open(t, Config{BytesMax: 1 << 20, FilesMax: 2000})
	must(t, "Mkdir", f.Mkdir("d", 0o755))
	must(t, "Mkdir", f.Mkdir("d/e", 0o755))
	for i := range 1000 {
		must(t, "write", writeFile(f, fmt.Sprintf("d/%d", i*7919%1000), ""))
	}
	d, errno := f.OpenFile("d", sys.O_DIRECTORY, 0)
	must(t, "OpenFile", errno)
	seen := map[string]bool{}
	last := ""
	for {
		list, errno := d.Readdir(13)
		must(t, "Readdir", errno)
		for _, e := range list {
			if e.Name <= last || e.Ino == 0 {
				t.Fatalf("entry %+v after %q", e, last)
			}
			last = e.Name
			seen[e.Name] = true
			if e.Name != "e" {
				must(t, "Unlink", f.Unlink("d/"+e.Name))
			}
		}
		if len(list) < 13 {
			break
		}
	}
	if len(seen) != 1001 {
		t.Errorf("saw %d entries", len(seen))
	}
	if list, _ := d.Readdir(1); len(list) != 0 {
		t.Error("entries after the end")
	}
	if _, errno := d.Seek(0, io.SeekStart); errno != 0 {
		t.Error(errno)
	}
	if list, _ := d.Readdir(0); len(list) != 1 {
		t.Errorf("after rewinding: %v", list)
	}
	if _, errno := d.Seek(1, io.SeekStart); errno != sys.EINVAL {
		t.Errorf("Seek(1): %s", errnoName(errno))
	}
	checkTree(t, f, []sys.File{d})
}

// TestOtherMethods: what files and folders answer to the rest of sys.File.
func TestOtherMethods(t *testing.T) {
	f := open(t, Default())
	h := create(t, f, "f", sys.O_RDWR).(sys.PollableFile)
	opened, errno := f.OpenFile("tmp", sys.O_DIRECTORY, 0)
	must(t, "OpenFile", errno)
	d := opened.(sys.PollableFile)
	one := make([]byte, 1)
	_, readdir := h.Readdir(1)
	_, read := d.Read(one)
	_, pread := d.Pread(one, 0)
	_, write := d.Write(one)
	_, pwrite := d.Pwrite(one, 0)
	for _, c := range []struct {
		what      string
		got, want sys.Errno
	}{
		{"Readdir of a file", readdir, sys.EBADF},
		{"Read of a folder", read, sys.EISDIR},
		{"Pread of a folder", pread, sys.EISDIR},
		{"Write of a folder", write, sys.EISDIR},
		{"Pwrite of a folder", pwrite, sys.EISDIR},
		{"Truncate of a folder", d.Truncate(0), sys.EISDIR},
		{"SetAppend of a folder", d.SetAppend(true), sys.EISDIR},
		{"Sync", h.Sync(), 0},
		{"Datasync", d.Datasync(), 0},
		{"Utimens", d.Utimens(1, 2), 0},
		{"SetNonblock", h.SetNonblock(true), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, errnoName(c.got), errnoName(c.want))
		}
	}
	if st, _ := d.Stat(); st.Atim != 1 || st.Mtim != 2 || !st.Mode.IsDir() {
		t.Errorf("stat of the folder: %+v", st)
	}
	if ready, errno := h.Poll(sys.POLLIN, -1); !ready || errno != 0 || !h.IsNonblock() {
		t.Errorf("Poll: %v, %s", ready, errnoName(errno))
	}
	if dev, _ := h.Dev(); dev != devTree {
		t.Errorf("Dev: %d", dev)
	}
}

func TestStatAt(t *testing.T) {
	f := open(t, Default())
	runScript(t, f, "mkdir a = ok\nmkdir a/b = ok\nsymlink .. a/b/up = ok")
	d, _ := f.OpenFile("a/b", sys.O_DIRECTORY, 0)
	ino, _ := d.Ino()
	a, _ := f.Stat("a")
	if got := f.ParentIno(ino); got != a.Ino {
		t.Errorf("ParentIno = %d, want %d", got, a.Ino)
	}
	must(t, "Rename", f.Rename("a", "z"))
	for path, want := range map[string]uint64{
		"..": a.Ino, "../b": ino, "../..": 1, "../../../..": 1, "up": a.Ino, "": ino, "../../tmp": 2,
	} {
		if st, errno := f.StatAt(ino, path, true); errno != 0 || st.Ino != want {
			t.Errorf("StatAt(%q) = %d, %s; want %d", path, st.Ino, errnoName(errno), want)
		}
	}
	if st, _ := f.StatAt(ino, "up", false); st.Mode.Type() == 0 || st.Mode.IsDir() {
		t.Errorf("StatAt without following: %v", st.Mode)
	}
	must(t, "Close", d.Close())
	if _, errno := f.StatAt(ino, "..", true); errno != sys.EBADF || f.ParentIno(ino) != 0 {
		t.Errorf("StatAt of a closed folder: %s", errnoName(errno))
	}
}

func TestCloseWhileInUse(t *testing.T) {
	f := open(t, Default())
	h := create(t, f, "f", sys.O_RDWR)
	d, _ := f.OpenFile(".", sys.O_DIRECTORY, 0)
	started := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			if i == 100 {
				close(started)
			}
			if _, errno := h.Write([]byte("x")); errno != 0 {
				return
			}
		}
	})
	<-started
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, errno := d.Readdir(0); errno != sys.EBADF {
		t.Errorf("Readdir: %s", errnoName(errno))
	}
	for _, op := range []string{"mkdir a", "rmdir a", "unlink f", "rename f g", "link f g", "symlink f g", "stat .", "ls .", "open . r", "chmod f", "readlink f"} {
		if got := step(f, strings.Fields(op)); got != "ENOENT" {
			t.Errorf("%s after Close = %s", op, got)
		}
	}
	must(t, "Close", h.Close())
	must(t, "Close", d.Close())
}

func BenchmarkWrite(b *testing.B) {
	f := open(b, Config{BytesMax: 1 << 30, FilesMax: 9})
	h := create(b, f, "f", sys.O_RDWR)
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	for i := 0; b.Loop(); i++ {
		if i%4096 == 0 {
			_ = h.Truncate(0)
		}
		_, _ = h.Pwrite(buf, int64(i%4096)*int64(len(buf)))
	}
}

func BenchmarkStat(b *testing.B) {
	f := open(b, Config{BytesMax: 1 << 30, FilesMax: 1 << 20})
	for i := range 100_000 {
		must(b, "write", writeFile(f, fmt.Sprintf("tmp/%d", i), ""))
	}
	for i := 0; b.Loop(); i++ {
		if _, errno := f.Stat("/tmp/4711"); errno != 0 {
			b.Fatal(errno)
		}
	}
}
