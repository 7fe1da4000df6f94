package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/dugnad/dugnad/p2p"
)

// member is a Node with a key of its own.
type member struct {
	key        crypto.PrivKey
	membership *p2p.Membership
}

func (m *member) Membership() *p2p.Membership         { return m.membership }
func (m *member) Sign(message []byte) ([]byte, error) { return m.key.Sign(message) }

// founder makes a grid and its first member.
func founder(tb testing.TB) (*member, p2p.Key) {
	tb.Helper()
	dir := tb.TempDir()
	grid, err := p2p.FoundGrid(dir)
	if err != nil {
		tb.Fatal(err)
	}
	own, err := p2p.LoadIdentity(dir)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node.key"))
	if err != nil {
		tb.Fatal(err)
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		tb.Fatal(err)
	}
	return &member{key: key, membership: p2p.Found(grid, own, time.Now())}, grid
}

// shake does a handshake and returns what either side says of it.
func shake(tb testing.TB, get func(*tls.ClientHelloInfo) (*tls.Certificate, error), client *tls.Config) error {
	tb.Helper()
	here, there := net.Pipe()
	defer here.Close()
	served := make(chan error, 1)
	go func() {
		defer there.Close()
		served <- tls.Server(there, &tls.Config{GetCertificate: get, MinVersion: tls.VersionTLS13}).HandshakeContext(tb.Context())
	}()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	err := tls.Client(here, client).HandshakeContext(ctx)
	_ = here.Close()
	<-served
	return err
}

