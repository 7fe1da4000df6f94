package secret

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
)

// admin is a grid's, with what makes its card.
type admin struct {
	grid       p2p.GridID
	node       p2p.Key
	membership *p2p.Membership
	key        Key
}

func newAdmin(t testing.TB, grid p2p.Key, seed byte) *admin {
	t.Helper()
	node, err := p2p.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey([32]byte{seed})
	if err != nil {
		t.Fatal(err)
	}
	return &admin{grid: grid.GridID(), node: node, key: key, membership: p2p.Found(grid, node, time.Now())}
}

func newGrid(t testing.TB) p2p.Key {
	t.Helper()
	grid, err := p2p.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return grid
}

func (a *admin) card(t testing.TB) []byte {
	t.Helper()
	card, err := a.key.Card(a.grid, a.membership.Encode(), func(m []byte) ([]byte, error) { return a.node.Sign(m), nil })
	if err != nil {
		t.Fatal(err)
	}
	return card
}

func (a *admin) custodian(t testing.TB) Custodian {
	t.Helper()
	c, err := ReadCard(a.card(t), a.grid, time.Now(), nil)
	if err != nil || c.Node != ledger.NodeID(a.node.NodeID()) {
		t.Fatalf("%+v, %v", c, err)
	}
	return c
}

func binding() Binding {
	return Binding{Tenant: "acme", Name: "API_KEY", ID: [16]byte{1, 15: 2}, Nodes: []ledger.NodeID{"n1", "n2"}}
}

