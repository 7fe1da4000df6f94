package content

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/p2ptest"
)

// openStream opens a stream of the protocol for a test that speaks it by hand.
func openStream(t *testing.T, from p2p.Network, to p2p.NodeID) p2p.Stream {
	t.Helper()
	s, err := from.Open(deadline(t), to, Protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Reset() })
	return s
}

// answerOf reads one answer.
func answerOf(t *testing.T, s io.Reader) (byte, []byte) {
	t.Helper()
	kind, n, err := readHead(s, answerBytesMax+ChunkBytes)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s, b); err != nil {
		t.Fatal(err)
	}
	return kind, b
}

func wantRefusal(t *testing.T, s io.Reader, want code) refusal {
	t.Helper()
	kind, b := answerOf(t, s)
	f, err := parseRefusal(b)
	if kind != answerRefusal || err != nil || f.code != want {
		t.Fatalf("answer of kind %d, code %s, %v; want %s", kind, f.code, err, want)
	}
	return f
}

// TestHostileFetchers: who asks badly, for all, or never reads, is refused or
// left waiting, and the others are served.
func TestHostileFetchers(t *testing.T) {
	network := p2ptest.New(t, p2ptest.Config{})
	nodes := network.AddMany(3)
	origin := newPeer(t, nodes[0], func(c *Config) { c.StreamsPerPeer, c.UploadsPerPeer = 4, 2 })
	object := noise(1, 20*ChunkBytes)
	h := put(t, origin.Store, object, "")
	bad := nodes[1]

	for _, garbage := range []string{
		"\xff\xff\xff\xff\x02", "\x00\x00\x00\x00\x00", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x02\x07\x00",
		string(request{kind: requestRange, hash: h, first: 0, count: RangeChunksMax + 1}.frame()),
		string(request{kind: requestRange, hash: h, first: 1 << 31, count: 1}.frame()),
	} {
		s := openStream(t, bad, origin.id)
		if _, err := io.WriteString(s, garbage); err != nil {
			t.Fatal(err)
		}
		// A reset may overtake the refusal.
		if b, err := io.ReadAll(s); err == nil {
			t.Fatalf("%q: stream stays open, %q", garbage, b)
		}
	}
	s := openStream(t, bad, origin.id)
	for _, q := range []request{
		{kind: requestRange, hash: h, first: 20, count: 1},
		{kind: requestRange, hash: h, first: 10, count: 11},
	} {
		_, _ = s.Write(q.frame())
		wantRefusal(t, s, codeMalformed)
	}
	_, _ = s.Write(request{kind: requestList, hash: Sum(nil)}.frame())
	wantRefusal(t, s, codeNotHeld)

	// Two streams that are never read take both uploads that bad may have, one
	// is told so, the fourth is the last: each knows by what it gets.
	for range 2 {
		greedy := openStream(t, bad, origin.id)
		_, _ = greedy.Write(request{kind: requestRange, hash: h, first: 0, count: RangeChunksMax}.frame())
		if _, err := io.ReadFull(greedy, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = s.Write(request{kind: requestRange, hash: h, first: 0, count: 1}.frame())
	wantRefusal(t, s, codeBusy)
	fourth := openStream(t, bad, origin.id)
	_, _ = fourth.Write(request{kind: requestList, hash: h}.frame())
	wantRefusal(t, fourth, codeBusy)
	fifth := openStream(t, bad, origin.id)
	if _, err := io.ReadAll(fifth); err == nil {
		t.Fatal("fifth stream stays open")
	}
	newPeer(t, nodes[2], nil).fetch(t, object, origin.id)
}

// TestUnread: a fetcher that does not read is not waited for longer than
// ChunkTimeout.
func TestUnread(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
	origin := newPeer(t, nodes[0], func(c *Config) { c.ChunkTimeout = 20 * time.Millisecond })
	h := put(t, origin.Store, noise(1, 4*ChunkBytes), "")
	s := openStream(t, nodes[1], origin.id)
	_, _ = s.Write(request{kind: requestRange, hash: h, count: 4}.frame())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// A second request is never answered: it notices the reset.
		for {
			if _, err := s.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}()
	select {
	case <-ended:
	case <-deadline(t).Done():
		t.Fatal("stream stays open")
	}
}

// TestDenied: the least role is checked at each request.
func TestDenied(t *testing.T) {
	network := p2ptest.New(t, p2ptest.Config{})
	origin := newPeer(t, network.Add("origin", p2p.RoleWorker), func(c *Config) { c.ServeRole = p2p.RoleWorker })
	client := newPeer(t, network.Add("client", p2p.RoleClient), nil)
	object := noise(1, 100)
	put(t, origin.Store, object, "")
	if err := client.tryFetch(deadline(t), object, origin.id); !errors.Is(err, ErrNoHolder) {
		t.Fatal(err)
	}
	if client.accused() != "[{origin denied}]" {
		t.Fatal(client.accused())
	}
}

// TestCorruptOrigin: a holder finds damage before it sends it, drops its copy
// and says so.
func TestCorruptOrigin(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(3)
	a, b := newPeer(t, nodes[0], nil), newPeer(t, nodes[1], nil)
	object := noise(1, 3*ChunkBytes)
	h := put(t, a.Store, object, "")
	put(t, b.Store, object, "")
	f, err := os.OpenFile(a.objectPath(h), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for k := range int64(3) {
		if err := flip(f, k*ChunkBytes+7); err != nil {
			t.Fatal(err)
		}
	}
	p := newPeer(t, nodes[2], nil)
	if err := p.tryFetch(deadline(t), object, a.id); !errors.Is(err, ErrNoHolder) {
		t.Fatal(err)
	}
	if p.accused() != "[{n0 corrupt}]" || a.Has(h) {
		t.Fatal(p.accused(), a.Has(h))
	}
	p.fetch(t, object, a.id, b.id)
	a.fetch(t, object, b.id)
}

// TestSpread: a chunk goes to CopiesMax members, the next one is referred to
// them, unless it insists.
func TestSpread(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(5)
	origin := newPeer(t, nodes[0], nil)
	object := noise(1, 100)
	h := put(t, origin.Store, object, "")
	ask := func(n p2p.Network, insist bool) p2p.Stream {
		s := openStream(t, n, origin.id)
		_, _ = s.Write(request{kind: requestRange, hash: h, count: 1, insist: insist}.frame())
		return s
	}
	for _, n := range []p2p.Network{nodes[1], nodes[2], nodes[2], nodes[3]} {
		if kind, b := answerOf(t, ask(n, false)); kind != answerData || len(b) != 104 {
			t.Fatal(kind, len(b))
		}
	}
	f := wantRefusal(t, ask(nodes[4], false), codeBusy)
	if len(f.others) != 3 || f.others[0] != "n1" || f.others[2] != "n3" {
		t.Fatal(f.others)
	}
	if kind, _ := answerOf(t, ask(nodes[4], true)); kind != answerData {
		t.Fatal("insisting does not help")
	}
	// Those to whom it is referred have nothing: it insists by itself.
	newPeer(t, nodes[4], nil).fetch(t, object, origin.id)
}

// TestBound: what a bound lets through is what the peers count, both ways, and a fetch
// whose every chunk waits goes well.
func TestBound(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
	link := func() *bandwidth.Link {
		l, err := bandwidth.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	from, to := link(), link()
	from.Up.SetRate(4 << 20)
	to.Down.SetRate(4 << 20)
	a := newPeer(t, nodes[0], func(c *Config) { c.Down, c.Up = from.Down, from.Up })
	b := newPeer(t, nodes[1], func(c *Config) { c.Down, c.Up = to.Down, to.Up })
	object := noise(1, 3*ChunkBytes)
	put(t, a.Store, object, "")
	began := time.Now()
	b.fetch(t, object, a.id)
	// The least time that the bound allows, of what a quarter of a second may have saved
	// up; how much longer it takes is the machine's.
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Fatal("3 MiB at 4 MiB a second took", took)
	}
	for name, use := range map[string]bandwidth.Use{"sent": from.Up.Use(), "received": to.Down.Use()} {
		if use.Bytes < uint64(len(object)) || use.Bytes > 2*uint64(len(object)) || use.Waiting != 0 {
			t.Errorf("%s: %+v", name, use)
		}
	}
}

// TestCodes pins the numbers on the wire.
func TestCodes(t *testing.T) {
	var b strings.Builder
	for c := codeNotHeld; int(c) < len(codeNames); c++ {
		b.WriteString(string(rune('0'+c)) + " " + c.String() + "\n")
	}
	want, err := os.ReadFile("testdata/code.golden")
	if err != nil || b.String() != string(want) {
		t.Fatalf("%v\n%s", err, b.String())
	}
}

// waitChunks returns when a fetch that runs has n chunks.
func waitChunks(t *testing.T, s *Store, h Hash, n int) {
	t.Helper()
	s.exchange.mu.Lock()
	f := s.exchange.transfers[h]
	s.exchange.mu.Unlock()
	for {
		f.mu.Lock()
		count, changed := f.have.count(), f.changed
		f.mu.Unlock()
		if count == n {
			return
		}
		select {
		case <-changed:
		case <-deadline(t).Done():
			t.Fatalf("%d chunks, not %d", count, n)
		}
	}
}

// TestResume: what a fetch that ended early has verified is not fetched again,
// not even after a restart.
func TestResume(t *testing.T) {
	nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(3)
	object := noise(1, 10*ChunkBytes+5)
	ctx, cancel := context.WithCancel(deadline(t))
	sent, fifth := 0, make(chan struct{})
	l := &liar{object: object, claim: chainOf(object)}
	l.chunk = func(stream p2p.Stream, k int) error {
		if sent++; sent > 4 {
			close(fifth)
			return hang(stream)
		}
		return l.honest(stream, k)
	}
	nodes[0].Handle(Protocol, l.serve)
	c := patientConfig(t.TempDir())
	c.Network, c.StreamsPerHolder = nodes[1], 1
	s := openStore(t, c)
	fetched := make(chan error)
	go func() {
		_, err := s.Fetch(ctx, Sum(object), FetchOptions{Holders: []p2p.NodeID{"n0"}})
		fetched <- err
	}()
	<-fifth
	waitChunks(t, s, Sum(object), 4)
	cancel()
	if err := <-fetched; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A chunk that the disk lost is fetched again, too.
	f, err := os.OpenFile(s.partialPath(Sum(object)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	missing := 10*ChunkBytes + 5 - 3*ChunkBytes - 5
	start := (&transfer{x: s.exchange, hash: Sum(object)}).start(11)
	if start == 10 {
		start = 0
	}
	if err := flip(f, int64(start)*ChunkBytes+99); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	missing += ChunkBytes
	origin := newPeer(t, nodes[2], nil)
	put(t, origin.Store, object, "")
	p := &peer{Store: openStore(t, c), id: nodes[1].Self()}
	p.fetch(t, object, origin.id)
	if got := origin.metric(t, "sent_bytes_total"); got != float64(missing) {
		t.Fatalf("%v bytes sent, %d were missing", got, missing)
	}
}

// TestHearsay: a holder that has only a part, and changed its mind about the
// chain, is asked again before it is blamed.
func TestHearsay(t *testing.T) {
	object := noise(1, 4*ChunkBytes)
	c := chainOf(object)
	for _, honest := range []bool{true, false} {
		nodes := p2ptest.New(t, p2ptest.Config{}).AddMany(2)
		lists := 0
		l := &liar{object: object}
		l.list = func(stream p2p.Stream) error {
			lists++
			claim := lie(c, 1)
			if honest && lists > 1 {
				claim = c
			}
			_, err := stream.Write(listing{size: c.size, chain: claim, have: bitmap{15}}.frame())
			return err
		}
		nodes[0].Handle(Protocol, l.serve)
		p := newPeer(t, nodes[1], func(c *Config) { c.StreamsPerHolder = 1 })
		err := p.tryFetch(deadline(t), object, nodes[0].Self())
		want := "[]"
		if !honest {
			want = "[{n0 wrong}]"
		}
		if honest != (err == nil) || p.accused() != want {
			t.Fatal(honest, err, p.accused())
		}
	}
}
