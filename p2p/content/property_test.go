package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// machine is a store and what is known of it.
type machine struct {
	c    Config
	s    *Store
	pins map[Hash]map[string]int
	open map[Hash][]*Object
	size map[Hash]int64
}

// object is one of twelve.
func (m *machine) object(t *rapid.T) []byte {
	i := rapid.IntRange(0, 11).Draw(t, "object")
	b := noise(uint64(i), i*i*97)
	m.size[Sum(b)] = int64(len(b))
	return b
}

func (m *machine) owner(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
}

func (m *machine) bytesOf(owner string) (n int64) {
	for h, p := range m.pins {
		if p[owner] > 0 {
			n += m.size[h]
		}
	}
	return n
}

func (m *machine) pinned(h Hash, owner string) {
	if m.pins[h] == nil {
		m.pins[h] = map[string]int{}
	}
	m.pins[h][owner]++
}

// mayRefuse says whether the owner's quota stands against one more pin.
func (m *machine) mayRefuse(h Hash, owner string, err error) bool {
	return errors.Is(err, ErrQuota) && m.pins[h][owner] == 0 && m.bytesOf(owner)+m.size[h] > m.c.OwnerBytesMax
}

func (m *machine) Put(t *rapid.T) {
	b, owner := m.object(t), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "owner")
	h, _, err := m.s.Put(context.Background(), bytes.NewReader(b), owner)
	switch {
	case err == nil && owner != "":
		m.pinned(h, owner)
	case err == nil:
	case errors.Is(err, ErrFull) || m.mayRefuse(Sum(b), owner, err):
		return
	default:
		t.Fatal(err)
	}
	if owner != "" && !m.s.Has(h) {
		t.Fatal("stored object is not held")
	}
}

func (m *machine) Pin(t *rapid.T) {
	h, owner := Sum(m.object(t)), m.owner(t)
	held := m.s.Has(h)
	err := m.s.Pin(h, owner)
	switch {
	case err == nil && held:
		m.pinned(h, owner)
	case held && m.mayRefuse(h, owner, err), !held && errors.Is(err, ErrNotHeld):
	default:
		t.Fatal(held, err)
	}
}

func (m *machine) Unpin(t *rapid.T) {
	h, owner := Sum(m.object(t)), m.owner(t)
	err := m.s.Unpin(h, owner)
	if (err == nil) != (m.pins[h][owner] > 0) {
		t.Fatal(m.pins[h][owner], err)
	}
	if err == nil {
		m.pins[h][owner]--
	}
}

func (m *machine) Open(t *rapid.T) {
	h := Sum(m.object(t))
	o, err := m.s.Open(h, rapid.Bool().Draw(t, "verify"))
	if m.s.Has(h) != (err == nil) {
		t.Fatal(err)
	}
	if err == nil {
		m.open[h] = append(m.open[h], o)
	}
}

func (m *machine) CloseObject(t *rapid.T) {
	h := Sum(m.object(t))
	if n := len(m.open[h]); n > 0 {
		b, err := io.ReadAll(m.open[h][n-1])
		if err != nil || Sum(b) != h {
			t.Fatal("open object differs", err)
		}
		_ = m.open[h][n-1].Close()
		m.open[h] = m.open[h][:n-1]
	}
}

func (m *machine) Remove(t *rapid.T) {
	h := Sum(m.object(t))
	held, kept := m.s.Has(h), m.kept(h)
	removed, err := m.s.Remove(h)
	if err != nil || removed != (held && !kept) {
		t.Fatal(removed, held, kept, err)
	}
}

func (m *machine) Compact(*rapid.T) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.s.compact()
}

func (m *machine) Restart(t *rapid.T) {
	for _, all := range m.open {
		for _, o := range all {
			_ = o.Close()
		}
	}
	clear(m.open)
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	// What an interrupted write can leave behind.
	dir := filepath.Join(m.c.Dir, rapid.SampledFrom([]string{tempDir, partialDir, objectsDir}).Draw(t, "folder"))
	name := rapid.SampledFrom([]string{"put-1", "x", Sum([]byte("unknown")).String()}).Draw(t, "file")
	if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), m.c)
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
}

func (m *machine) kept(h Hash) bool {
	return len(m.open[h]) > 0 || m.pins[h]["a"] > 0 || m.pins[h]["b"] > 0
}

// Check compares the store with what is known, and with the disk.
func (m *machine) Check(t *rapid.T) {
	for h := range m.size {
		if m.kept(h) && !m.s.Has(h) {
			t.Fatal("what was pinned or open is gone")
		}
	}
	for _, owner := range []string{"a", "b"} {
		if got, want := m.s.OwnerBytes(owner), m.bytesOf(owner); got != want {
			t.Fatalf("owner %s pins %d bytes, want %d", owner, got, want)
		}
	}
	if m.s.BytesUsed() > m.c.BytesMax || len(m.s.List()) > m.c.ObjectsMax || len(m.s.Missing()) > 0 {
		t.Fatal("beyond a bound:", m.s.BytesUsed(), len(m.s.List()), m.s.Missing())
	}
	files, err := os.ReadDir(filepath.Join(m.c.Dir, objectsDir))
	if err != nil {
		t.Fatal(err)
	}
	var onDisk int64
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		onDisk += info.Size()
	}
	if onDisk != m.s.BytesUsed() || len(files) != len(m.s.List()) {
		t.Fatalf("%d files of %d bytes on disk, %d objects and %d bytes counted", len(files), onDisk, len(m.s.List()), m.s.BytesUsed())
	}
}