// TestPin: a client reaches the grid or the node that it names, and nobody else.
func TestPin(t *testing.T) {
	m, _ := founder(t)
	other, _ := founder(t)
	own, err := Open(t.TempDir(), m, []string{"node.example", "0.0.0.0", "no_host"})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := Open(t.TempDir(), other, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A member's binding is public: it must not fit another key.
	stolen := &Own{dir: foreign.dir, node: &echo{m, binding(t, own)}, now: time.Now, key: foreign.key}
	for _, tt := range []struct {
		name, pin string
		from      *Own
		want      error
	}{
		{"its grid", m.membership.Grid.String(), own, nil},
		{"its node", string(m.membership.Node), own, nil},
		{"another grid", other.membership.Grid.String(), own, ErrWrongNode},
		{"another node", string(other.membership.Node), own, ErrWrongNode},
		{"another's certificate", m.membership.Grid.String(), foreign, ErrWrongNode},
		{"another's key", m.membership.Grid.String(), stolen, p2p.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, config, err := Split("https://host:1#" + tt.pin)
			if err != nil {
				t.Fatal(err)
			}
			if err := shake(t, tt.from.Get, config); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	// Whoever trusts the file, such as curl with --cacert, knows it by its names.
	block, err := os.ReadFile(filepath.Join(own.dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(block)
	if err := shake(t, own.Get, &tls.Config{RootCAs: roots, ServerName: "node.example"}); err != nil {
		t.Error(err)
	}
	if err := shake(t, own.Get, &tls.Config{ServerName: "node.example"}); err == nil {
		t.Error("trusted without a pin")
	}
}

// echo signs everything with a signature that was seen elsewhere.
type echo struct {
	*member
	signature []byte
}

func (e *echo) Sign([]byte) ([]byte, error) { return e.signature, nil }

func binding(tb testing.TB, o *Own) []byte {
	tb.Helper()
	i, err := Read(o.made.Leaf)
	if err != nil {
		tb.Fatal(err)
	}
	return i.signature
}

// TestVerify: what a certificate says holds for its time, and not longer.
func TestVerify(t *testing.T) {
	m, _ := founder(t)
	own, err := Open(t.TempDir(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := own.made.Leaf
	i, err := Read(c)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := i.Verify(c, now); err != nil {
		t.Error(err)
	}
	if err := i.Verify(c, now.Add(lifetime+time.Hour)); err == nil {
		t.Error("good beyond its end")
	}
	longer := *c
	longer.NotAfter = c.NotAfter.Add(time.Hour)
	if err := i.Verify(&longer, now); !errors.Is(err, p2p.ErrSignature) {
		t.Errorf("one with a later end: %v", err)
	}
	alias := *c.URIs[0]
	alias.Path = "/somebody"
	if _, err := parse(&alias); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("one that shows another name: %v", err)
	}
	if _, err := Read(&x509.Certificate{}); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("one of nobody: %v", err)
	}
	if err := (Pin{grid: &i.Grid}).verify(tls.ConnectionState{}, now); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("no certificate: %v", err)
	}
}

// TestOwn: the key stays, the certificate is made anew before its end.
func TestOwn(t *testing.T) {
	m, _ := founder(t)
	dir := t.TempDir()
	first, err := Open(dir, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir, m, nil)
	if err != nil || second.Fingerprint() != first.Fingerprint() || !strings.HasPrefix(first.Fingerprint(), "sha256//") {
		t.Errorf("%v: opened again it is %s, was %s", err, second.Fingerprint(), first.Fingerprint())
	}
	same, err := second.Get(nil)
	if err != nil || same != second.made {
		t.Errorf("made anew without need: %v", err)
	}
	second.now = func() time.Time { return same.Leaf.NotAfter.Add(-renewal / 2) }
	if next, err := second.Get(nil); err != nil || !next.Leaf.NotAfter.After(same.Leaf.NotAfter) {
		t.Errorf("not made anew: %v", err)
	}
	again := *m.membership
	m.membership = &again
	second.now = time.Now
	if next, err := second.Get(nil); err != nil || next.Leaf.Equal(same.Leaf) {
		t.Errorf("not made anew for another membership: %v", err)
	}
	// While none can be made the one before is good, until its end.
	kept := second.made
	second.dir = filepath.Join(dir, "none")
	second.now = func() time.Time { return kept.Leaf.NotAfter.Add(-time.Hour) }
	if next, err := second.Get(nil); err != nil || next != kept {
		t.Errorf("no certificate while the next cannot be made: %v", err)
	}
	second.now = func() time.Time { return kept.Leaf.NotAfter.Add(time.Hour) }
	if next, err := second.Get(nil); err == nil {
		t.Errorf("one that is over: %v", next.Leaf.NotAfter)
	}
	path := filepath.Join(dir, KeyName)
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, m, nil); !errors.Is(err, ErrKeyMode) {
		t.Errorf("a key that all may read: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "junk", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, m, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("key file %q: %v", text, err)
		}
	}
}

// TestFiles: an operator's certificate is taken over when it changes, and stays while
// what is there is no use.
func TestFiles(t *testing.T) {
	m, _ := founder(t)
	dir, log := t.TempDir(), &bytes.Buffer{}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func() *x509.Certificate {
		t.Helper()
		o, err := Open(t.TempDir(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(o.dir, KeyName))
		if err != nil {
			t.Fatal(err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.made.Leaf.Raw})
		if err := errors.Join(os.WriteFile(cert, block, 0o600), os.WriteFile(key, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		return o.made.Leaf
	}
	first := put()
	f, err := OpenFiles(cert, key, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	f.now = func() time.Time { at = at.Add(2 * lookPause); return at }
	is := func(want *x509.Certificate) {
		t.Helper()
		if c, err := f.Get(nil); err != nil || !c.Leaf.Equal(want) {
			t.Errorf("%v: the certificate is another", err)
		}
	}
	is(first)
	if err := os.WriteFile(cert, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	is(first)
	is(first)
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, log)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	is(first)
	is(put())
	if strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("a key is in the log:\n%s", log)
	}
	for _, names := range [][2]string{{cert, cert}, {key, key}, {cert, filepath.Join(dir, "none")}, {dir, key}} {
		if _, err := OpenFiles(names[0], names[1], nil); err == nil || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%v: %v", names, err)
		}
	}
}

// TestParsePin lists what is no pin.
func TestParsePin(t *testing.T) {
	for _, text := range []string{"", "x", "12D3KooW", strings.Repeat("a", 51), strings.Repeat("a", 10_000), "../../etc/passwd"} {
		if _, err := ParsePin(text); !errors.Is(err, ErrPin) || len(err.Error()) > 200 {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, _, err := Split("http://host#" + strings.Repeat("a", 52)); err == nil {
		t.Error("a pin without TLS")
	}
	if rest, config, err := Split("http://host"); rest != "http://host" || config != nil || err != nil {
		t.Errorf("%q, %v, %v", rest, config, err)
	}
}

// FuzzIdentity: whatever a certificate says is refused, or is what its node says.
func FuzzIdentity(f *testing.F) {
	m, _ := founder(f)
	own, err := Open(f.TempDir(), m, nil)
	if err != nil {
		f.Fatal(err)
	}
	c := own.made.Leaf
	f.Add(c.URIs[0].String())
	f.Add("dugnad://a/b?proof=AAAA")
	f.Add("dugnad:?proof=" + strings.Repeat("A", 400))
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		i, err := parse(u)
		switch {
		case err != nil && !errors.Is(err, ErrNoIdentity):
			t.Errorf("%v is not ErrNoIdentity", err)
		case err == nil && i.Verify(c, c.NotAfter.Add(-time.Hour)) == nil && (i.Grid != m.membership.Grid || i.Node != m.membership.Node):
			t.Errorf("%q passes for %s of %s", text, i.Node, i.Grid)
		}
	})
}
