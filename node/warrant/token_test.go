package warrant

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
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

func (r root) Public() [32]byte             { return [32]byte(r.private.Public().(ed25519.PublicKey)) }
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

func mint(t testing.TB, from Token, c Call) string {
	t.Helper()
	proof, err := from.Mint(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return proof
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

// TestBadProofs: the requests that a node refuses.
func TestBadProofs(t *testing.T) {
	r, other := newRoot(t), newRoot(t)
	whole, now := issue(t, r, "acme"), time.Now()
	soon := narrow(t, whole, Limits{Until: now.Add(time.Hour)})
	proof := mint(t, whole, writing)
	text := strings.TrimPrefix(proof, Scheme+" ")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	// The chain of one tenant with the invocation of another.
	theirs, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(mint(t, issue(t, r, "other"), writing), Scheme+" "))
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseProof(Scheme + " " + base64.RawURLEncoding.EncodeToString(theirs))
	if err != nil {
		t.Fatal(err)
	}
	stolen := append(append([]byte{}, theirs[:3+len(p.call)]...), whole.chain.Encode()...)
	changed := append([]byte{}, raw...)
	changed[10] ^= 1
	early, err := whole.Mint(writing, now.Add(-ProofLife-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		proof string
		call  Call
		at    time.Time
		want  error
	}{
		"nothing":            {"", writing, now, ErrMalformed},
		"another scheme":     {"Bearer " + text, writing, now, ErrMalformed},
		"garbage":            {Scheme + " garbage", writing, now, ErrMalformed},
		"not base64":         {Scheme + " ***", writing, now, ErrMalformed},
		"the token itself":   {Scheme + " " + whole.Text(), writing, now, ErrMalformed},
		"too long":           {Scheme + " " + strings.Repeat("A", 2*ProofBytesMax), writing, now, ErrMalformed},
		"cut short":          {Scheme + " " + text[:len(text)-8], writing, now, ErrMalformed},
		"a bit is changed":   {Scheme + " " + base64.RawURLEncoding.EncodeToString(changed), writing, now, ErrForged},
		"of another chain":   {Scheme + " " + base64.RawURLEncoding.EncodeToString(stolen), writing, now, ErrForged},
		"of another grid":    {mint(t, issue(t, other, "acme"), writing), writing, now, ErrOtherGrid},
		"for another host":   {mint(t, whole, Call{"evil.example", "POST", "/v1/jobs"}), writing, now, ErrOtherCall},
		"for another method": {mint(t, whole, Call{host, "PUT", "/v1/jobs"}), writing, now, ErrOtherCall},
		"for another path":   {mint(t, whole, Call{host, "POST", "/v1/objects"}), writing, now, ErrOtherCall},
		"for reading":        {mint(t, whole, Call{Host: host}), writing, now, ErrOtherCall},
		"the proof is over":  {mint(t, whole, writing), writing, now.Add(ProofLife + 2*time.Second), ErrExpired},
		"it was over before": {early, writing, now, ErrExpired},
		"made in the future": {mint(t, whole, writing), writing, now.Add(-clockSkewMax - 2*time.Second), ErrExpired},
		"the token is over":  {mint(t, soon, writing), writing, now.Add(2 * time.Hour), ErrExpired},
	} {
		if g, err := verifier(r).Verify(c.proof, c.call, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, g, err, c.want)
		}
	}
}

// TestCaught: a panic over what a stranger has sent is an error, and nothing is let in.
func TestCaught(t *testing.T) {
	verify := func() (out *verified, err error) {
		defer caught(&err)
		panic("what the library did not expect")
	}
	if out, err := verify(); out != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("%v, %v", out, err)
	}
}

