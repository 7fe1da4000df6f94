package result

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/runtime/task"
)

// got is a result as a test reads it.
type got struct {
	Header         Header
	Stdout, Stderr string
}

func read(r io.Reader) ([]got, error) {
	var all []got
	for reader := NewReader(r); ; {
		h, stdout, stderr, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		out, err := io.ReadAll(stdout)
		if err != nil {
			return all, err
		}
		text, err := io.ReadAll(stderr)
		if err != nil {
			return all, err
		}
		all = append(all, got{h, string(out), string(text)})
	}
}

func drawResult(t *rapid.T) (Result, got) {
	stream := func(name string) (Stream, string) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name)
		if len(b) == 0 && rapid.Bool().Draw(t, "nil") {
			return nil, ""
		}
		return Bytes(b), string(b)
	}
	r := Result{
		Index: rapid.Uint32().Draw(t, "index"), Attempt: rapid.Uint32().Draw(t, "attempt"),
		Node: rapid.String().Draw(t, "node"),
		Outcome: task.Outcome{
			Kind:     rapid.SampledFrom(task.Kinds()).Draw(t, "kind"),
			ExitCode: rapid.Uint32().Draw(t, "code"),
			Message:  rapid.StringN(0, 50, -1).Draw(t, "message"),
			Usage:    task.Usage{Fuel: rapid.Uint64().Draw(t, "fuel")},
		},
	}
	var g got
	r.Stdout, g.Stdout = stream("stdout")
	r.Stderr, g.Stderr = stream("stderr")
	g.Header = Header{r.Index, r.Attempt, r.Node, r.Outcome, int64(len(g.Stdout)), int64(len(g.Stderr))}
	return r, g
}

// TestRoundTrip: what was written is read, in whatever pieces the bytes come,
// and every object cut short says so.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var results []Result
		var want []got
		for range rapid.IntRange(0, 5).Draw(t, "results") {
			r, g := drawResult(t)
			results, want = append(results, r), append(want, g)
		}
		var object bytes.Buffer
		if err := Write(&object, results); err != nil {
			t.Fatal(err)
		}
		bundled, err := io.ReadAll(iotest.OneByteReader(Bundle(results)))
		if err != nil || !bytes.Equal(bundled, object.Bytes()) {
			t.Fatalf("Bundle gives %q, %v, Write %q", bundled, err, object.Bytes())
		}
		all, err := read(iotest.HalfReader(bytes.NewReader(bundled)))
		if diff := cmp.Diff(want, all); diff != "" || err != nil {
			t.Fatalf("read %v (-want +got):\n%s", err, diff)
		}
		ends := ends(want, bundled)
		cut := rapid.IntRange(0, len(bundled)-1).Draw(t, "cut")
		some, err := read(bytes.NewReader(bundled[:cut]))
		if slices.Contains(ends, cut) != (err == nil) {
			t.Fatalf("cut at %d of %v: %d results, %v", cut, ends, len(some), err)
		}
	})
}

// ends returns where the records of an object end.
func ends(all []got, object []byte) []int {
	at := len(magic)
	out := []int{at}
	for _, g := range all {
		at += 4 + int(binary.BigEndian.Uint32(object[at:])) + len(g.Stdout) + len(g.Stderr)
		out = append(out, at)
	}
	return out
}

