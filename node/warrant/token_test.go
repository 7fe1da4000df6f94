package warrant

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ucan-wg/go-ucan/pkg/command"
	"github.com/ucan-wg/go-ucan/pkg/policy"
	"github.com/ucan-wg/go-ucan/pkg/policy/literal"
	"github.com/ucan-wg/go-ucan/token/delegation"
)

// root is a root's key.
type root struct{ private ed25519.PrivateKey }

func newRoot(t testing.TB) root {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return root{private}
}

func (r root) Public() [32]byte { return [32]byte(r.private.Public().(ed25519.PublicKey)) }

func (r root) Sign(message []byte) [64]byte { return [64]byte(ed25519.Sign(r.private, message)) }

func module(digit string) string { return modulePrefix + strings.Repeat(digit, 64) }

// issue makes a tenant's first token.
func issue(t testing.TB, r root, tenant string) Token {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Found(r, nil, key.Public(), tenant, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := New(c, key)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func narrow(t testing.TB, from Token, l Limits) Token {
	t.Helper()
	made, err := from.Narrow(l)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// host is where the calls of these tests go.
const host = "node.example:4611"

var (
	reading = Call{Host: host, Method: "GET", Path: "/v1/jobs"}
	writing = Call{Host: host, Method: "POST", Path: "/v1/jobs"}
)

func verifier(r root) *Verifier { return NewVerifier(Roots{Grid: r.Public()}, time.Now()) }

func TestNarrow(t *testing.T) {
	r := newRoot(t)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	whole := issue(t, r, "acme")
	some := narrow(t, whole, Limits{Command: Run, Modules: []string{module("b"), module("a")}, Until: until})
	less := narrow(t, some, Limits{Modules: []string{module("b"), module("c")}, Until: until.Add(time.Hour)})
	for name, c := range map[string]struct {
		token Token
		want  string
	}{
		"whole": {whole, "acme / [] never 1"},
		"some":  {some, fmt.Sprint("acme /run ", []string{module("a"), module("b")}, " in time 2")},
		"less":  {less, fmt.Sprint("acme /run ", []string{module("b")}, " in time 3")},
	} {
		read, err := Parse(c.token.Text())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g, err := verifier(r).Verify(mint(t, read, Call{Host: host}), reading, time.Now())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		end := "never"
		if g.Until.Equal(until) {
			end = "in time"
		}
		if got := fmt.Sprint(g.Tenant, " ", g.Command, " ", g.Modules, " ", end, " ", len(g.IDs)); got != c.want {
			t.Errorf("%s allows %s, want %s", name, got, c.want)
		}
		if g.IDs[0] != whole.Grant().IDs[0] {
			t.Errorf("%s: the first delegation is another one", name)
		}
	}
	if _, err := some.Narrow(Limits{Command: All}); !errors.Is(err, ErrWidened) {
		t.Errorf("everything out of run: %v", err)
	}
	if g := some.Grant(); g.Allows(Read) || !g.Allows(Run) || g.Allows(All) {
		t.Error("run is not what it allows")
	}
}

// hanging returns a token of from's chain with one more link, made with the library
// and without this package's checks.
func hanging(t testing.TB, from Token, cmd string, pol policy.Policy, opts ...delegation.Option) (Chain, Key) {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	link, err := delegation.New(from.key.name(), key.name(), command.Command(cmd), pol, nameOf(from.Grant().Root), opts...)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := link.ToSealed(from.key.private)
	if err != nil {
		t.Fatal(err)
	}
	return Chain{links: append(append([][]byte{}, from.chain.links...), sealed)}, key
}

// TestBadChains: what is wrong with a chain is found when it is opened.
func TestBadChains(t *testing.T) {
	r, other := newRoot(t), newRoot(t)
	whole := issue(t, r, "acme")
	run := narrow(t, whole, Limits{Command: Run})
	ofOther := issue(t, other, "acme")
	with := func(c Chain, _ Key) Chain { return c }
	flipped := func() Chain {
		link := append([]byte(nil), whole.chain.links[0]...)
		link[5] ^= 1
		return Chain{links: [][]byte{link}}
	}
	long := whole
	for len(long.chain.links) < LinksMax {
		long = narrow(t, long, Limits{})
	}
	if _, err := long.Narrow(Limits{}); !errors.Is(err, ErrTooLong) {
		t.Errorf("narrowed once too often: %v", err)
	}
	powerline, err := delegation.Powerline(whole.key.name(), run.key.name(), All, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := powerline.ToSealed(whole.key.private)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		chain Chain
		want  error
	}{
		"no delegations":              {Chain{}, ErrMalformed},
		"a bit is changed":            {flipped(), ErrForged},
		"garbage":                     {Chain{links: [][]byte{[]byte("garbage")}}, ErrMalformed},
		"empty":                       {Chain{links: [][]byte{{}}}, ErrMalformed},
		"widened to everything":       {with(hanging(t, run, All, nil)), ErrWidened},
		"widened to a sibling":        {with(hanging(t, run, Read, nil)), ErrWidened},
		"for another tenant":          {with(hanging(t, whole, All, policy.MustConstruct(policy.Equal(selectTenant, literal.String("other"))))), ErrWidened},
		"with a condition of its own": {with(hanging(t, whole, All, policy.MustConstruct(policy.Like(".path", "*")))), ErrCondition},
		"with any of no modules":      {with(hanging(t, whole, All, policy.MustConstruct(policy.Or()))), ErrCondition},
		"good for all subjects":       {Chain{links: [][]byte{whole.chain.links[0], sealed}}, ErrForged},
		"the middle is missing":       {Chain{links: [][]byte{whole.chain.links[0], narrow(t, run, Limits{}).chain.links[2]}}, ErrForged},
		"of two grids":                {Chain{links: [][]byte{whole.chain.links[0], narrow(t, ofOther, Limits{}).chain.links[1]}}, ErrForged},
		"too many":                    {Chain{links: append(append([][]byte{}, long.chain.links...), nil)}, ErrMalformed},
		"too large":                   {Chain{links: [][]byte{make([]byte, LinkBytesMax+1)}}, ErrMalformed},
		"deep":                        {Chain{links: [][]byte{append([]byte(strings.Repeat("\x81", 1000)), 0)}}, ErrMalformed},
		"no tenant":                   {tenantless(t, r), ErrCondition},
		"in other bytes":              {Chain{links: [][]byte{otherBytes(t, whole.chain.links[0])}}, ErrMalformed},
	} {
		if _, err := c.chain.open(nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := DecodeChain(Chain{links: make([][]byte, LinksMax+1)}.Encode()); !errors.Is(err, ErrTooLong) {
		t.Errorf("too many: %v", err)
	}
}

// tenantless makes a chain that names no tenant.
func tenantless(t *testing.T, r root) Chain {
	t.Helper()
	link, err := delegation.Root(nameOf(r.Public()), nameOf(newRoot(t).Public()), All, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := link.ToSealed(rootKey{r})
	if err != nil {
		t.Fatal(err)
	}
	return Chain{links: [][]byte{sealed}}
}

// otherBytes writes a link so that the library reads the same, with a good
// signature: its list of two as one whose length takes a byte of its own.
func otherBytes(t *testing.T, link []byte) []byte {
	t.Helper()
	if link[0] != 0x82 {
		t.Fatalf("a link begins with %x", link[0])
	}
	// A map's keys in another order are read as well.
	node, err := ipld.Decode(link, dagcbor.Decode)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := node.LookupByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := node.LookupByIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	out := append([]byte{0x82}, encode(t, signature)...)
	out = append(out, 0xa0|byte(inner.Length()))
	var pairs [][]byte
	for it := inner.MapIterator(); !it.Done(); {
		k, v, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, append(encode(t, k), encode(t, v)...))
	}
	for i := len(pairs) - 1; i >= 0; i-- {
		out = append(out, pairs[i]...)
	}
	if _, _, err := delegation.FromSealed(out); err != nil {
		t.Fatalf("the library does not take them: %v", err)
	}
	return out
}

func encode(t *testing.T, n datamodel.Node) []byte {
	t.Helper()
	b, err := ipld.Encode(n, dagcbor.Encode)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAdmin: an admin's tokens are good while the admin is one.
func TestAdmin(t *testing.T) {
	grid, admin := newRoot(t), newRoot(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Found(admin, []byte("membership"), key.Public(), "acme", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := New(c, key)
	if err != nil {
		t.Fatal(err)
	}
	var out error
	v := NewVerifier(Roots{Grid: grid.Public(), Admin: func(proof []byte, _ time.Time) ([32]byte, error) {
		if string(proof) != "membership" {
			t.Errorf("%q is the proof", proof)
		}
		return admin.Public(), out
	}}, time.Now())
	shown := mint(t, made, Call{Host: host})
	g, err := v.Verify(shown, reading, time.Now())
	if err != nil || !g.Admin || g.Root != admin.Public() {
		t.Errorf("%+v, %v", g, err)
	}
	out = errors.New("expelled")
	if _, err := v.Verify(mint(t, made, Call{Host: host}), reading, time.Now()); !errors.Is(err, ErrOtherGrid) {
		t.Errorf("by an admin that was expelled: %v", err)
	}
	if _, err := v.Verify(shown, reading, time.Now()); !errors.Is(err, ErrOtherGrid) {
		t.Errorf("a proof that was shown before: %v", err)
	}
	if _, err := verifier(grid).Verify(mint(t, made, Call{Host: host}), reading, time.Now()); !errors.Is(err, ErrOtherGrid) {
		t.Errorf("where no admins are known: %v", err)
	}
	bare, err := New(Chain{links: c.links}, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(mint(t, bare, Call{Host: host}), reading, time.Now()); !errors.Is(err, ErrOtherGrid) {
		t.Errorf("without the membership: %v", err)
	}
}

// TestSecret: nothing prints a token but Text.
func TestSecret(t *testing.T) {
	made := issue(t, newRoot(t), "acme")
	seed := made.key.private.Seed()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("token", "token", made, "key", made.key, "in", struct{ T Token }{made})
	j, err := json.Marshal(map[string]any{"token": made, "key": made.key})
	if err != nil {
		t.Fatal(err)
	}
	_, failed := Parse(made.Text()[:len(made.Text())-3] + "!!!")
	all := fmt.Sprintf("%v %+v %#v %s %q %x %d", made, made, made, made, made, made, made) +
		fmt.Sprintf("%v %+v %#v %s %x %d", made.key, made.key, made.key, made.key, made.key, made.key) +
		fmt.Sprint(&made, []Token{made}, failed) + log.String() + string(j)
	all += Redact("a token " + made.Text() + ", and a part of it " + made.Text()[:40] + ".")
	for _, secret := range []string{
		made.Text(), made.Text()[:40], strings.TrimPrefix(made.Text(), Prefix), string(seed), fmt.Sprintf("%x", seed),
		strings.Trim(fmt.Sprintf("%d", seed[:8]), "[]"),
		base64.StdEncoding.EncodeToString(seed), base64.RawURLEncoding.EncodeToString(append([]byte{textVersion}, seed[:29]...)),
	} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in %s", secret, all)
		}
	}
}
