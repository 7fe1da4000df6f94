package rpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/golden anew: only for what no release has spoken")

// TestGolden keeps what other releases rely on: codes, kinds, and bytes.
func TestGolden(t *testing.T) {
	var out strings.Builder
	for c := range codes {
		row := codeTable[c]
		fmt.Fprintf(&out, "code %d %s local=%t %v\n", c, row.name, row.local, row.err)
	}
	for _, f := range []struct {
		name  string
		frame raw
	}{
		{"call", raw{}.frame(kindCall, 7, append(appendRequestHead(nil, requestHead{"echo", time.Second, 70000}), 1, 2)...)},
		{"watch", raw{}.frame(kindWatch, 8, append(appendRequestHead(nil, requestHead{"offers", 0, 1}), 3)...)},
		{"body", raw{}.frame(kindBody, 7, 4, 5)},
		{"cancel", raw{}.frame(kindCancel, 7)},
		{"credit", raw{}.frame(kindCredit, 8, long(1000)...)},
		{"answer", raw{}.frame(kindAnswer, 7, long(2, 6, 7)...)},
		{"more", raw{}.frame(kindMore, 7, 8)},
		{"message", raw{}.frame(kindMessage, 8, long(1, 9)...)},
		{"end", raw{}.frame(kindEnd, 8, encodeFailure(nil)...)},
		{"fault", raw{}.frame(kindEnd, 7, encodeFailure(&Fault{"odd", "text"})...)},
		{"error", raw{}.frame(kindEnd, 7, encodeFailure(fail(CodeBusy, "text"))...)},
		{"goodbye", raw{}.frame(kindGoodbye, 0, encodeFailure(fail(CodeProtocol, "text"))...)},
	} {
		fmt.Fprintf(&out, "frame %s %s\n", f.name, hex.EncodeToString(f.frame))
	}
	const file = "testdata/golden"
	if *rewriteGolden {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("what other releases rely on has changed (-was +is):\n%s", diff)
	}
}

// TestErrorsCrossTheWire has every error that may cross keep its identity.
func TestErrorsCrossTheWire(t *testing.T) {
	for c := CodeUnknownMethod; c < codes; c++ {
		failure, err := decodeFailure(encodeFailure(fail(c, "text")))
		if codeTable[c].local {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("%s crossed: %v, %v", c, failure, err)
			}
			continue
		}
		if err != nil || !errors.Is(failure, codeTable[c].err) || codeOf(failure) != c {
			t.Errorf("%s became %v, %v", c, failure, err)
		}
		if want := codeTable[c].err.Error() + ": text"; failure.Error() != want {
			t.Errorf("%s reads %q, want %q", c, failure, want)
		}
	}
	for code, want := range map[Code]error{CodeTimeout: context.DeadlineExceeded, CodeCancelled: context.Canceled} {
		if failure, _ := decodeFailure(encodeFailure(fail(code, ""))); !errors.Is(failure, want) {
			t.Errorf("%v is not %v", failure, want)
		}
	}
	fault := &Fault{Code: "odd"}
	failure, err := decodeFailure(encodeFailure(faultOf(fmt.Errorf("3: %w", fault))))
	if err != nil || !errors.Is(failure, fault) || errors.Is(failure, &Fault{Code: "even"}) || failure.Error() != "3: odd" {
		t.Errorf("the fault became %v, %v", failure, err)
	}
	nested := faultOf(fmt.Errorf("ask another: %w", fail(CodeUnavailable, "gone")))
	if errors.Is(nested, ErrUnavailable) || nested.Code != CodeFailed {
		t.Errorf("a handler's failed call looks like its caller's: %v", nested)
	}
}

