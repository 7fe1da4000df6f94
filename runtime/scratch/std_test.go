package scratch

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasys "github.com/tetratelabs/wazero/sys"
)

// stdFS shows a file system as an io/fs.FS.
type stdFS struct{ f *FS }

func (s stdFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	h, errno := s.f.OpenFile(name, sys.O_RDONLY, 0)
	if errno != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errno}
	}
	return &stdFile{File: h, name: path.Base(name)}, nil
}

func (s stdFS) ReadLink(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, errno := s.f.Readlink(name)
	if errno != 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: errno}
	}
	return target, nil
}

func (s stdFS) Lstat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrInvalid}
	}
	st, errno := s.f.Lstat(name)
	if errno != 0 {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: errno}
	}
	return stdInfo{path.Base(name), st}, nil
}

type stdFile struct {
	sys.File
	name string
}

func (s *stdFile) Stat() (fs.FileInfo, error) {
	st, errno := s.File.Stat()
	return stdInfo{s.name, st}, toError(errno)
}

func (s *stdFile) Read(b []byte) (int, error) {
	n, errno := s.File.Read(b)
	if errno == 0 && n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, toError(errno)
}

func (s *stdFile) ReadDir(n int) ([]fs.DirEntry, error) {
	list, errno := s.Readdir(n)
	if errno != 0 {
		return nil, errno
	}
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	var out []fs.DirEntry
	for _, e := range list {
		out = append(out, stdEntry{e, s})
	}
	return out, nil
}

func (s *stdFile) Close() error { return toError(s.File.Close()) }

type stdEntry struct {
	sys.Dirent
	dir *stdFile
}

func (e stdEntry) Name() string      { return e.Dirent.Name }
func (e stdEntry) IsDir() bool       { return e.Dirent.IsDir() }
func (e stdEntry) Type() fs.FileMode { return e.Dirent.Type }
func (e stdEntry) String() string    { return fs.FormatDirEntry(e) }
func (e stdEntry) Info() (fs.FileInfo, error) {
	d := e.dir.File.(*folder)
	st, errno := d.fs.StatAt(d.node.ino, e.Name(), false)
	return stdInfo{e.Name(), st}, toError(errno)
}

type stdInfo struct {
	name string
	st   wasys.Stat_t
}

func (i stdInfo) Name() string       { return i.name }
func (i stdInfo) Size() int64        { return i.st.Size }
func (i stdInfo) Mode() fs.FileMode  { return i.st.Mode }
func (i stdInfo) ModTime() time.Time { return time.Unix(0, i.st.Mtim) }
func (i stdInfo) IsDir() bool        { return i.st.Mode.IsDir() }
func (i stdInfo) Sys() any           { return nil }
func (i stdInfo) String() string     { return fs.FormatFileInfo(i) }

func toError(errno sys.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func TestStandardFS(t *testing.T) {
	tree, _ := hostTree(t)
	f := withTree(t, tree)
	runScript(t, f, "mkdir a = ok\nmkdir a/b = ok\nwrite a/b/f hello = ok\nsymlink b/f a/l = ok")
	for i := range 300 {
		must(t, "write", writeFile(f, fmt.Sprintf("tmp/%d", i), fmt.Sprint(i)))
	}
	sub, err := fs.Sub(stdFS{f}, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "b/f", "l"); err != nil {
		t.Error(err)
	}
	sub, _ = fs.Sub(stdFS{f}, "input/tree/sub")
	if err := fstest.TestFS(sub, "deep.txt"); err != nil {
		t.Error(err)
	}
	sub, _ = fs.Sub(stdFS{f}, "tmp")
	if err := fstest.TestFS(sub, "0", "299"); err != nil {
		t.Error(err)
	}
}