// TestProperties runs random calls against a model.
func TestProperties(t *testing.T) {
	base := t.TempDir()
	var n int
	rapid.Check(t, func(t *rapid.T) {
		n++
		c := testConfig(filepath.Join(base, strconv.Itoa(n)))
		c.BytesMax, c.OwnerBytesMax, c.ObjectsMax = 30_000, 20_000, 8
		s, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{c: c, s: s, pins: map[Hash]map[string]int{}, open: map[Hash][]*Object{}, size: map[Hash]int64{}}
		defer func() {
			_ = m.s.Close()
			_ = os.RemoveAll(c.Dir)
		}()
		t.Repeat(map[string]func(*rapid.T){
			"put": m.Put, "pin": m.Pin, "unpin": m.Unpin, "open": m.Open, "close": m.CloseObject,
			"remove": m.Remove, "compact": m.Compact, "restart": m.Restart, "": m.Check,
		})
	})
}

// TestHammer has many goroutines use a store that is too small.
func TestHammer(t *testing.T) {
	c := testConfig(t.TempDir())
	c.BytesMax, c.ObjectsMax = 60_000, 30
	s := openStore(t, c)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				b := noise(uint64((g+i)%10), 3000)
				owner := ""
				if i%3 == 0 {
					owner = "owner" + strconv.Itoa(g)
				}
				h, _, err := s.Put(context.Background(), bytes.NewReader(b), owner)
				if err != nil {
					t.Error(err)
					return
				}
				o, err := s.Open(h, true)
				if err == nil {
					got, err := io.ReadAll(o)
					if err != nil || !bytes.Equal(got, b) {
						t.Error("object differs", err)
					}
					_ = o.Close()
				} else if !errors.Is(err, ErrNotHeld) || owner != "" {
					t.Error(err)
				}
				if owner != "" {
					if err := s.Unpin(h, owner); err != nil {
						t.Error(err)
					}
				}
				if i%7 == 0 {
					_, _ = s.Remove(h)
				}
			}
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinCount != 0 || s.unwritten != 0 || s.idle.Len() != len(s.objects) || s.files != len(s.objects) {
		t.Fatal("not settled:", s.pinCount, s.unwritten, s.idle.Len(), s.files, len(s.objects))
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(request{kind: requestList, hash: Sum(nil), known: Sum([]byte{1})}.frame())
	f.Add(request{kind: requestRange, hash: Sum(nil), first: 3, count: 5, insist: true}.frame())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readRequest(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := q.frame(); !bytes.Equal(again, b[:len(again)]) {
			t.Fatalf("%x gives %+v", b, q)
		}
	})
}

func FuzzListing(f *testing.F) {
	h := Sum(nil)
	c := chainOf(make([]byte, 2*ChunkBytes+1))
	f.Add(listing{size: c.size, chain: c}.frame()[frameHead:])
	f.Add(listing{size: c.size, chain: c, have: bitmap{5}}.frame()[frameHead:])
	f.Add(listing{size: c.size}.frame()[frameHead:])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseListing(h, b)
		if err != nil {
			return
		}
		if again := l.frame()[frameHead:]; !bytes.Equal(again, b) {
			t.Fatalf("%x gives %x", b, again)
		}
		if l.chain != nil && l.have != nil && len(l.have) != (l.chain.chunks()+7)/8 {
			t.Fatal("bitmap does not fit the chain")
		}
	})
}

func FuzzRefusal(f *testing.F) {
	f.Add(refusal{code: codeBusy, wait: partialWait}.frame()[frameHead:])
	f.Add([]byte{0, 2, 0, 0, 0, 0, 2, 1, 'a', 2, 'b', 'c'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRefusal(b)
		if err != nil {
			return
		}
		again, err := parseRefusal(r.frame()[frameHead:])
		if err != nil || again.code != r.code || again.wait != r.wait || !slices.Equal(again.others, r.others) || r.wait > refusalWaitMax {
			t.Fatalf("%+v becomes %+v: %v", r, again, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	r := pinRecord{hash: Sum(nil), size: 9, owner: "o", count: 2}.appendTo(nil)
	f.Add(r, []byte("x"))
	f.Add(append([]byte("pp"), r...), r[:9])
	f.Fuzz(func(t *testing.T, before, after []byte) {
		// Whatever surrounds a whole record, it is found, unless what is in
		// front of it happens to be one that reaches into it.
		want := pinRecord{hash: Sum(nil), size: 3, owner: "me", count: 1}
		found := false
		b := append(want.appendTo(append([]byte(nil), before...)), after...)
		records, damaged := parseJournal(b, func(r pinRecord) {
			found = found || r == want
			if len(r.owner) > OwnerNameBytesMax || r.size < 0 || r.size > ObjectBytesMax {
				t.Fatalf("%+v", r)
			}
		})
		if !found || records < 1 || damaged > len(b)-pinHead {
			t.Fatalf("%x: %d records, %d damaged", b, records, damaged)
		}
	})
}

// FuzzTrailer: what is taken for a trailer is what would be written, whether the
// checksum is the input's or was made right.
func FuzzTrailer(f *testing.F) {
	c := chainOf(make([]byte, 2*ChunkBytes+1))
	f.Add(c.trailer())
	f.Fuzz(func(t *testing.T, b []byte) {
		summed := bytes.Clone(b)
		if body := len(b) - 4; body >= 0 {
			sum := crc32.Update(crc32.Checksum(c.hash[:], castagnoli), castagnoli, b[:body])
			binary.BigEndian.PutUint32(summed[body:], sum)
		}
		for _, b := range [][]byte{b, summed} {
			got, err := parseTrailer(c.hash, b)
			if err == nil && !bytes.Equal(got.trailer(), b) {
				t.Fatalf("%x is taken for a trailer", b)
			}
		}
	})
}