func TestValidate(t *testing.T) {
	network := p2ptest.New(t, p2ptest.Config{}).Add("a", p2p.RoleAdmin)
	handler := func(context.Context, Request) ([]byte, error) { return nil, nil }
	good := Method{Name: "a/b-c.d_9", Allow: p2p.RoleClient, RequestBytesMax: BytesMax, ResponseBytesMax: BytesMax, Handler: handler}
	with := func(f func(*Method)) func(*Config) {
		return func(c *Config) {
			m := good
			f(&m)
			c.Methods = []Method{m}
		}
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"Good":        {func(*Config) {}, ""},
		"Network":     {func(c *Config) { c.Network = nil }, "Network"},
		"Logger":      {func(c *Config) { c.Logger = nil }, "Logger"},
		"InFlightMax": {func(c *Config) { c.InFlightMax = InFlightMax + 1 }, "InFlightMax is 257, from 1 to 256"},
		"QueueMax":    {func(c *Config) { c.QueueMax = 0 }, "QueueMax"},
		"Twice":       {func(c *Config) { c.Methods = []Method{good, good} }, "twice"},
		"NoName":      {with(func(m *Method) { m.Name = "" }), "method name"},
		"Name":        {with(func(m *Method) { m.Name = "Ä" }), "method name"},
		"LongName":    {with(func(m *Method) { m.Name = strings.Repeat("x", 65) }), "method name"},
		"Role":        {with(func(m *Method) { m.Allow = 0 }), "role 0"},
		"NoHandler":   {with(func(m *Method) { m.Handler = nil }), "want a handler"},
		"Request":     {with(func(m *Method) { m.RequestBytesMax++ }), "requests"},
		"WatchRequest": {with(func(m *Method) {
			m.Handler, m.Watch = nil, func(context.Context, Request, func([]byte) error) error { return nil }
		}), "requests"},
		"Response": {with(func(m *Method) { m.ResponseBytesMax++ }), "answers"},
	} {
		c := Default()
		c.Network, c.Methods = network, []Method{good}
		test.change(&c)
		err := c.Validate()
		if test.want == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func FuzzRequestHead(f *testing.F) {
	f.Add(appendRequestHead(nil, requestHead{"echo", time.Second, 200}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := decodeRequestHead(b)
		if err != nil {
			return
		}
		if n > len(b) || len(r.method) > MethodBytesMax || r.left < 0 || r.length < 0 {
			t.Fatalf("%+v after %d of %d bytes", r, n, len(b))
		}
		again, m, err := decodeRequestHead(appendRequestHead(nil, r))
		if err != nil || m != n || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzFailure(f *testing.F) {
	f.Add(encodeFailure(nil))
	f.Add(encodeFailure(&Fault{"odd", "text"}))
	f.Add(encodeFailure(fail(CodeBusy, "text")))
	f.Fuzz(func(t *testing.T, b []byte) {
		failure, err := decodeFailure(b)
		if err != nil {
			return
		}
		again, err := decodeFailure(encodeFailure(failure))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(failure) || codeOf(again) != codeOf(failure) {
			t.Fatalf("%v became %v, %v", failure, again, err)
		}
	})
}

// FuzzCaller and FuzzHandler have a whole side of a stream read any bytes, in
// pieces of any size. Nothing may panic, hang, or be left over.
func FuzzHandler(f *testing.F) {
	f.Add([]byte(raw{}.call(1, "echo", 3, 1, 2).frame(kindBody, 1, 3).call(2, "none", 0).frame(kindCancel, 1)))
	f.Add([]byte(raw{}.watch(1, "watch").frame(kindCredit, 1, 9, 0, 0, 0).frame(kindCancel, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		siege(t, func(t *testing.T, v *victim) {
			s := v.dial(t)
			go io.Copy(io.Discard, s)
			io.Copy(s, iotest.OneByteReader(bytes.NewReader(b)))
			s.CloseWrite()
			synctest.Wait()
			if n := v.endpoint.server.held.Load(); n != 0 && !bytes.Contains(b, []byte("stubborn")) {
				t.Errorf("%d bytes are held after the end", n)
			}
		})
	})
}

func FuzzCaller(f *testing.F) {
	f.Add([]byte(raw{}.frame(kindAnswer, 1, long(3, 1, 2)...).frame(kindMore, 1, 3).frame(kindMessage, 3, long(1, 1)...)))
	f.Add([]byte(raw{}.frame(kindEnd, 1, 1, 1, 'x').frame(kindEnd, 3, 0, 0).frame(kindGoodbye, 0, 12, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		siege(t, func(t *testing.T, v *victim) {
			v.hostile.Handle(Protocol, func(s p2p.Stream) {
				io.ReadFull(s, make([]byte, 3*(headerBytes+requestHeadBytesMax-MethodBytesMax+5)))
				io.Copy(s, bytes.NewReader(b))
				s.CloseWrite()
				io.Copy(io.Discard, s)
			})
			for i, err := range threeCalls(t, v) {
				t.Log(i, err)
			}
		})
	})
}
