package result

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func contents(t interface {
	Helper()
	Fatal(...any)
}, s Stream,
) []byte {
	t.Helper()
	r, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSpool: a spool is a buffer that takes BytesMax bytes, wherever it keeps
// them, and leaves no file behind.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		c := SpoolConfig{
			Dir: dir, MemoryBytes: rapid.IntRange(0, 40).Draw(t, "memory"), BytesMax: int64(rapid.IntRange(0, 100).Draw(t, "most")),
		}
		s, err := NewSpool(c)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		full := false
		for range rapid.IntRange(0, 8).Draw(t, "writes") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "p")
			fits := min(len(p), int(c.BytesMax)-len(want))
			if full {
				fits = 0
			}
			full = full || fits < len(p)
			n, err := s.Write(p)
			if n != fits || errors.Is(err, ErrSpoolFull) != full || !full && err != nil {
				t.Fatalf("writing %d bytes to %d of %d: %d, %v", len(p), len(want), c.BytesMax, n, err)
			}
			want = append(want, p[:n]...)
			at, length := rapid.IntRange(0, 120).Draw(t, "at"), rapid.IntRange(0, 60).Draw(t, "length")
			peeked := make([]byte, length)
			n, err = s.Peek(peeked, int64(at))
			rest := want[min(at, len(want)):]
			if err != nil || !bytes.HasPrefix(rest, peeked[:n]) || n == 0 && length > 0 && len(rest) > 0 {
				t.Fatalf("%q at %d of %q, %v", peeked[:n], at, want, err)
			}
		}
		for range 2 {
			if b := contents(t, s); !bytes.Equal(b, want) || s.Size() != int64(len(want)) {
				t.Fatalf("the spool has %q, size %d, want %q", b, s.Size(), want)
			}
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Open(); !errors.Is(err, ErrSpoolClosed) {
			t.Fatalf("opening a closed spool: %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, ErrSpoolClosed) {
			t.Fatalf("writing to a closed spool: %v", err)
		}
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

func TestSpoolConcurrently(t *testing.T) {
	c := DefaultSpool()
	c.Dir, c.MemoryBytes = t.TempDir(), 1000
	s, err := NewSpool(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 100 {
				if _, err := s.Write(bytes.Repeat([]byte{byte('a' + i)}, 10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	b := contents(t, s)
	if len(b) != 8000 || s.Size() != 8000 {
		t.Fatalf("the spool has %d bytes, says %d, want 8000", len(b), s.Size())
	}
	for i := 0; i < len(b); i += 10 {
		if !bytes.Equal(b[i:i+10], bytes.Repeat(b[i:i+1], 10)) {
			t.Fatalf("a write was split: %q", b[i:i+10])
		}
	}
}

// TestSpoolFails: without a folder the error says so, and stays.
func TestSpoolFails(t *testing.T) {
	s, err := NewSpool(SpoolConfig{Dir: t.TempDir() + "/none", MemoryBytes: 2, BytesMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write([]byte("abc")); n != 2 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing: %d, %v", n, err)
	}
	if n, err := s.Write([]byte("d")); n != 0 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing on: %d, %v", n, err)
	}
	if b := contents(t, s); string(b) != "ab" {
		t.Errorf("the spool has %q", b)
	}
}

func TestSpoolConfig(t *testing.T) {
	for _, c := range []SpoolConfig{
		{},
		{Dir: "d", MemoryBytes: -1},
		{Dir: "d", BytesMax: -1},
		{Dir: "d", BytesMax: OutputBytesMax() + 1},
	} {
		if _, err := NewSpool(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	c := DefaultSpool()
	c.Dir = "d"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
