package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// Peers that break the rules, by writing frames of their own. Whatever one
// does, it is told why its stream ends, or has its own calls refused, takes no
// more than its share, and an honest member is served meanwhile.

// raw builds frames.
type raw []byte

func (r raw) frame(k kind, id uint64, payload ...byte) raw {
	return append(appendHeader(r, header{len(payload), k, id}), payload...)
}

func (r raw) call(id uint64, method string, total int, body ...byte) raw {
	return r.frame(kindCall, id, append(appendRequestHead(nil, requestHead{method: method, length: total}), body...)...)
}

func (r raw) watch(id uint64, method string) raw {
	return r.frame(kindWatch, id, appendRequestHead(nil, requestHead{method: method})...)
}

// long is the length before an answer, and the first bytes of it.
func long(total uint32, body ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, total), body...)
}

// stubborn is a handler that runs until release is closed.
func stubborn(release <-chan struct{}) func(context.Context, Request) ([]byte, error) {
	return func(context.Context, Request) ([]byte, error) {
		<-release
		return nil, nil
	}
}

// victim is an endpoint, a hostile member h and an honest one.
type victim struct {
	network  *p2ptest.Network
	hostile  *p2ptest.Node
	endpoint *Endpoint
	honest   *Endpoint
	release  chan struct{}
}

func siege(t *testing.T, f func(t *testing.T, v *victim), change ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		v := &victim{network: p2ptest.New(t, p2ptest.Config{}), release: make(chan struct{})}
		v.hostile = v.network.Add("h", p2p.RoleClient)
		v.endpoint = v.open(t, "v", append(change, func(c *Config) {
			c.Methods = []Method{
				{Name: "echo", Allow: p2p.RoleClient, RequestBytesMax: 1 << 20, ResponseBytesMax: 1 << 20, Handler: func(_ context.Context, r Request) ([]byte, error) { return r.Body, nil }},
				{Name: "large", Allow: p2p.RoleClient, ResponseBytesMax: 4 << 20, Handler: func(context.Context, Request) ([]byte, error) { return make([]byte, 4<<20), nil }},
				{Name: "stubborn", Allow: p2p.RoleClient, RequestBytesMax: 1 << 20, Handler: stubborn(v.release)},
				{Name: "watch", Allow: p2p.RoleClient, RequestBytesMax: 1, ResponseBytesMax: 1 << 20, Watch: func(ctx context.Context, _ Request, _ func([]byte) error) error {
					<-ctx.Done()
					return ctx.Err()
				}},
			}
		})...)
		v.honest = v.open(t, "honest")
		// Before Close waits for the handlers.
		defer close(v.release)
		f(t, v)
		if got, err := v.honest.Call(t.Context(), "v", "echo", []byte("honest")); string(got) != "honest" || err != nil {
			t.Errorf("the honest member got %q, %v", got, err)
		}
	})
}

