package warrant

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func mint(t testing.TB, from Token, c Call) string {
	t.Helper()
	proof, err := from.Mint(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return proof
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

// TestKnown: a chain is known once it was verified, to whoever shows it, by what it
// begins with.
func TestKnown(t *testing.T) {
	r := newRoot(t)
	whole := issue(t, r, "acme")
	narrowed := narrow(t, whole, Limits{Command: Run})
	v := verifier(r)
	proof, later := mint(t, whole, writing), mint(t, narrowed, writing)
	if _, known := v.Known(proof); known {
		t.Error("a chain that was never verified is known")
	}
	for _, p := range []string{proof, later} {
		if _, err := v.Verify(p, writing, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	// The proof is used up, and its call may be anything.
	for _, p := range []string{proof, later, mint(t, narrowed, Call{Host: "elsewhere"})} {
		if first, known := v.Known(p); !known || first != whole.Grant().IDs[0] {
			t.Errorf("%x, %v, want %x", first, known, whole.Grant().IDs[0])
		}
	}
	for _, bad := range []string{"", "Bearer x", Scheme + " garbage", Scheme + " " + strings.Repeat("A", 2*ProofBytesMax), mint(t, issue(t, newRoot(t), "acme"), writing)} {
		if _, known := v.Known(bad); known {
			t.Errorf("%.40q is known", bad)
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
