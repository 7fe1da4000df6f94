package keeper

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// fakePeers answers what it is told to.
type fakePeers struct {
	answer []byte
	err    error
}

func (f *fakePeers) Call(context.Context, p2p.NodeID, string, []byte) ([]byte, error) {
	return f.answer, f.err
}

// TestHostile: what a node is asked to keep, and does not, is refused with a code.
func TestHostile(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := newGrid(t, 2, func(c *Config, s *content.Config) {
		c.CallTimeout, s.ObjectBytesMax, s.PinsMax, s.BytesMax = 20*time.Millisecond, 1<<20, 3, 8<<20
		c.Registerer = registry
	})
	id := g.book.job(1)
	small := noise(1, 100)
	good := request{kind: kindResult, job: id, hash: content.Sum(small), bytes: 100, small: small}
	ask := func(change func(q *request)) error {
		q := good
		change(&q)
		_, err := g.nodes[0].rpc.Call(t.Context(), "n1", keepMethod, q.encode())
		return err
	}
	for name, tt := range map[string]struct {
		change func(q *request)
		code   string
	}{
		"another object":          {func(q *request) { q.hash[0]++ }, "wrong_hash"},
		"unknown job":             {func(q *request) { q.job[0]++ }, "unknown"},
		"job to come":             {func(q *request) { q.job[0]++; q.index = math.MaxUint64 }, "failed"},
		"unknown module":          {func(q *request) { q.kind, q.job = kindModule, ledger.JobID{} }, "unknown"},
		"module of a job":         {func(q *request) { q.kind = kindModule }, "malformed"},
		"kind":                    {func(q *request) { q.kind = 9 }, "malformed"},
		"half of it":              {func(q *request) { q.small = q.small[:50] }, "malformed"},
		"nothing":                 {func(q *request) { q.bytes, q.small = 0, nil }, "malformed"},
		"more than there can be":  {func(q *request) { q.bytes, q.small = math.MaxUint64, nil }, "malformed"},
		"more than there is room": {func(q *request) { q.bytes, q.small = 1<<30, nil }, "full"},
		"what nobody has":         {func(q *request) { q.small = nil }, "not_given"},
	} {
		err := ask(tt.change)
		if refusal(err) != tt.code || err == nil {
			t.Errorf("%s: %v, want code %s", name, err, tt.code)
		}
		if list := g.nodes[1].store.Owners(""); len(list) > 0 {
			t.Fatalf("%s: pinned for %s", name, list)
		}
	}
	large := g.nodes[0].put(noise(2, 1<<20), ownerOf(id))
	if err := ask(func(q *request) { q.hash, q.bytes, q.small = large, 1000, nil }); refusal(err) != "too_large" {
		t.Errorf("an object larger than was said: %v", err)
	}
	if _, err := g.nodes[0].rpc.Call(t.Context(), "n1", keepMethod, make([]byte, headBytes+SmallBytesMax+1)); !errors.Is(err, rpc.ErrRequestTooLarge) {
		t.Errorf("a request that is too large: %v", err)
	}
	if _, err := g.nodes[0].rpc.Call(t.Context(), "n1", holdMethod, make([]byte, 20)); refusal(err) != "malformed" {
		t.Errorf("half a question: %v", err)
	}
	for i := range 4 {
		b := noise(uint64(10+i), 10)
		err := ask(func(q *request) { q.hash, q.bytes, q.small = content.Sum(b), 10, b })
		if full := i == 3; full != (refusal(err) == "too_many") || !full && err != nil {
			t.Errorf("object %d of 3: %v", i, err)
		}
	}
	if refused(t, registry) < 12 {
		t.Errorf("%v refusals are counted", refused(t, registry))
	}
	g.nodes[1].serving.Store(nil)
	if err := ask(func(*request) {}); refusal(err) != "closing" {
		t.Errorf("a node without a keeper: %v", err)
	}
}

// refused sums the metric of refusals up.
func refused(t *testing.T, registry *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "dugnad_keeper_copies_refused_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestRoles: only workers may ask.
func TestRoles(t *testing.T) {
	g := newGrid(t, 1, nil)
	c := rpc.Default()
	c.Network = g.network.Add("client", p2p.RoleClient)
	client, err := rpc.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, m := range []string{keepMethod, holdMethod} {
		if _, err := client.Call(t.Context(), "n0", m, []byte{wireVersion}); !errors.Is(err, rpc.ErrNotAllowed) {
			t.Errorf("%s by a client: %v", m, err)
		}
	}
}

// TestFull: copies for others leave the room that is reserved, and a full disk is
// said so.
func TestFull(t *testing.T) {
	g := newGrid(t, 2, func(c *Config, s *content.Config) { c.ReserveBytes, s.BytesMax = 4<<20, 4<<20 })
	id := g.book.job(1)
	b := noise(1, 100)
	q := request{kind: kindResult, job: id, hash: content.Sum(b), bytes: 100, small: b}
	if _, err := g.nodes[0].rpc.Call(t.Context(), "n1", keepMethod, q.encode()); refusal(err) != "full" || !errors.Is(err, ErrFull) {
		t.Errorf("nothing to spare: %v", err)
	}
	if node, err := g.nodes[0].keeper.give(t.Context(), &q); node != "" || !errors.Is(err, ErrFull) {
		t.Errorf("kept by %q, %v", node, err)
	}
}

// TestWrongAnswer: a node that says anything of what it holds harms nobody else.
func TestWrongAnswer(t *testing.T) {
	k := newKeeper(testConfig())
	k.config.Peers = &fakePeers{answer: make([]byte, 5)}
	list := []patient{{question: question{kind: kindModule}}}
	if held, err := k.question(t.Context(), "n1", list); !errors.Is(err, errLength) || len(held) > 0 {
		t.Errorf("%v, %v", held, err)
	}
	k.config.Peers = &fakePeers{answer: []byte{7}}
	if held, err := k.question(t.Context(), "n1", list); err != nil || len(held) > 0 {
		t.Errorf("%v, %v", held, err)
	}
}

// FuzzRequest: what is read is what would be written, and nothing else is read.
func FuzzRequest(f *testing.F) {
	q := request{kind: kindResult, job: ledger.JobID{1}, hash: content.Hash{2}, bytes: 3, index: 4, small: []byte("abc")}
	f.Add(q.encode())
	f.Add((&request{kind: kindModule, hash: content.Hash{2}, bytes: 1 << 30}).encode())
	f.Add(encodeQuestions([]question{{kindModule, ledger.JobID{}, content.Hash{1}}, {kindResult, ledger.JobID{3}, content.Hash{4}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeRequest(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Errorf("%x is read as %+v", b, q)
		} else if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
		if list, err := decodeQuestions(b); err == nil && (!bytes.Equal(encodeQuestions(list), b) || len(list) > pageMax) {
			t.Errorf("%x is read as %+v", b, list)
		} else if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	})
}