// TestSeal: each custodian opens what was sealed, for what it was sealed for and nothing
// else; and what is kept in the ledger does not hold the value.
func TestSeal(t *testing.T) {
	grid := newGrid(t)
	one, two, other := newAdmin(t, grid, 1), newAdmin(t, grid, 2), newAdmin(t, grid, 3)
	value := []byte("correct horse battery staple")
	sealed, keys, err := Seal(value, binding(), []Custodian{one.custodian(t), two.custodian(t)})
	if err != nil || len(keys) != 2 || len(sealed) > ledger.SecretBytesMax || bytes.Contains(sealed, value[:7]) {
		t.Fatalf("%d keys, %q, %v", len(keys), sealed, err)
	}
	for i, a := range []*admin{one, two} {
		k, err := a.key.Unwrap(binding(), keys[i].Sealed)
		if err != nil || len(keys[i].Sealed) > ledger.SecretKeyBytesMax {
			t.Fatal(err)
		}
		if got, err := k.Open(binding(), sealed); err != nil || !bytes.Equal(got, value) {
			t.Errorf("%q, %v", got, err)
		}
		changed := bytes.Clone(sealed)
		changed[len(changed)/2] ^= 1
		if _, err := k.Open(binding(), changed); !errors.Is(err, ErrSealed) {
			t.Errorf("a value that was changed: %v", err)
		}
	}
	if _, err := other.key.Unwrap(binding(), keys[0].Sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("somebody else's key: %v", err)
	}
	k, err := one.key.Unwrap(binding(), keys[0].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(b *Binding){
		"tenant": func(b *Binding) { b.Tenant = "zeta" },
		"name":   func(b *Binding) { b.Name = "API_KEYS" },
		"value":  func(b *Binding) { b.ID[0]++ },
		"a node": func(b *Binding) { b.Nodes = append(b.Nodes, "n3") },
		"nodes":  func(b *Binding) { b.Nodes = nil },
		"bounds": func(b *Binding) { b.Tenant, b.Name = "acmeA", "PI_KEY" },
	} {
		b := binding()
		change(&b)
		if _, err := one.key.Unwrap(b, keys[0].Sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("key for another %s: %v", what, err)
		}
		if _, err := k.Open(b, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("value for another %s: %v", what, err)
		}
	}
	again, err := k.Wrap(binding(), []Custodian{other.custodian(t)})
	if err != nil {
		t.Fatal(err)
	}
	if k, err := other.key.Unwrap(binding(), again[0].Sealed); err != nil {
		t.Error(err)
	} else if got, err := k.Open(binding(), sealed); err != nil || !bytes.Equal(got, value) {
		t.Errorf("sealed to another custodian later: %q, %v", got, err)
	}
}

// TestHidden: no way to print a key prints it.
func TestHidden(t *testing.T) {
	k := DataKey(bytes.Repeat([]byte{'k'}, 32))
	key, err := NewKey([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{k, &k, key, []DataKey{k}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "kkk") || strings.Contains(got, "6b6b") || strings.Contains(got, "107") || !strings.Contains(got, "hidden") {
				t.Errorf("%s: %s", verb, got)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for what, c := range map[string]struct {
		value string
		ok    bool
	}{
		"nothing":         {"", false},
		"a zero byte":     {"a\x00b", false},
		"not UTF-8":       {"a\xffb", false},
		"one byte":        {"a", true},
		"lines":           {"a\nb\n", true},
		"the largest":     {strings.Repeat("a", ValueBytesMax), true},
		"one byte larger": {strings.Repeat("a", ValueBytesMax+1), false},
	} {
		if err := Check([]byte(c.value)); c.ok != (err == nil) || err != nil && !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBadCards: a card is read only when an admin of the grid has signed its key.
func TestBadCards(t *testing.T) {
	grid, elsewhere := newGrid(t), newGrid(t)
	a, b := newAdmin(t, grid, 1), newAdmin(t, grid, 2)
	signed := func(by p2p.Key) func([]byte) ([]byte, error) {
		return func(m []byte) ([]byte, error) { return by.Sign(m), nil }
	}
	forge := func(key Key, grid p2p.GridID, m *p2p.Membership, by p2p.Key) []byte {
		card, err := key.Card(grid, m.Encode(), signed(by))
		if err != nil {
			t.Fatal(err)
		}
		return card
	}
	forged := *a.membership
	forged.Signature[0] ^= 1
	worker := *a.membership
	worker.Role = p2p.RoleWorker
	cards := map[string][]byte{
		"another grid's":             newAdmin(t, elsewhere, 1).card(t),
		"signed for another grid":    forge(a.key, elsewhere.GridID(), a.membership, a.node),
		"signed by another admin":    forge(a.key, a.grid, a.membership, b.node),
		"with a forged membership":   forge(a.key, a.grid, &forged, a.node),
		"with a worker's membership": forge(a.key, a.grid, &worker, a.node),
		"nothing":                    nil,
		"too long":                   bytes.Repeat([]byte{1}, ledger.CardBytesMax+1),
		"longer":                     append(a.card(t), 0),
	}
	card := a.card(t)
	for n := range card {
		cards[fmt.Sprint("the first bytes ", n)] = card[:n]
	}
	// The key of another admin under this one's signature.
	swapped := bytes.Replace(card, a.key.private.PublicKey().Bytes(), b.key.private.PublicKey().Bytes(), 1)
	cards["with another key"] = swapped
	for what, card := range cards {
		if c, err := ReadCard(card, a.grid, time.Now(), nil); !errors.Is(err, ErrCard) {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if len(card) > ledger.CardBytesMax {
		t.Errorf("a card has %d bytes", len(card))
	}
}

// FuzzCard: whatever is read, is read again from the same bytes only.
func FuzzCard(f *testing.F) {
	grid := newGrid(f)
	a := newAdmin(f, grid, 1)
	f.Add(a.card(f))
	f.Add([]byte{cardVersion, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := cutCard(b)
		if err != nil {
			if !errors.Is(err, ErrCard) {
				t.Fatal(err)
			}
			return
		}
		if n := 1 + 2*len(parts) + len(parts[0]) + len(parts[1]) + len(parts[2]); n != len(b) {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		if c, err := ReadCard(b, grid.GridID(), time.Now(), nil); err == nil && c.Node != ledger.NodeID(a.node.NodeID()) {
			t.Fatalf("a card of %s", c.Node)
		} else if err != nil && !errors.Is(err, ErrCard) {
			t.Fatal(err)
		}
	})
}

// TestDerived: keys of other seeds are others.
func TestDerived(t *testing.T) {
	a, errA := NewKey([32]byte{1})
	b, errB := NewKey([32]byte{1})
	c, errC := NewKey([32]byte{2})
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	public := func(k Key) string { return string(k.private.PublicKey().Bytes()) }
	if public(a) != public(b) || public(a) == public(c) || len(public(a)) <= ed25519.PublicKeySize {
		t.Error("keys do not follow from their seeds")
	}
}
