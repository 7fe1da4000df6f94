package warrant

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

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
