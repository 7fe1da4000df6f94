package certificate

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

const (
	// scheme is that of the URI in a certificate that says who the node is:
	// dugnad://GRID/NODE?proof=BASE64, where the proof is a signature and a membership.
	scheme = "dugnad"
	// signatureBytes is the length of a signature.
	signatureBytes = 64
	// proofBytesMax bounds a proof in base64.
	proofBytesMax = 4096
	// domain keeps the node's signature over a certificate from being one over
	// anything else.
	domain = "dugnad api certificate v1\n"
)

// ErrNoIdentity is returned for a certificate that does not say which node it is of.
var ErrNoIdentity = errors.New("certificate is not one that a node of a grid has made")

// ErrWrongNode is returned for the certificate of another node or grid than the one
// that was named.
var ErrWrongNode = errors.New("certificate is of another node")

// Identity is what a certificate says of its node. Verify finds out whether that is so.
type Identity struct {
	Grid p2p.GridID
	Node p2p.NodeID

	membership *p2p.Membership
	signature  []byte
}

// statement is what the node signs: whose key this is, and until when.
func statement(public crypto.PublicKey, until time.Time) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return binary.BigEndian.AppendUint64(append([]byte(domain), sum[:]...), uint64(until.Unix())), nil
}

// identify returns the URI that binds a public key to its node until then.
func identify(node Node, public crypto.PublicKey, until time.Time) (*url.URL, error) {
	message, err := statement(public, until)
	if err != nil {
		return nil, err
	}
	signature, err := node.Sign(message)
	if err != nil {
		return nil, err
	}
	m := node.Membership()
	proof := base64.RawURLEncoding.EncodeToString(append(signature, m.Encode()...))
	return &url.URL{Scheme: scheme, Host: m.Grid.String(), Path: "/" + string(m.Node), RawQuery: "proof=" + proof}, nil
}

// Read returns what a certificate says of its node. The error is ErrNoIdentity.
func Read(c *x509.Certificate) (*Identity, error) {
	for _, u := range c.URIs {
		if u.Scheme == scheme {
			return parse(u)
		}
	}
	return nil, ErrNoIdentity
}

func parse(u *url.URL) (*Identity, error) {
	text := u.Query().Get("proof")
	if len(text) > proofBytesMax {
		return nil, fmt.Errorf("%w: its proof has %d characters", ErrNoIdentity, len(text))
	}
	proof, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(proof) <= signatureBytes {
		return nil, fmt.Errorf("%w: its proof cannot be read", ErrNoIdentity)
	}
	m, err := p2p.DecodeMembership(proof[signatureBytes:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	if u.Host != m.Grid.String() || u.Path != "/"+string(m.Node) {
		return nil, fmt.Errorf("%w: it says that it is of another than its membership", ErrNoIdentity)
	}
	return &Identity{Grid: m.Grid, Node: m.Node, membership: m, signature: proof[:signatureBytes]}, nil
}

// Verify says whether the certificate is what the node has made, the node a member of
// its grid, and both now. That the other side has the certificate's key is TLS's to
// say. Expulsions are not known here.
func (i *Identity) Verify(c *x509.Certificate, now time.Time) error {
	if now.After(c.NotAfter) || now.Before(c.NotBefore) {
		return fmt.Errorf("verify certificate: it is good from %s to %s, this clock shows %s",
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	message, err := statement(c.PublicKey, c.NotAfter)
	if err != nil {
		return fmt.Errorf("verify certificate: %w", err)
	}
	if err := p2p.VerifyBy(i.Node, message, i.signature); err != nil {
		return fmt.Errorf("verify certificate: %w", err)
	}
	return i.membership.Verify(i.Grid, now, p2p.NewExpulsions(i.Grid))
}
