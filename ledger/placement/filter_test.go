package placement

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func module(i int) ledger.ModuleID {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// TestFilter: nothing that was added is missed, and errors are about as rare as
// promised, also after a round trip.
func TestFilter(t *testing.T) {
	for _, n := range []int{1, 10, 1000, 13_000} {
		f := NewFilter(n)
		for i := range n {
			f.Add(module(i))
		}
		b := f.Encode()
		if len(b) > FilterBytesMax {
			t.Fatalf("%d modules: %d bytes", n, len(b))
		}
		f, err := DecodeFilter(b)
		if err != nil {
			t.Fatalf("%d modules: %v", n, err)
		}
		for i := range n {
			if !f.Holds(module(i)) {
				t.Fatalf("%d modules: %d is missed", n, i)
			}
		}
		const tries = 20_000
		wrong := 0
		for i := range tries {
			if f.Holds(module(n + i)) {
				wrong++
			}
		}
		if wrong > tries*3/100 {
			t.Errorf("%d modules: %d of %d others are held", n, wrong, tries)
		}
	}
}

func TestFilterZero(t *testing.T) {
	var zero Filter
	if zero.Holds(module(1)) || len(zero.Encode()) != 0 {
		t.Error("the zero filter holds something")
	}
	f, err := DecodeFilter(nil)
	if err != nil || f.Holds(module(1)) {
		t.Errorf("no bytes: %v", err)
	}
}

func TestDecodeFilterRefuses(t *testing.T) {
	ones := bytes.Repeat([]byte{0xff}, 100)
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"header only", []byte{1, 7}, ErrFilter},
		{"too long", append([]byte{1, 7}, make([]byte, FilterBytesMax)...), ErrFilter},
		{"version", []byte{2, 7, 0}, ErrFilter},
		{"no probes", []byte{1, 0, 0}, ErrFilter},
		{"too many probes", []byte{1, 17, 0}, ErrFilter},
		{"all ones", append([]byte{1, 16}, ones...), ErrFilterSaturated},
		{"one probe, most ones", []byte{1, 1, 0x1f}, ErrFilterSaturated},
	} {
		if _, err := DecodeFilter(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// FuzzDecodeFilter: no bytes do harm, and what is accepted comes back the same.
func FuzzDecodeFilter(f *testing.F) {
	full := NewFilter(20)
	for i := range 20 {
		full.Add(module(i))
	}
	f.Add(full.Encode())
	f.Add([]byte{1, 16, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		filter, err := DecodeFilter(b)
		if err != nil {
			return
		}
		filter.Holds(module(len(b)))
		if !bytes.Equal(filter.Encode(), b) {
			t.Errorf("%x comes back as %x", b, filter.Encode())
		}
	})
}
