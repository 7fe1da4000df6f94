package scratch

import "github.com/tetratelabs/wazero/experimental/sys"

// readAt copies content from off on; off is not negative.
func (n *node) readAt(buf []byte, off int64) int {
	if off >= n.size {
		return 0
	}
	buf = buf[:min(int64(len(buf)), n.size-off)]
	done := 0
	for done < len(buf) {
		at := off + int64(done)
		part := buf[done:min(len(buf), done+ChunkBytes-int(at%ChunkBytes))]
		if c := n.data.get(at / ChunkBytes); c != nil {
			copy(part, c[at%ChunkBytes:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return done
}

// writeAt stores buf at off, which is not negative, and returns how much of it
// fitted. It is an error only if nothing did.
func (f *FS) writeAt(n *node, buf []byte, off int64) (int, sys.Errno) {
	if off > sizeMax-int64(len(buf)) {
		return 0, EFBIG
	}
	done := 0
	for done < len(buf) {
		at := off + int64(done)
		c := n.data.get(at / ChunkBytes)
		if c == nil {
			if errno := f.charge(ChunkBytes, 0); errno != 0 {
				if done == 0 {
					return 0, errno
				}
				break
			}
			c = n.data.add(at / ChunkBytes)
		}
		done += copy(c[at%ChunkBytes:], buf[done:])
	}
	if done > 0 {
		n.size = max(n.size, off+int64(done))
		f.changed(n)
	}
	return done, 0
}

// resize sets the size of a file, from 0 to sizeMax. What it gains is a hole.
func (f *FS) resize(n *node, size int64) {
	if size < n.size {
		freed := n.data.cut((size + ChunkBytes - 1) / ChunkBytes)
		f.refund(freed*ChunkBytes, 0)
		if c := n.data.get(size / ChunkBytes); c != nil {
			clear(c[size%ChunkBytes:])
		}
	}
	n.size = size
	f.changed(n)
}
