package scratch

import (
	"testing"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// open returns a file system that is closed with the test.
func open(t testing.TB, config Config) *FS {
	t.Helper()
	f, err := Open(config)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// must fails the test unless errno is zero.
func must(t testing.TB, what string, errno sys.Errno) {
	t.Helper()
	if errno != 0 {
		t.Fatalf("%s: %s", what, errnoName(errno))
	}
}

// checkTree recomputes everything that the file system counts and compares.
// Handles are those that are open.
func checkTree(t testing.TB, f *FS, handles []sys.File) {
	t.Helper()
	var bytes, files uint64
	names := map[*node]uint64{}
	seen := map[*node]bool{}
	visit := func(n *node) {
		if seen[n] || n.fixed {
			return
		}
		seen[n] = true
		bytes += countChunks(t, n)*ChunkBytes + uint64(len(n.target))
		if n.nlink == 0 || n.isDir() {
			files++
		} else {
			files += n.nlink
		}
	}
	var walk func(dir *node)
	walk = func(dir *node) {
		folders, count, last := uint64(0), 0, ""
		dir.entries.after("", func(e entry) bool {
			if e.name <= last {
				t.Fatalf("%q comes after %q", e.name, last)
			}
			last = e.name
			count++
			if e.node.host != nil {
				return true
			}
			if !e.node.fixed {
				bytes += uint64(len(e.name))
			}
			names[e.node]++
			visit(e.node)
			if e.node.isDir() {
				folders++
				if e.node.parent != dir {
					t.Fatalf("%q has another parent", e.name)
				}
				walk(e.node)
			}
			return true
		})
		if dir.nlink != 2+folders && dir.ino != 3 {
			t.Fatalf("folder %d has nlink %d, want %d", dir.ino, dir.nlink, 2+folders)
		}
		if count != dir.entries.count {
			t.Fatalf("folder %d counts %d entries, has %d", dir.ino, dir.entries.count, count)
		}
		for _, b := range dir.entries.blocks {
			if len(b) == 0 || len(b) > blockMax {
				t.Fatalf("block of %d entries", len(b))
			}
		}
	}
	walk(f.root)
	for n, c := range names {
		if !n.isDir() && n.nlink != c {
			t.Fatalf("inode %d has nlink %d and %d names", n.ino, n.nlink, c)
		}
	}
	opens, listed := uint64(0), 0
	for _, h := range handles {
		opens++
		switch h := h.(type) {
		case *file:
			if h.node.host == nil {
				visit(h.node)
			}
		case *folder:
			if listed += len(h.list); h.node.host == nil {
				visit(h.node)
			}
		}
	}
	if f.bytes != bytes || f.files != files || f.handles != opens {
		t.Fatalf("counted %d bytes, %d files, %d handles; recomputed %d, %d, %d",
			f.bytes, f.files, f.handles, bytes, files, opens)
	}
	if f.listed != listed {
		t.Fatalf("counted %d listed entries, recomputed %d", f.listed, listed)
	}
	if f.bytes > f.config.BytesMax || f.files > f.config.FilesMax {
		t.Fatalf("over the limit: %d bytes, %d files", f.bytes, f.files)
	}
}

// countChunks walks the chunk tree of a file.
func countChunks(t testing.TB, n *node) uint64 {
	t.Helper()
	var count uint64
	if n.data.first != nil {
		count++
	}
	var walk func(b *branch)
	walk = func(b *branch) {
		used := 0
		if b.chunks != nil {
			for _, c := range b.chunks {
				if c != nil {
					used++
					count++
				}
			}
		} else {
			for _, c := range b.branches {
				if c != nil {
					used++
					walk(c)
				}
			}
		}
		if used != b.used {
			t.Fatalf("a branch counts %d, has %d", b.used, used)
		}
	}
	if n.data.root != nil {
		walk(n.data.root)
	}
	if count != n.data.count {
		t.Fatalf("inode %d counts %d chunks, has %d", n.ino, n.data.count, count)
	}
	return count
}

var errnoNames = map[sys.Errno]string{
	0: "ok", sys.EACCES: "EACCES", sys.EBADF: "EBADF", sys.EEXIST: "EEXIST", sys.EINVAL: "EINVAL",
	sys.EIO: "EIO", sys.EISDIR: "EISDIR", sys.ELOOP: "ELOOP", sys.ENAMETOOLONG: "ENAMETOOLONG",
	sys.ENOENT: "ENOENT", sys.ENOTDIR: "ENOTDIR", sys.ENOTEMPTY: "ENOTEMPTY", sys.EPERM: "EPERM",
	sys.EROFS: "EROFS", EBUSY: "EBUSY", EFBIG: "EFBIG", EMFILE: "EMFILE", ENOSPC: "ENOSPC", EXDEV: "EXDEV",
}

func errnoName(e sys.Errno) string {
	if s := errnoNames[e]; s != "" {
		return s
	}
	return e.Error()
}