func (v *victim) open(t *testing.T, id p2p.NodeID, change ...func(*Config)) *Endpoint {
	c := Default()
	c.Network, c.Registerer = v.network.Add(id, p2p.RoleWorker), prometheus.NewRegistry()
	for _, f := range change {
		f(&c)
	}
	e, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func (v *victim) dial(t *testing.T) p2p.Stream {
	s, err := v.hostile.Open(t.Context(), "v", Protocol)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// frames reads all frames until the stream ends, and returns the last, and the
// failure that it carries.
func frames(t *testing.T, s p2p.Stream) (last kind, failure error) {
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("read: %v after %d bytes", err, len(b))
	}
	for len(b) > 0 {
		h, err := decodeHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		last = h.kind
		if h.kind == kindEnd || h.kind == kindGoodbye {
			if failure, err = decodeFailure(b[headerBytes : headerBytes+h.length]); err != nil {
				t.Fatal(err)
			}
		}
		b = b[headerBytes+h.length:]
	}
	return last, failure
}

func TestHostileCaller(t *testing.T) {
	var flood, watches raw
	for i := range uint64(InFlightMax + 1) {
		flood = flood.call(1+i, "stubborn", 0)
		watches = watches.watch(1+i, "watch")
	}
	micros := binary.LittleEndian.AppendUint64([]byte{4, 'e', 'c', 'h', 'o'}, microsMax+1)
	for name, test := range map[string]struct {
		sent raw
		want string
	}{
		"Garbage":          {raw(strings.Repeat("GET / HTTP/1.1\r\n", 10)), "frame of"},
		"FourGiB":          {raw{0xff, 0xff, 0xff, 0xff, byte(kindCall), 1, 0, 0, 0, 0, 0, 0, 0}, "frame of 4294967295 bytes"},
		"KindUnknown":      {raw{}.frame(kindsEnd, 1), "is not known"},
		"KindZero":         {raw{}.frame(0, 1), "is not known"},
		"KindOfHandler":    {raw{}.frame(kindAnswer, 1, 0, 0, 0, 0), "from who calls"},
		"NoHead":           {raw{}.frame(kindCall, 1), "request head"},
		"NameTooLong":      {raw{}.frame(kindCall, 1, bytes.Repeat([]byte{200}, 250)...), "request head"},
		"DeadlineTooLong":  {raw{}.frame(kindCall, 1, append(micros, 0, 0, 0, 0)...), "deadline"},
		"IdZero":           {raw{}.call(0, "echo", 0), "call 0"},
		"IdAgain":          {raw{}.call(7, "stubborn", 0).call(7, "echo", 0), "call 7 after call 7"},
		"BodyOfNoCall":     {raw{}.frame(kindBody, 9, 1), "not made"},
		"CancelOfNoCall":   {raw{}.frame(kindCancel, 9), "not made"},
		"CancelWithBytes":  {raw{}.call(1, "stubborn", 0).frame(kindCancel, 1, 1), "cancel with"},
		"CreditOfNoCall":   {raw{}.frame(kindCredit, 9, 1, 0, 0, 0), "not made"},
		"CreditShort":      {raw{}.frame(kindCredit, 9, 1, 0), "length of 2"},
		"CreditLong":       {raw{}.frame(kindCredit, 9, 1, 0, 0, 0, 0), "at most 4"},
		"CreditOfCall":     {raw{}.call(1, "stubborn", 0).frame(kindCredit, 1, 1, 0, 0, 0), "out of turn"},
		"CreditTooMuch":    {raw{}.watch(1, "watch").frame(kindCredit, 1, 1, 0, 0, 0), "out of turn"},
		"MoreThanClaimed":  {raw{}.call(1, "echo", 2, 1, 2, 3), "lacks 2"},
		"MoreAfterAll":     {raw{}.call(1, "stubborn", 1, 1).frame(kindBody, 1, 1), "complete"},
		"NoProgress":       {raw{}.call(1, "echo", 2, 1).frame(kindBody, 1), "complete"},
		"WatchInParts":     {raw{}.frame(kindWatch, 1, appendRequestHead(nil, requestHead{method: "watch", length: 1})...), "lacks 1"},
		"TooManyInFlight":  {flood, "in flight"},
		"TooManyWatches":   {watches, "watches"},
		"GoodbyeMalformed": {raw{}.frame(kindGoodbye, 0), "failure of 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			siege(t, func(t *testing.T, v *victim) {
				s := v.dial(t)
				s.Write(test.sent)
				last, failure := frames(t, s)
				if last != kindGoodbye || failure == nil || !strings.Contains(failure.Error(), test.want) {
					t.Errorf("the stream ended with kind %d, %v, want a goodbye with %q", last, failure, test.want)
				}
			}, func(c *Config) { c.WatchesPerPeerMax = WatchesMax }) // none is refused
		})
	}
}

// TestRefusedCallKeepsStream refuses claims above a method's limit: that call
// alone fails, and what was sent of it is skipped.
func TestRefusedCallKeepsStream(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		s := v.dial(t)
		var sent raw
		sent = sent.call(1, "echo", 1<<32-1, 1, 2, 3).frame(kindBody, 1, 4, 5).frame(kindBody, 1)
		sent = sent.call(2, "nothing", 5, 1, 2).frame(kindBody, 2, 3, 4, 5)
		s.Write(sent.call(3, "echo", 3, 7, 8, 9))
		for range 3 {
			var b [headerBytes]byte
			io.ReadFull(s, b[:])
			h, err := decodeHeader(b[:])
			if err != nil {
				t.Fatal(err)
			}
			payload := make([]byte, h.length)
			io.ReadFull(s, payload)
			switch h.id {
			case 1, 2:
				failure, _ := decodeFailure(payload)
				if h.id == 1 && !errors.Is(failure, ErrRequestTooLarge) || h.id == 2 && !errors.Is(failure, ErrUnknownMethod) {
					t.Errorf("call %d: %v", h.id, failure)
				}
			case 3:
				if !bytes.Equal(payload, long(3, 7, 8, 9)) {
					t.Errorf("call 3: %v", payload)
				}
			}
		}
		if n := v.endpoint.server.held.Load(); n != 0 {
			t.Errorf("%d bytes are held at the end", n)
		}
	})
}
