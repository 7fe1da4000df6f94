package capacity

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/google/go-cmp/cmp"
)

// keys are those that were made before: it takes as long as to verify.
var keys sync.Map

// key returns the key of a node, which is the same in every run.
func key(id p2p.NodeID) ed25519.PrivateKey {
	if made, ok := keys.Load(id); ok {
		return made.(ed25519.PrivateKey)
	}
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, id)
	made := ed25519.NewKeyFromSeed(seed)
	keys.Store(id, made)
	return made
}

func signer(id p2p.NodeID) func([]byte) ([]byte, error) {
	return func(message []byte) ([]byte, error) { return ed25519.Sign(key(id), message), nil }
}

func verify(id p2p.NodeID, message, signature []byte) error {
	if !ed25519.Verify(key(id).Public().(ed25519.PublicKey), message, signature) {
		return errors.New("wrong signature")
	}
	return nil
}

var (
	testGrid = p2p.GridID{1, 2, 3}
	start    = time.UnixMilli(1_800_000_000_000)
)

// clock is a board's time.
type clock struct{ at time.Time }

func testBoard(nodes int) (*Board, *clock) {
	c := &clock{start}
	config := Default()
	config.Grid, config.NodesMax, config.Verify = testGrid, nodes, verify
	config.now = func() time.Time { return c.at }
	return newBoard(&config), c
}

func sealed(t testing.TB, grid p2p.GridID, s stamp, body []byte) []byte {
	t.Helper()
	raw, err := seal(grid, s, body, signer(s.node))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fullOffer() Offer {
	return Offer{
		FuelRate: 3e9, MemoryBytes: 8 << 30, DiskBytes: 1 << 40, Slots: 7, Wait: 1500 * time.Millisecond, BusyFor: time.Minute,
		Capabilities: []string{"simd", "http"}, Labels: []Label{{"zone", "oslo"}, {"empty", ""}},
	}
}

func TestRecordsComeThrough(t *testing.T) {
	b, c := testBoard(10)
	offer := fullOffer()
	stamp := stamp{kind: kindOffer, node: "n1", sequence: 5, at: start.Add(-time.Second), ttl: 30 * time.Second}
	if at, err := b.put(sealed(t, testGrid, stamp, offer.encode())); err != nil || at != (slot{"n1", kindOffer}) {
		t.Fatal(at, err)
	}
	stamp.kind, stamp.ttl = kindHolding, time.Hour
	if _, err := b.put(sealed(t, testGrid, stamp, []byte("filter"))); err != nil {
		t.Fatal(err)
	}
	want := Entry{Node: "n1", Offer: offer, Held: []byte("filter"), At: start, Until: start.Add(30 * time.Second)}
	if diff := cmp.Diff([]Entry{want}, b.List()); diff != "" {
		t.Error(diff)
	}
	c.at = start.Add(30 * time.Second)
	if _, ok := b.Find("n1"); ok || len(b.List()) != 0 {
		t.Error("an expired offer is still on the board")
	}
}

func TestForget(t *testing.T) {
	b, _ := testBoard(1)
	for _, id := range []p2p.NodeID{"n1", "n2"} {
		s := stamp{kind: kindOffer, node: id, sequence: 5, at: start, ttl: 30 * time.Second}
		if _, err := b.put(sealed(t, testGrid, s, (&Offer{}).encode())); err != nil {
			t.Fatal(id, err) // n2 has the room that n1 had
		}
		b.Forget(id)
		if _, there := b.Find(id); there || len(b.List()) != 0 || len(b.slots()) != 0 {
			t.Errorf("%s is still on the board", id)
		}
	}
	b.Forget("n3")
}

func TestRefusals(t *testing.T) {
	good := stamp{kind: kindOffer, node: "n1", sequence: 5, at: start, ttl: 30 * time.Second}
	body := (&Offer{Slots: 1}).encode()
	with := func(change func(s *stamp)) []byte {
		s := good
		change(&s)
		return sealed(t, testGrid, s, body)
	}
	raw := with(func(*stamp) {})
	signature := bytes.Clone(raw)
	signature[len(signature)-1] ^= 1
	unversioned := bytes.Clone(raw)
	unversioned[1] = version + 1
	tests := []struct {
		name string
		raw  []byte
		want error
	}{
		{"good", raw, nil},
		{"another grid", sealed(t, p2p.GridID{9}, good, body), ErrForged},
		{"signature", signature, ErrForged},
		{"no signature", raw[:len(raw)-ed25519.SignatureSize], ErrMalformed},
		{"version", unversioned, ErrVersion},
		{"empty", nil, ErrMalformed},
		{"unknown kind", with(func(s *stamp) { s.kind = 9 }), ErrMalformed},
		{"no node", with(func(s *stamp) { s.node = "" }), ErrMalformed},
		{"long node", with(func(s *stamp) { s.node = p2p.NodeID(strings.Repeat("n", nodeBytesMax+1)) }), ErrMalformed},
		{"short life", with(func(s *stamp) { s.ttl = TTLMin - time.Millisecond }), ErrMalformed},
		{"long life", with(func(s *stamp) { s.ttl = TTLMax + time.Millisecond }), ErrMalformed},
		{"no offer", sealed(t, testGrid, good, []byte("x")), ErrMalformed},
		{"trailing", sealed(t, testGrid, good, append(bytes.Clone(body), 0)), ErrMalformed},
		{"huge offer", sealed(t, testGrid, good, make([]byte, OfferBytesMax+1)), ErrMalformed},
		{"expired", with(func(s *stamp) { s.at = start.Add(-s.ttl - ClockSkewMax) }), ErrExpired},
		{"clock behind", with(func(s *stamp) { s.at = start.Add(-s.ttl - ClockSkewMax + time.Second) }), nil},
		{"future", with(func(s *stamp) { s.at = start.Add(ClockSkewMax + time.Second) }), ErrFuture},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := testBoard(1)
			if _, err := b.put(tt.raw); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if listed := len(b.List()); (tt.want == nil) != (listed == 1) {
				t.Errorf("%d nodes on the board", listed)
			}
		})
	}
}

