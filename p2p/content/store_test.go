package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func testConfig(dir string) Config {
	c := Default(dir)
	c.BytesMax = 1 << 30
	c.DiskReserveBytes = 0
	return c
}

func openStore(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s *Store, b []byte, owner string) Hash {
	t.Helper()
	h, n, err := s.Put(context.Background(), bytes.NewReader(b), owner)
	if err != nil {
		t.Fatal(err)
	}
	if h != Sum(b) || n != int64(len(b)) {
		t.Fatalf("put gave %s, %d bytes", h, n)
	}
	return h
}

// content reads an object in full.
func content(t testing.TB, s *Store, h Hash, verify bool) []byte {
	t.Helper()
	o, err := s.Open(h, verify)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPutOpen(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, testConfig(dir))
	var all [][]byte
	for i, size := range []int{0, 1, 1000, ChunkBytes, ChunkBytes + 1, 2*ChunkBytes + 5} {
		b := noise(uint64(i), size)
		all = append(all, b)
		h := put(t, s, b, "")
		if put(t, s, b, "") != h {
			t.Fatal("second put gave another name")
		}
		info, err := s.Stat(h)
		if err != nil || info.Size != int64(size) || info.Pins != 0 || !s.Has(h) {
			t.Fatal(info, err)
		}
	}
	used := s.BytesUsed()
	if _, err := Open(context.Background(), testConfig(dir)); !errors.Is(err, ErrLocked) {
		t.Fatal("opened twice:", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(context.Background(), bytes.NewReader(nil), ""); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	s = openStore(t, testConfig(dir))
	if s.BytesUsed() != used || len(s.List()) != len(all) {
		t.Fatal("after restart:", s.BytesUsed(), used, len(s.List()))
	}
	for _, b := range all {
		for _, verify := range []bool{false, true} {
			if !bytes.Equal(content(t, s, Sum(b), verify), b) {
				t.Fatalf("object of %d bytes differs", len(b))
			}
		}
	}
	o, err := s.Open(Sum(all[5]), true)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	part := make([]byte, 100)
	if n, err := o.ReadAt(part, 2*ChunkBytes-50); n != 55+0 && n != 100 || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part[:n], all[5][2*ChunkBytes-50:][:n]) {
		t.Fatal(n, err)
	}
	if _, err := o.ReadAt(part, -1); err == nil {
		t.Fatal("negative offset")
	}
	if _, err := o.ReadAt(part, o.Size()); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestEvict(t *testing.T) {
	c := testConfig(t.TempDir())
	c.BytesMax = 4 * fileBytes(1000)
	s := openStore(t, c)
	var h [6]Hash
	for i := range 3 {
		h[i] = put(t, s, noise(uint64(i), 900), "")
	}
	_ = content(t, s, h[0], false) // so that h[1] is the oldest
	h[3] = put(t, s, noise(3, 900), "")
	h[4] = put(t, s, noise(4, 900), "")
	if s.Has(h[1]) || !s.Has(h[0]) || !s.Has(h[2]) {
		t.Fatal("not the least recently used was evicted")
	}
	o, err := s.Open(h[2], false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(h[0], "a"); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		put(t, s, noise(uint64(10+i), 900), "")
	}
	if !s.Has(h[2]) || !s.Has(h[0]) || len(s.List()) != 4 {
		t.Fatal("what is open or pinned was evicted")
	}
	last := s.List()
	for _, i := range last {
		_ = s.Pin(i.Hash, "b")
	}
	if _, _, err := s.Put(context.Background(), bytes.NewReader(noise(30, 900)), ""); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if s.BytesUsed() != 4*fileBytes(900) {
		t.Fatal("a refused put keeps room:", s.BytesUsed())
	}
	for _, i := range last {
		if err := s.Unpin(i.Hash, "b"); err != nil {
			t.Fatal(err)
		}
	}
	_ = o.Close()
	_ = o.Close()
	for i := range 4 {
		put(t, s, noise(uint64(40+i), 900), "")
	}
	if s.Has(h[2]) || !s.Has(h[0]) {
		t.Fatal("closed object stays, or pinned one does not")
	}
	c.ObjectsMax = 4
	if removed, err := s.Remove(h[0]); removed || err != nil {
		t.Fatal("pinned object removed", err)
	}
	if err := s.Unpin(h[0], "a"); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.Remove(h[0]); !removed || err != nil {
		t.Fatal("object not removed", err)
	}
}

func TestEvictionOrderOutlivesRestart(t *testing.T) {
	c := testConfig(t.TempDir())
	s := openStore(t, c)
	var h []Hash
	for i := range 3 {
		h = append(h, put(t, s, noise(uint64(i), 900), ""))
		s.mu.Lock()
		e := s.objects[h[i]]
		e.noted = e.noted.Add(-2 * accessGranularity)
		s.mu.Unlock()
	}
	for _, i := range []int{1, 2, 0} {
		_ = content(t, s, h[i], false)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.BytesMax = 3 * fileBytes(900)
	s = openStore(t, c)
	put(t, s, noise(9, 900), "")
	if s.Has(h[1]) || !s.Has(h[0]) || !s.Has(h[2]) {
		t.Fatal("order of use was forgotten")
	}
}

func TestLimits(t *testing.T) {
	c := testConfig(t.TempDir())
	c.ObjectBytesMax, c.ObjectsMax, c.PinsMax, c.OwnerBytesMax = 5000, 3, 4, 8000
	s := openStore(t, c)
	ctx := context.Background()
	wants := func(want error, size int, owner string) {
		t.Helper()
		if _, _, err := s.Put(ctx, bytes.NewReader(noise(99, size)), owner); !errors.Is(err, want) {
			t.Errorf("put of %d bytes for %q: %v, want %v", size, owner, err, want)
		}
	}
	wants(ErrTooLarge, 5001, "")
	a, b := put(t, s, noise(1, 5000), "a"), put(t, s, noise(2, 3000), "a")
	wants(ErrQuota, 1, "a")
	wants(ErrOwner, 1, string(make([]byte, OwnerNameBytesMax+1)))
	if s.OwnerBytes("a") != 8000 {
		t.Fatal(s.OwnerBytes("a"))
	}
	put(t, s, noise(1, 5000), "a") // counts once
	if s.OwnerBytes("a") != 8000 {
		t.Fatal(s.OwnerBytes("a"))
	}
	put(t, s, noise(3, 100), "b")
	wants(ErrFull, 10, "")
	if err := s.Pin(a, "b"); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(b, "c"); !errors.Is(err, ErrPins) {
		t.Fatal(err)
	}
	if err := s.Pin(Sum(nil), "c"); !errors.Is(err, ErrNotHeld) {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Unpin(a, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Unpin(a, "a"); !errors.Is(err, ErrNotHeld) {
		t.Fatal(err)
	}
	if s.OwnerBytes("a") != 3000 || s.OwnerBytes("b") != 5100 {
		t.Fatal(s.OwnerBytes("a"), s.OwnerBytes("b"))
	}
	if err := s.Unpin(b, "a"); err != nil || s.OwnerBytes("a") != 0 {
		t.Fatal(err, s.OwnerBytes("a"))
	}
	failing := io.MultiReader(bytes.NewReader(make([]byte, 10)), failReader{})
	if _, _, err := s.Put(ctx, failing, ""); !errors.Is(err, errRead) {
		t.Fatal(err)
	}
	files, _ := os.ReadDir(filepath.Join(c.Dir, tempDir))
	if len(files) > 0 {
		t.Fatal("temporary files stay:", files)
	}
	c.Dir = ""
	if _, err := Open(ctx, c); err == nil {
		t.Fatal("opened without a directory")
	}
}

var errRead = errors.New("broken source")

type failReader struct{}

func (failReader) Read([]byte) (int, error) { return 0, errRead }

// TestReserve: cached objects give way to the disk's reserve, pinned ones do not.
func TestReserve(t *testing.T) {
	c := testConfig(t.TempDir())
	c.DiskReserveBytes = 1000
	s := openStore(t, c)
	free := int64(1000 + 3*2000)
	s.free = func() (int64, error) {
		left := free
		for _, e := range s.objects { // under the lock
			left -= fileBytes(e.size)
		}
		return left, nil
	}
	for i := range 5 {
		put(t, s, noise(uint64(i), 1500), "")
	}
	if n := len(s.List()); n == 0 || n > 3 {
		t.Fatal(n, "objects in room for three")
	}
	for _, i := range s.List() {
		if err := s.Pin(i.Hash, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Put(context.Background(), bytes.NewReader(noise(8, 5000)), ""); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
}

func TestCorrupt(t *testing.T) {
	damage := map[string]func(f *os.File, size int64) error{
		"first byte":  func(f *os.File, _ int64) error { return flip(f, 0) },
		"last byte":   func(f *os.File, size int64) error { return flip(f, size-1) },
		"chain":       func(f *os.File, size int64) error { return flip(f, size+3) },
		"footer":      func(f *os.File, size int64) error { return flip(f, fileBytes(size)-1) },
		"cut off":     func(f *os.File, size int64) error { return f.Truncate(size - 9) },
		"emptied":     func(f *os.File, _ int64) error { return f.Truncate(0) },
		"in a middle": func(f *os.File, _ int64) error { return flip(f, ChunkBytes+5) },
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, testConfig(t.TempDir()))
			b := noise(1, 2*ChunkBytes+100)
			h := put(t, s, b, "a")
			f, err := os.OpenFile(s.objectPath(h), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := harm(f, int64(len(b))); err != nil {
				t.Fatal(err)
			}
			o, err := s.Open(h, true)
			if err == nil {
				_, err = io.Copy(io.Discard, o)
				_ = o.Close()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			if s.Has(h) || fmt.Sprint(s.Missing()) != fmt.Sprint([]Hash{h}) || s.BytesUsed() != 0 || s.OwnerBytes("a") != int64(len(b)) {
				t.Fatal("corrupt object is not missing:", s.Has(h), s.Missing(), s.BytesUsed())
			}
			put(t, s, b, "")
			if len(s.Missing()) != 0 || !bytes.Equal(content(t, s, h, true), b) {
				t.Fatal("object did not come back")
			}
			if removed, _ := s.Remove(h); removed {
				t.Fatal("its pin was lost")
			}
		})
	}
}

func flip(f *os.File, at int64) error {
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 0x10
	_, err := f.WriteAt(b[:], at)
	return err
}