// TestReplay: what may be used once is, by whichever node remembers it.
func TestReplay(t *testing.T) {
	r := newRoot(t)
	whole, now := issue(t, r, "acme"), time.Now()
	v, proof := verifier(r), mint(t, whole, writing)
	if _, err := v.Verify(proof, writing, now); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(proof, writing, now); !errors.Is(err, ErrReplayed) {
		t.Errorf("used again: %v", err)
	}
	read := mint(t, whole, Call{Host: host})
	for range 2 {
		if _, err := v.Verify(read, reading, now); err != nil {
			t.Errorf("to read is good more than once: %v", err)
		}
	}
	// What is remembered of it is good for no more than the proof.
	for name, c := range map[string]struct {
		call Call
		at   time.Time
		want error
	}{
		"to write":        {writing, now, ErrOtherCall},
		"at another host": {Call{"evil.example", "GET", "/v1/jobs"}, now, ErrOtherCall},
		"when it is over": {reading, now.Add(ProofLife + time.Second), ErrExpired},
	} {
		if _, err := v.Verify(read, c.call, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// A node that starts does not know what was used before.
	restarted := NewVerifier(Roots{Grid: r.Public()}, now.Add(2*time.Second))
	if _, err := restarted.Verify(mint(t, whole, writing), writing, now.Add(time.Second)); !errors.Is(err, ErrReplayed) {
		t.Errorf("made before the node started: %v", err)
	}
	if s := v.Stats(); s != (Stats{1, 1, 1}) {
		t.Errorf("it holds %+v", s)
	}
	v.forget(now.Add(10 * time.Minute).Unix())
	if s := v.Stats(); s != (Stats{1, 1, 0}) || len(v.held) != 0 {
		t.Errorf("later it holds %+v, %v", s, v.held)
	}
}

// TestFull: the memory of proofs is bounded, and one tenant does not fill it.
func TestFull(t *testing.T) {
	v, now := verifier(newRoot(t)), time.Now()
	fill := func(tenant string, first byte, n int) (err error) {
		for i := 0; i < n && err == nil; i++ {
			err = v.spend(&verified{once: true, id: [16]byte{first, byte(i), byte(i >> 8), byte(i >> 16)}, made: now}, tenant, now)
		}
		return err
	}
	if err := fill("a", 1, ProofsTenantMax); err != nil {
		t.Fatal(err)
	}
	if err := v.spend(&verified{once: true, id: [16]byte{9}, made: now}, "a", now); !errors.Is(err, ErrFull) {
		t.Errorf("one more of the tenant: %v", err)
	}
	if err := v.spend(&verified{once: true, id: [16]byte{9}, made: now}, "b", now); err != nil {
		t.Errorf("one of another tenant: %v", err)
	}
	if err := v.spend(&verified{once: true, id: [16]byte{10}, made: now}, "a", now.Add(10*time.Minute)); err != nil {
		t.Errorf("when the others are over: %v", err)
	}
}

// TestChainsKept: a chain is opened once, and the memory of chains is bounded.
func TestChainsKept(t *testing.T) {
	r := newRoot(t)
	v, now := verifier(r), time.Now()
	whole := issue(t, r, "acme")
	first, err := v.open(whole.chain.Encode(), now)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v.open(whole.chain.Encode(), now); err != nil || again != first {
		t.Errorf("it was opened twice: %v", err)
	}
	for i := range ChainsMax - 1 {
		v.chains.put([32]byte{byte(i), byte(i >> 8), 1}, first)
	}
	if _, err := v.open(issue(t, r, "other").chain.Encode(), now); err != nil {
		t.Fatal(err)
	}
	if n := v.Stats().Chains; n != ChainsMax || v.chains.order.Len() != n {
		t.Errorf("%d chains are kept, the limit is %d", n, ChainsMax)
	}
	if again, err := v.open(whole.chain.Encode(), now); err != nil || again == first {
		t.Errorf("the one that was used longest ago is kept: %v", err)
	}
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

// FuzzProof: whatever a stranger sends, it is refused, with an error of this package.
func FuzzProof(f *testing.F) {
	r, other := newRoot(f), newRoot(f)
	whole := issue(f, other, "acme")
	for _, seed := range []Token{whole, narrow(f, whole, Limits{Command: Run, Modules: []string{module("a")}, Until: time.Now().Add(time.Hour)})} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(mint(f, seed, writing), Scheme+" "))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{textVersion, 0, 1, 0x80, 0, 0, 1, 0, 1, 0x80})
	v := verifier(r)
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := Scheme + " " + base64.RawURLEncoding.EncodeToString(raw)
		_, err := v.Verify(text, writing, time.Now())
		for _, known := range []error{ErrMalformed, ErrForged, ErrWidened, ErrCondition, ErrOtherGrid} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("a stranger's proof: %v", err)
	})
}

// FuzzCall: an invocation of a stranger's making beside a good chain is refused.
func FuzzCall(f *testing.F) {
	r := newRoot(f)
	whole := issue(f, r, "acme")
	o, err := whole.chain.open(nil)
	if err != nil {
		f.Fatal(err)
	}
	p, err := parseProof(mint(f, issue(f, r, "other"), writing))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.call)
	f.Fuzz(func(t *testing.T, call []byte) {
		if _, err := o.verify(proof{call: call}, writing, time.Now()); err == nil {
			t.Errorf("%x is taken", call)
		}
	})
}

// FuzzParse: a token's text is refused, or read to what has the same text.
func FuzzParse(f *testing.F) {
	whole := issue(f, newRoot(f), "acme")
	for _, seed := range []Token{whole, narrow(f, whole, Limits{Command: Read})} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(seed.Text(), Prefix))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := Prefix + base64.RawURLEncoding.EncodeToString(raw)
		made, err := Parse(text)
		switch {
		case err == nil && made.Text() != text:
			t.Errorf("%s is read as %s", text, made.Text())
		case err != nil && strings.Contains(err.Error(), text):
			t.Errorf("the error shows the token: %v", err)
		}
	})
}

// FuzzChain: a chain is refused, or read to what is encoded alike.
func FuzzChain(f *testing.F) {
	whole := issue(f, newRoot(f), "acme")
	f.Add(whole.chain.Encode())
	f.Add(narrow(f, whole, Limits{Command: Read, Modules: []string{module("1"), module("2")}}).chain.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChain(b)
		if err != nil {
			return
		}
		if got := c.Encode(); string(got) != string(b) {
			t.Errorf("%x is read as %x", b, got)
		}
		if o, err := c.open(nil); err == nil && (o.grant.Tenant == "" || len(o.grant.IDs) != len(c.links)) {
			t.Errorf("%x allows %+v", b, o.grant)
		}
	})
}

// BenchmarkVerify: what a request costs beside what it asks for: with a proof that was
// shown before, with a new proof by a token that was, and with a new token.
func BenchmarkVerify(b *testing.B) {
	r := newRoot(b)
	whole := issue(b, r, "acme")
	for _, c := range []struct {
		links int
		token Token
	}{{1, whole}, {3, narrow(b, narrow(b, whole, Limits{Command: Run}), Limits{Modules: []string{module("a")}})}} {
		proof := mint(b, c.token, Call{Host: host})
		v := verifier(r)
		check := func() {
			if _, err := v.Verify(proof, reading, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("links=%d/%s", c.links, name), func(b *testing.B) {
				began := processorTime(b)
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
		run("shown", check)
		run("proof", func() {
			v.reads = recent[*seen]{limit: ReadsMax}
			check()
		})
		run("token", func() {
			v = verifier(r)
			check()
		})
		run("mint", func() { mint(b, c.token, writing) })
	}
}

// processorTime is what this process has used: beside others it is steadier than the
// time that has passed.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