// TestReplay shows old records to a board again, at every later time.
func TestReplay(t *testing.T) {
	b, c := testBoard(10)
	var old [][]byte
	for i := range 5 {
		s := stamp{kind: kindOffer, node: "n1", sequence: uint64(i), at: start, ttl: time.Duration(i+1) * 10 * time.Second}
		old = append(old, sealed(t, testGrid, s, (&Offer{Slots: uint32(i)}).encode()))
	}
	for _, raw := range old {
		if _, err := b.put(raw); err != nil {
			t.Fatal(err)
		}
	}
	end := start.Add(10 * time.Minute)
	for ; c.at.Before(end); c.at = c.at.Add(time.Second) {
		b.List()
		for i, raw := range old {
			if _, err := b.put(raw); !errors.Is(err, ErrReplayed) && !errors.Is(err, ErrExpired) {
				t.Fatalf("record %d after %v: %v", i, c.at.Sub(start), err)
			}
		}
	}
}

func TestBoardIsBounded(t *testing.T) {
	b, c := testBoard(3)
	put := func(i int) error {
		s := stamp{kind: kindOffer, node: p2p.NodeID(fmt.Sprint("n", i)), sequence: 1, at: c.at, ttl: TTLMin}
		_, err := b.put(sealed(t, testGrid, s, (&Offer{}).encode()))
		return err
	}
	for i := range 3 {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(3); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	c.at = c.at.Add(TTLMin + ClockSkewMax)
	if err := put(3); err != nil {
		t.Fatal(err)
	}
	if kept := b.slots(); !slices.Equal(kept, []slot{{"n3", kindOffer}}) {
		t.Errorf("records are %v", kept)
	}
}

func TestOfferValidate(t *testing.T) {
	many := make([]string, WordsMax+1)
	tests := []struct {
		name  string
		offer Offer
	}{
		{"capabilities", Offer{Capabilities: many}},
		{"labels", Offer{Labels: make([]Label, WordsMax+1)}},
		{"word", Offer{Labels: []Label{{"k", strings.Repeat("x", WordBytesMax+1)}}}},
		{"negative", Offer{Wait: -1}},
		{"size", Offer{Capabilities: slices.Repeat([]string{strings.Repeat("x", WordBytesMax)}, WordsMax)}},
	}
	for _, tt := range tests {
		if tt.offer.Validate() == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	if o := fullOffer(); o.Validate() != nil {
		t.Error(o.Validate())
	}
}

// FuzzPut: whatever arrives is refused by one of the package's errors.
func FuzzPut(f *testing.F) {
	offer := fullOffer()
	s := stamp{kind: kindOffer, node: "n1", sequence: 5, at: start, ttl: 30 * time.Second}
	f.Add(sealed(f, testGrid, s, offer.encode()))
	s.kind = kindHolding
	f.Add(sealed(f, testGrid, s, []byte("filter")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, _ := testBoard(1)
		_, err := b.put(raw)
		for _, known := range []error{ErrMalformed, ErrVersion, ErrForged, ErrExpired, ErrFuture} {
			if errors.Is(err, known) {
				return
			}
		}
		if err != nil {
			t.Errorf("error without a name: %v", err)
		}
	})
}

// FuzzOffer: what decodes encodes to the same offer.
func FuzzOffer(f *testing.F) {
	offer := fullOffer()
	f.Add(offer.encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := decodeOffer(body)
		if err != nil {
			return
		}
		again, err := decodeOffer(o.encode())
		if err != nil || !cmp.Equal(o, again) {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}