func object(t *testing.T, results ...Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSkip: whoever wants one stream reads past the others.
func TestSkip(t *testing.T) {
	b := object(
		t,
		Result{Index: 0, Stdout: Bytes("out 0"), Stderr: Bytes("err 0")},
		Result{Index: 1, Stdout: Bytes("out 1"), Stderr: Bytes("err 1")},
		Result{Index: 2, Stdout: Bytes("out 2")},
	)
	r := NewReader(bytes.NewReader(b))
	_, first, _, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	h, stdout, stderr, err := r.Next()
	if err != nil || h.Index != 1 {
		t.Fatalf("the second result is %d, %v", h.Index, err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, ErrStale) {
		t.Errorf("reading a result that is past: %v, want ErrStale", err)
	}
	if text, err := io.ReadAll(stderr); string(text) != "err 1" || err != nil {
		t.Errorf("stderr is %q, %v", text, err)
	}
	if text, err := io.ReadAll(stdout); len(text) > 0 || err != nil {
		t.Errorf("stdout after stderr is %q, %v", text, err)
	}
	h, stdout, _, err = r.Next()
	if err != nil || h.Index != 2 {
		t.Fatalf("the third result is %d, %v", h.Index, err)
	}
	if text, err := io.ReadAll(stdout); string(text) != "out 2" || err != nil {
		t.Errorf("stdout is %q, %v", text, err)
	}
	for range 2 {
		if _, _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last result: %v", err)
		}
	}
}

func TestBadObjects(t *testing.T) {
	record := func(header string) string {
		return magic + string(binary.BigEndian.AppendUint32(nil, uint32(len(header)))) + header
	}
	for name, tt := range map[string]struct {
		object string
		want   error
	}{
		"empty":           {"", ErrFormat},
		"half a magic":    {"DGN", ErrFormat},
		"another file":    {"#!/bin/sh", ErrFormat},
		"a newer version": {"DGNR\x02", ErrVersion},
		"a long header":   {magic + "\x00\x01\x00\x01" + strings.Repeat("x", 1<<17), ErrFormat},
		"a huge header":   {magic + "\xff\xff\xff\xff", ErrFormat},
		"half a length":   {magic + "\x00\x00", io.ErrUnexpectedEOF},
		"half a header":   {record(`{}`)[:len(magic)+5], io.ErrUnexpectedEOF},
		"no JSON":         {record(`{"index":`), ErrFormat},
		"negative":        {record(`{"stdout_bytes":-1}`), ErrFormat},
		"too large":       {record(`{"stderr_bytes":1099511627777}`), ErrFormat},
		"a sum too large": {record(`{"stdout_bytes":1099511627776,"stderr_bytes":1}`), ErrFormat},
		"no stream":       {record(`{"stdout_bytes":1}`), io.ErrUnexpectedEOF},
	} {
		if _, err := read(strings.NewReader(tt.object)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := read(strings.NewReader(record(`{"index":3,"later":true}`))); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
}

// lying is a stream that does not hold what it says.
type lying struct {
	Bytes
	size int64
}

func (l lying) Size() int64 { return l.size }

func TestWriteRefuses(t *testing.T) {
	for name, r := range map[string]Result{
		"too short": {Stdout: lying{Bytes("abc"), 4}},
		"too long":  {Stderr: lying{Bytes("abc"), 2}},
		"too large": {Stdout: lying{nil, OutputBytesMax()}, Stderr: Bytes("a")},
		"negative":  {Stdout: lying{nil, -1}},
	} {
		if err := Write(io.Discard, []Result{{}, r, {}}); !errors.Is(err, ErrSize) {
			t.Errorf("%s: %v, want ErrSize", name, err)
		}
	}
	gone := &Spool{closed: true}
	if err := Write(io.Discard, []Result{{Stdout: gone}}); !errors.Is(err, ErrSpoolClosed) {
		t.Errorf("a closed spool: %v, want ErrSpoolClosed", err)
	}
}

// TestLongHeader: a guest chooses the names of its functions, and must not be
// able to lose its own result by it.
func TestLongHeader(t *testing.T) {
	o := task.Outcome{
		Kind: task.Trapped, Trap: &task.Trap{Kind: task.TrapStack, Message: strings.Repeat("\x01", 1<<17)},
		Message: strings.Repeat("ø", 1<<17),
	}
	for range 1000 {
		o.Stack = append(o.Stack, task.Frame{Function: strings.Repeat("<", 1000)})
	}
	all, err := read(bytes.NewReader(object(t, Result{Index: 7, Outcome: o, Stdout: Bytes("out")})))
	if err != nil || len(all) != 1 || all[0].Stdout != "out" || all[0].Header.Outcome.Kind != task.Trapped {
		t.Fatalf("read %d results, %v", len(all), err)
	}
	if len(o.Stack) != 1000 || len(o.Trap.Message) != 1<<17 {
		t.Error("writing changed the caller's outcome")
	}
	o.Trap, o.Message = nil, ""
	all, err = read(bytes.NewReader(object(t, Result{Outcome: o})))
	if err != nil || len(all) != 1 || len(all[0].Header.Outcome.Stack) != 62 {
		t.Fatalf("read %d results, %v", len(all), err)
	}
	if err := Write(io.Discard, []Result{{Node: strings.Repeat("n", HeaderBytesMax)}}); !errors.Is(err, ErrFormat) {
		t.Errorf("a header that cannot be shortened: %v", err)
	}
}

// TestBundleCloses: an upload that is broken off leaves no stream open.
func TestBundleCloses(t *testing.T) {
	c := &counted{Bytes: Bytes("output")}
	b := Bundle([]Result{{Stdout: c}})
	for c.open == 0 {
		if _, err := b.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil || c.open != 0 {
		t.Errorf("%d streams are open, %v", c.open, err)
	}
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("a closed bundle can be read")
	}
	if err := Write(io.Discard, []Result{{Stdout: c, Stderr: c}}); err != nil || c.open != 0 {
		t.Errorf("%d streams are open, %v", c.open, err)
	}
}

// counted knows how often it is open.
type counted struct {
	Bytes
	open int
}

func (c *counted) Open() (io.ReadCloser, error) {
	c.open++
	return counter{bytes.NewReader(c.Bytes), c}, nil
}

type counter struct {
	io.Reader
	c *counted
}

func (c counter) Close() error {
	c.c.open--
	return nil
}

// FuzzReader: whatever the bytes, reading ends, holds one header at a time, and
// what could be read is read the same from what Write makes of it.
func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, []Result{
		{Index: 1, Node: "n", Outcome: task.Outcome{Kind: task.Exited, Message: "é<"}, Stdout: Bytes("out")},
		{Index: 2, Attempt: 3, Outcome: task.Outcome{Kind: task.Trapped, Stack: []task.Frame{{Function: "f"}}}, Stderr: Bytes("err")},
	}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\x00\x00\x00\x16{\"stdout_bytes\":99999}x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		reader := NewReader(bytes.NewReader(in))
		var whole []got
		for {
			h, stdout, stderr, err := reader.Next()
			if err != nil {
				break
			}
			if cap(reader.buffer) > HeaderBytesMax {
				t.Fatalf("the reader holds %d bytes", cap(reader.buffer))
			}
			out, err := io.ReadAll(stdout)
			text, err2 := io.ReadAll(stderr)
			if err != nil || err2 != nil {
				break
			}
			whole = append(whole, got{h, string(out), string(text)})
		}
		var results []Result
		for _, g := range whole {
			results = append(results, Result{g.Header.Index, g.Header.Attempt, g.Header.Node, g.Header.Outcome, Bytes(g.Stdout), Bytes(g.Stderr)})
		}
		if len(in) > 4<<10 {
			return // writing it again may take a shorter header
		}
		again, err := read(Bundle(results))
		if diff := cmp.Diff(whole, again); diff != "" || err != nil {
			t.Fatalf("written again: %v (-first +second):\n%s", err, diff)
		}
	})
}

// BenchmarkThousand writes and reads an object of 1,000 results with 100 bytes
// of output each.
func BenchmarkThousand(b *testing.B) {
	results := make([]Result, 1000)
	for i := range results {
		results[i] = Result{
			Index: uint32(i), Node: strings.Repeat("n", 52), Stdout: Bytes(strings.Repeat("o", 100)),
			Outcome: task.Outcome{Kind: task.Exited, Usage: task.Usage{Fuel: 123456789, WallTime: 1e6}},
		}
	}
	var object bytes.Buffer
	if err := Write(&object, results); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(object.Len()))
		b.ReportAllocs()
		for b.Loop() {
			if err := Write(io.Discard, results); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(object.Len()))
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for r := NewReader(bytes.NewReader(object.Bytes())); ; n++ {
				if _, _, _, err := r.Next(); err != nil {
					break
				}
			}
			if n != len(results) {
				b.Fatalf("read %d results", n)
			}
		}
	})
}
