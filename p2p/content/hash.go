package content

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Hash is the SHA-256 of an object, and its name.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Sum returns the name of the object that holds b.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads what String wrote; capitals are refused, so that an object
// has one name.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) == 2*len(h) {
		if _, err := hex.Decode(h[:], []byte(s)); err == nil && h.String() == s {
			return h, nil
		}
	}
	return Hash{}, fmt.Errorf("%.80q is not a SHA-256 in lower-case hexadecimal", s)
}

const (
	// ChunkBytes is the part of an object that is verified, sent and written
	// as a whole. It is part of the protocol and of the files on disk.
	ChunkBytes = 1 << 20
	// ObjectBytesMax bounds an object, and so its chain to 512 KiB.
	ObjectBytesMax = 16 << 30

	chunkShift = 20
	chunksMax  = ObjectBytesMax / ChunkBytes
)

// chunksOf returns the number of chunks of an object: at least one.
func chunksOf(size int64) int {
	return int(max(1, (size+ChunkBytes-1)>>chunkShift))
}

// midstate is what SHA-256 keeps between two blocks: eight words.
type midstate [sha256.Size]byte

// The layout of crypto/sha256's marshalled state, FIPS 180-4's variables in
// order: identifier, H, the open block, the length in bytes. A test pins it.
const (
	hasherID    = "sha\x03"
	hasherBytes = len(hasherID) + sha256.Size + sha256.BlockSize + 8
)

// hasher is SHA-256 that can be left and taken up between chunks.
type hasher struct {
	hash.Hash
	scratch [hasherBytes]byte
}

func newHasher() *hasher { return &hasher{Hash: sha256.New()} }

// at moves h to the state after the first n bytes of an object, n being a
// multiple of the chunk's length.
func (h *hasher) at(m midstate, n int64) {
	b := append(h.scratch[:0], hasherID...)
	b = append(b, m[:]...)
	b = b[:len(b)+sha256.BlockSize]
	clear(b[len(b)-sha256.BlockSize:])
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	if err := h.Hash.(interface{ UnmarshalBinary([]byte) error }).UnmarshalBinary(b); err != nil {
		panic("content: crypto/sha256 changed its state's layout: " + err.Error())
	}
}

// state returns the state between two blocks.
func (h *hasher) state() (m midstate) {
	b, err := h.Hash.(interface {
		AppendBinary([]byte) ([]byte, error)
	}).AppendBinary(h.scratch[:0])
	if err != nil {
		panic("content: crypto/sha256 gave no state: " + err.Error())
	}
	copy(m[:], b[len(hasherID):])
	return m
}

// chain is what is claimed, and once every chunk was seen to fit it proved, of
// an object: its length, and SHA-256's state at each boundary between chunks.
// A chunk fits when it leads from the state in front of it to the one behind
// it, the last one to the name. So all chunks together, verified in any order
// and on any number of cores, are the object, without a second hash.
type chain struct {
	hash Hash
	size int64
	// states[k] is the state between chunk k and chunk k+1.
	states []midstate
}

var errChain = errors.New("chain does not fit the object's length")

// newChain reads states as bytes appended them.
func newChain(h Hash, size int64, states []byte) (*chain, error) {
	if size < 0 || size > ObjectBytesMax || len(states) != (chunksOf(size)-1)*sha256.Size {
		return nil, errChain
	}
	c := &chain{hash: h, size: size, states: make([]midstate, chunksOf(size)-1)}
	for i := range c.states {
		copy(c.states[i][:], states[i*sha256.Size:])
	}
	return c, nil
}

// appendStates is the inverse of newChain.
func (c *chain) appendStates(b []byte) []byte {
	for i := range c.states {
		b = append(b, c.states[i][:]...)
	}
	return b
}

// digest tells two chains of the same object apart.
func (c *chain) digest() Hash {
	return Sum(c.appendStates(binary.BigEndian.AppendUint64(nil, uint64(c.size))))
}

// chunks returns the number of chunks.
func (c *chain) chunks() int { return len(c.states) + 1 }

// span returns where chunk k lies.
func (c *chain) span(k int) (at int64, n int) {
	at = int64(k) << chunkShift
	return at, int(min(ChunkBytes, c.size-at))
}

// begin moves h in front of chunk k.
func (c *chain) begin(h *hasher, k int) {
	if k == 0 {
		h.Reset()
		return
	}
	at, _ := c.span(k)
	h.at(c.states[k-1], at)
}

// ends reports whether h, which began at chunk k and has seen all of it, is
// where the chain says.
func (c *chain) ends(h *hasher, k int) bool {
	if k == len(c.states) {
		return Hash(h.Sum(h.scratch[:0])) == c.hash
	}
	return h.state() == c.states[k]
}

// fits reports whether b is chunk k.
func (c *chain) fits(h *hasher, k int, b []byte) bool {
	if _, n := c.span(k); n != len(b) {
		return false
	}
	c.begin(h, k)
	_, _ = h.Write(b)
	return c.ends(h, k)
}

// agrees reports whether c and d claim the same of chunk k.
func (c *chain) agrees(d *chain, k int) bool {
	if c.size != d.size {
		return false
	}
	return (k == 0 || c.states[k-1] == d.states[k-1]) && (k == len(c.states) || c.states[k] == d.states[k])
}

// judge returns a chunk that fits at most one of two different chains: of
// equal length, the one behind the last state in which they differ; the last
// one otherwise. Both would need a collision of SHA-256's compression.
func (c *chain) judge(d *chain) int {
	if c.size != d.size {
		return len(c.states)
	}
	for k := len(c.states); k > 0; k-- {
		if c.states[k-1] != d.states[k-1] {
			return k
		}
	}
	return len(c.states)
}
