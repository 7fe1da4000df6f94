package scratch

// ChunkBytes is the unit in which file content is stored and charged.
const ChunkBytes = 4096

const (
	// fanBits is how many bits of a chunk's index one branch decides.
	fanBits = 6
	fan     = 1 << fanBits
	// sizeMax is the largest size of a file: 256 TiB, six levels of branches.
	sizeMax = ChunkBytes << (6 * fanBits)
)

type chunk [ChunkBytes]byte

// branch is an inner node of a file's tree: it holds branches, or at the
// lowest level chunks.
type branch struct {
	branches *[fan]*branch
	chunks   *[fan]*chunk
	used     int
}

// chunks is the content of a file: a radix tree over the chunks that were
// written. Holes cost nothing, growing copies nothing, and cutting costs what
// it frees. The zero value is empty.
type chunks struct {
	// first is chunk 0, so that a small file needs no tree.
	first *chunk
	// root covers the indices below 1<<(fanBits*height).
	root   *branch
	height int
	// count is the number of chunks.
	count uint64
}

// get returns chunk i, or nil in a hole.
func (c *chunks) get(i int64) *chunk {
	if i == 0 {
		return c.first
	}
	if c.root == nil || i>>(fanBits*c.height) != 0 {
		return nil
	}
	b := c.root
	for level := c.height - 1; level > 0; level-- {
		if b = b.branches[i>>(fanBits*level)&(fan-1)]; b == nil {
			return nil
		}
	}
	return b.chunks[i&(fan-1)]
}

// add makes chunk i, which must be a hole, and returns it.
func (c *chunks) add(i int64) *chunk {
	added := new(chunk)
	c.count++
	if i == 0 {
		c.first = added
		return added
	}
	if c.root == nil {
		c.height = 1
		for i>>(fanBits*c.height) != 0 {
			c.height++
		}
		c.root = newBranch(c.height - 1)
	}
	for i>>(fanBits*c.height) != 0 {
		up := newBranch(c.height)
		up.branches[0], up.used = c.root, 1
		c.root = up
		c.height++
	}
	b := c.root
	for level := c.height - 1; level > 0; level-- {
		slot := &b.branches[i>>(fanBits*level)&(fan-1)]
		if *slot == nil {
			*slot = newBranch(level - 1)
			b.used++
		}
		b = *slot
	}
	b.chunks[i&(fan-1)] = added
	b.used++
	return added
}

// cut drops every chunk from index i on and returns how many there were.
func (c *chunks) cut(i int64) uint64 {
	before := c.count
	if i == 0 && c.first != nil {
		c.first = nil
		c.count--
	}
	if c.root != nil && c.cutBranch(c.root, c.height-1, 0, i) {
		c.root, c.height = nil, 0
	}
	return before - c.count
}

// cutBranch cuts below b, whose first index is base, and reports that nothing
// is left of it.
func (c *chunks) cutBranch(b *branch, level int, base, from int64) bool {
	width := int64(1) << (fanBits * level)
	k := max(0, (from-base)/width)
	for ; k < fan; k++ {
		lo := base + k*width
		switch {
		case level > 0:
			if b.branches[k] != nil && c.cutBranch(b.branches[k], level-1, lo, from) {
				b.branches[k] = nil
				b.used--
			}
		case b.chunks[k] != nil:
			b.chunks[k] = nil
			b.used--
			c.count--
		}
	}
	return b.used == 0
}

// newBranch returns an empty branch of the given level; 0 holds chunks.
func newBranch(level int) *branch {
	if level == 0 {
		return &branch{chunks: new([fan]*chunk)}
	}
	return &branch{branches: new([fan]*branch)}
}
