package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// noise returns n bytes that depend on seed only.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = source.Read(b)
	return b
}

// chainOf computes the chain of b, and its name, the plain way.
func chainOf(b []byte) *chain {
	c := &chain{hash: Sum(b), size: int64(len(b))}
	for k := range chunksOf(c.size) - 1 {
		h := newHasher()
		h.Write(b[:(k+1)*ChunkBytes])
		c.states = append(c.states, h.state())
	}
	return c
}

// TestMidstate pins the layout of crypto/sha256's state, which files and peers
// depend on, to numbers of FIPS 180-4: the initial value, and the state after
// the first block of its two-block example, which is printed in its appendix.
func TestMidstate(t *testing.T) {
	h := newHasher()
	check := func(want string) {
		t.Helper()
		if m := h.state(); hex.EncodeToString(m[:]) != want {
			t.Errorf("state %x, want %s", m, want)
		}
	}
	check("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
	message := []byte("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
	block := make([]byte, sha256.BlockSize)
	copy(block, message)
	block[len(message)] = 0x80
	h.Write(block)
	check("85e655d6417a17953363376a624cde5c76e09589cac5f811cc4b32c1f20e533a")
}

func TestChain(t *testing.T) {
	for _, size := range []int{0, 1, 64, ChunkBytes - 1, ChunkBytes, ChunkBytes + 1, 3 * ChunkBytes, 3*ChunkBytes + 77} {
		b := noise(1, size)
		c := chainOf(b)
		if c.chunks() != chunksOf(int64(size)) {
			t.Fatalf("%d bytes: %d chunks", size, c.chunks())
		}
		h := newHasher()
		for k := c.chunks() - 1; k >= 0; k-- {
			at, n := c.span(k)
			part := bytes.Clone(b[at : int(at)+n])
			if !c.fits(h, k, part) {
				t.Fatalf("%d bytes: chunk %d does not fit", size, k)
			}
			if n > 0 {
				part[n/2] ^= 1
				if c.fits(h, k, part) {
					t.Fatalf("%d bytes: a wrong chunk %d fits", size, k)
				}
				if c.fits(h, k, part[:n-1]) {
					t.Fatalf("%d bytes: a short chunk %d fits", size, k)
				}
			}
		}
		read, err := newChain(c.hash, c.size, c.appendStates(nil))
		if err != nil || read.digest() != c.digest() {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if got, err := objectBytes(fileBytes(int64(size))); err != nil || got != int64(size) {
			t.Fatalf("%d bytes: file of %d bytes is taken for %d: %v", size, fileBytes(int64(size)), got, err)
		}
	}
}

// TestJudge: of two chains for one name, the judge's chunk fits one only.
func TestJudge(t *testing.T) {
	b := noise(2, 5*ChunkBytes+9)
	c := chainOf(b)
	for k := range c.states {
		lie := &chain{hash: c.hash, size: c.size, states: cloneStates(c.states)}
		lie.states[k][3] ^= 4
		judge := c.judge(lie)
		at, n := c.span(judge)
		h, part := newHasher(), b[at:int(at)+n]
		if !c.fits(h, judge, part) || lie.fits(h, judge, part) || c.agrees(lie, judge) {
			t.Fatalf("lie about state %d: chunk %d decides nothing", k, judge)
		}
	}
	if got := c.judge(&chain{hash: c.hash, size: 7}); got != 5 {
		t.Fatalf("other length: chunk %d", got)
	}
}

func cloneStates(m []midstate) []midstate { return append([]midstate(nil), m...) }

func TestObjectBytes(t *testing.T) {
	for file := range int64(3 << 10) {
		if size, err := objectBytes(file); err == nil && fileBytes(size) != file {
			t.Fatalf("%d gives %d", file, size)
		}
	}
	for _, file := range []int64{0, int64(footerBytes) - 1, fileBytes(ChunkBytes) + 5, fileBytes(ObjectBytesMax) + 1, 1<<63 - 1} {
		if size, err := objectBytes(file); err == nil {
			t.Errorf("file of %d bytes is taken for an object of %d", file, size)
		}
	}
}

func TestParseHash(t *testing.T) {
	h := Sum([]byte("x"))
	if got, err := ParseHash(h.String()); err != nil || got != h {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"", "00", h.String() + "00", "Z" + h.String()[1:], string(bytes.ToUpper([]byte(h.String())))} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}
