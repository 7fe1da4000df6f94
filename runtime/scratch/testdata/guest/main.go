// Command guest exercises a file system through the Go library, as a guest
// does, and prints what it finds. It ends with status 1 at the first surprise.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	tree()
	files()
	links()
	inputs()
	escapes()
	limits()
	fmt.Println("done")
}

func tree() {
	must(os.MkdirAll("/den/a/b/c", 0o755))
	for i := range 600 {
		must(os.WriteFile(fmt.Sprintf("/den/a/file%03d", i), []byte{byte(i)}, 0o644))
	}
	list := get(os.ReadDir("/den/a"))
	check(len(list) == 601, "ReadDir", len(list))
	check(list[0].Name() == "b" && list[1].Name() == "file000", "order", list[0])
	d := get(os.Open("/den/a"))
	removed := 0
	for {
		names, err := d.Readdirnames(7)
		if err == io.EOF {
			break
		}
		must(err)
		for _, n := range names {
			must(os.RemoveAll("/den/a/" + n))
			removed++
		}
	}
	must(d.Close())
	check(removed == 601, "delete while listing", removed)
	must(os.Remove("/den/a"))
	must(os.MkdirAll("/den/x/y/z", 0o755))
	must(os.Rename("/den/x", "/den/w"))
	must(os.RemoveAll("/den/w"))
	_, err := os.Stat("/den/w")
	check(errors.Is(err, fs.ErrNotExist), "RemoveAll", err)
	walked := 0
	must(filepath.WalkDir("/", func(string, fs.DirEntry, error) error { walked++; return nil }))
	fmt.Println("walked", walked)
	fmt.Println(get(os.Getwd()))
}

func files() {
	must(os.WriteFile("/tmp/f", []byte("hello"), 0o600))
	f := get(os.OpenFile("/tmp/f", os.O_APPEND|os.O_WRONLY, 0))
	get(f.WriteString(" world"))
	must(f.Close())
	check(string(get(os.ReadFile("/tmp/f"))) == "hello world", "append", "")

	f = get(os.OpenFile("/tmp/sparse", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600))
	get(f.Seek(1<<40, io.SeekStart))
	get(f.Write([]byte{1}))
	check(get(f.Stat()).Size() == 1<<40+1, "sparse size", "")
	must(f.Truncate(4))
	buf := make([]byte, 8)
	n, err := f.ReadAt(buf, 0)
	check(n == 4 && err == io.EOF, "hole", n)
	must(os.Remove("/tmp/sparse"))
	get(f.WriteAt([]byte("still"), 0))
	must(f.Close())

	_, err = os.OpenFile("/tmp/f", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	check(errors.Is(err, fs.ErrExist), "O_EXCL", err)
	_, err = os.OpenFile("/tmp", os.O_RDWR, 0)
	check(errors.Is(err, syscall.EISDIR), "open folder to write", err)
	t := get(os.CreateTemp("", "x*"))
	check(strings.HasPrefix(t.Name(), "/tmp/x"), "CreateTemp", t.Name())
	must(t.Close())
	must(os.Rename(t.Name(), "/tmp/f"))
	check(get(os.Stat("/tmp/f")).Size() == 0, "rename over", "")
	dir := get(os.MkdirTemp("", "d"))
	must(os.WriteFile(dir+"/f", nil, 0o600))
	err = os.Remove(dir)
	check(errors.Is(err, syscall.ENOTEMPTY), "remove a full folder", err)
	must(os.Chtimes("/tmp/f", get(os.Stat("/tmp/f")).ModTime(), get(os.Stat("/")).ModTime()))
}

func links() {
	must(os.Symlink("f", "/tmp/s"))
	must(os.WriteFile("/tmp/s", []byte("through"), 0o600))
	check(string(get(os.ReadFile("/tmp/f"))) == "through", "symlink", "")
	check(get(os.Readlink("/tmp/s")) == "f", "Readlink", "")
	check(get(os.Lstat("/tmp/s")).Mode()&fs.ModeSymlink != 0, "Lstat", "")
	must(os.Link("/tmp/f", "/tmp/h"))
	check(os.SameFile(get(os.Stat("/tmp/f")), get(os.Stat("/tmp/h"))), "Link", "")
	must(os.Symlink("loop", "/tmp/loop"))
	_, err := os.ReadFile("/tmp/loop")
	check(errors.Is(err, syscall.ELOOP), "loop", err)
	must(os.Remove("/tmp/loop"))
}

func inputs() {
	fmt.Printf("%s\n", get(os.ReadFile("/input/one")))
	fmt.Printf("%s\n", get(os.ReadFile("/input/tree/sub/deep.txt")))
	must(filepath.WalkDir("/input", func(p string, d fs.DirEntry, err error) error {
		must(err)
		i := get(os.Lstat(p))
		fmt.Println(p, i.Mode().Type(), i.Size(), i.ModTime().UTC())
		return nil
	}))
	for _, p := range []string{"/input/one", "/input/tree/new", "/input/new", "/input/tree/sub/deep.txt"} {
		err := os.WriteFile(p, nil, 0o600)
		check(errors.Is(err, syscall.EROFS), "write "+p, err)
	}
	check(errors.Is(os.Remove("/input/tree/sub/deep.txt"), syscall.EROFS), "remove an input", "")
	check(errors.Is(os.Mkdir("/input/tree/d", 0o700), syscall.EROFS), "mkdir in an input", "")
	check(errors.Is(os.Rename("/input/one", "/tmp/one"), syscall.EROFS), "move an input", "")
	_, err := os.Open("/input/tree/pipe")
	check(errors.Is(err, syscall.EACCES), "open a pipe", err)
}

func escapes() {
	must(os.Symlink("../../../../../../etc/passwd", "/tmp/up"))
	must(os.Symlink("/etc/passwd", "/tmp/abs"))
	for _, p := range []string{
		"/etc/passwd", "../etc/passwd", "/../../etc/passwd", "/tmp/up", "/tmp/abs",
		"/input/tree/passwd", "/input/tree/outside", "/input/tree/outside/secret",
		"/input/tree/../../../../etc/passwd", "/input/tree/sub/../../../etc/passwd",
	} {
		b, err := os.ReadFile(p)
		check(err != nil, "escape through "+p, string(b))
	}
}

func limits() {
	f := get(os.Create("/tmp/big"))
	block := make([]byte, 1<<16)
	var err error
	for err == nil {
		_, err = f.Write(block)
	}
	fmt.Println("full:", err)
	must(f.Close())
	must(os.Remove("/tmp/big"))
	must(os.WriteFile("/tmp/again", block, 0o600))
}

func must(err error) {
	if err != nil {
		check(false, "error", err)
	}
}

func get[T any](v T, err error) T {
	must(err)
	return v
}

func check(ok bool, what string, got any) {
	if !ok {
		fmt.Fprintln(os.Stderr, "unexpected:", what, got)
		panic("failed")
	}
}
