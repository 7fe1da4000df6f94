package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFrameRoundTrip(t *testing.T) {
	var stream []byte
	want := []string{}
	for _, n := range []int{0, 1, 9, 4096, dataBytesMax, FrameBytesMax} {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		stream = appendFrame(stream, frameStdout, uint32(n)*7, payload)
		want = append(want, fmt.Sprint(frameStdout, uint32(n)*7, n))
	}
	// However the bytes arrive, the frames are the same.
	for _, r := range []io.Reader{bytes.NewReader(stream), &dribble{data: stream}} {
		in, got := newFrameReader(r), []string{}
		for {
			f, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(f.kind, f.id, len(f.payload)))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// dribble gives its data in pieces of 1 to 7 bytes, later of thousands.
type dribble struct {
	data []byte
	n    int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	d.n++
	k := d.n%7 + 1
	if d.n > 1000 {
		k = 5000
	}
	k = copy(p[:min(k, len(p))], d.data)
	d.data = d.data[k:]
	return k, nil
}

func TestFrameErrors(t *testing.T) {
	whole := appendFrame(nil, frameStdout, 1, []byte("data"))
	tests := []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"nothing", nil, io.EOF},
		{"part of a header", whole[:5], io.ErrUnexpectedEOF},
		{"part of a payload", whole[:len(whole)-1], io.ErrUnexpectedEOF},
		{"too long", []byte{1, 0, 0x10, 0, byte(frameStdout), 0, 0, 0, 0}, ErrFrameTooLong},
		{"much too long", []byte{255, 255, 255, 255, byte(frameStdout), 0, 0, 0, 0}, ErrProtocol},
		{"type 0", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0}, ErrProtocol},
		{"type too large", []byte{0, 0, 0, 0, byte(frameTypeEnd), 0, 0, 0, 0}, ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newFrameReader(bytes.NewReader(tt.bytes)).next(); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCredit(t *testing.T) {
	for _, tt := range []struct {
		payload []byte
		want    int
	}{
		{[]byte{1, 0, 0, 0}, 1},
		{[]byte{0, 0, 4, 0}, windowBytes},
		{[]byte{1, 0, 4, 0}, 0},
		{[]byte{0, 0, 0, 0}, 0},
		{[]byte{1}, 0},
		{nil, 0},
	} {
		n, err := frame{payload: tt.payload}.credit()
		if n != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%v: %d, %v", tt.payload, n, err)
		}
	}
}

func TestSenderKeepsFramesWhole(t *testing.T) {
	read, write := io.Pipe()
	out := &sender{w: write}
	const senders, frames = 8, 200
	var all sync.WaitGroup
	for id := range uint32(senders) {
		all.Go(func() {
			for i := range frames {
				if err := out.send(frameStdout, id, bytes.Repeat([]byte{byte(id)}, i*3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	in, next := newFrameReader(read), [senders]int{}
	for range senders * frames {
		f, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat([]byte{byte(f.id)}, next[f.id]*3); !bytes.Equal(f.payload, want) {
			t.Fatalf("frame %d of sender %d has %d bytes, want %d", next[f.id], f.id, len(f.payload), len(want))
		}
		next[f.id]++
	}
	all.Wait()
	if err := out.send(frameStdout, 0, make([]byte, FrameBytesMax+1)); !errors.Is(err, ErrFrameTooLong) {
		t.Errorf("error %v", err)
	}
	read.Close()
	if err := out.send(frameStdout, 0, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, frameStart, 1, []byte("{}")), frameOutcome, 2, []byte("x")))
	f.Add([]byte{255, 255, 255, 255, 1, 0, 0, 0, 0})
	f.Add([]byte{4, 0, 0, 0, byte(frameStdoutCredit), 1, 0, 0, 0, 0, 0, 4, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newFrameReader(bytes.NewReader(data))
		var again []byte
		for {
			fr, err := in.next()
			if err != nil {
				break
			}
			if len(fr.payload) > FrameBytesMax || fr.kind == 0 || fr.kind >= frameTypeEnd {
				t.Fatalf("frame of type %d with %d bytes", fr.kind, len(fr.payload))
			}
			if n, err := fr.credit(); err == nil && (n < 1 || n > windowBytes) {
				t.Fatalf("credit %d", n)
			}
			var h hello
			var o compiled
			_, _ = fr.decode(&h), fr.decode(&o)
			again = appendFrame(again, fr.kind, fr.id, fr.payload)
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatal("what was read is not what was written")
		}
	})
}

// TestShareFrame: a share has four bytes.
func TestShareFrame(t *testing.T) {
	for n := range 8 {
		share, err := frame{payload: make([]byte, n)}.share()
		if (err == nil) != (n == 4) || err != nil && !errors.Is(err, ErrProtocol) || share != 0 {
			t.Errorf("%d bytes: %d, %v", n, share, err)
		}
	}
	if share, err := (frame{payload: []byte{0x40, 0x42, 0x0f, 0}}).share(); err != nil || share != ShareWhole {
		t.Errorf("%d, %v", share, err)
	}
}
