package warrant

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ucan-wg/go-ucan/pkg/command"
	"github.com/ucan-wg/go-ucan/token/invocation"
)

// Scheme is the authentication scheme of a proof in a request's Authorization.
const Scheme = "UCAN"

const (
	// ProofLife is how long a proof is good from when it was made: long enough for an
	// upload to begin and for clocks that differ a little.
	ProofLife = 2 * time.Minute
	// clockSkewMax is how far ahead the clock of who made a proof may be.
	clockSkewMax = 30 * time.Second
)

// The arguments of an invocation that bind it to a request.
const (
	argumentHost   = "host"
	argumentMethod = "method"
	argumentPath   = "path"
)

// Call is the request that a proof is for.
type Call struct {
	// Host is the authority, as in the Host header, in small letters.
	Host string
	// Method and Path, with the query, are empty in a proof that is good for every
	// reading request to the host, as often as it likes. With them it is good once.
	Method, Path string
}

// Mint makes a proof for a call, as it stands in Authorization. The holder's key does
// not leave this machine: a proof is worth one request, or the reading of one host
// for ProofLife.
func (t Token) Mint(call Call, now time.Time) (string, error) {
	o := t.opened
	now = now.Truncate(time.Second) // The library would round one of the times, and cut the other.
	opts := []invocation.Option{
		invocation.WithIssuedAt(now), invocation.WithExpiration(now.Add(ProofLife)),
		invocation.WithArgument(argumentTenant, o.grant.Tenant), invocation.WithArgument(argumentHost, strings.ToLower(call.Host)),
	}
	if call.Method != "" {
		opts = append(opts, invocation.WithArgument(argumentMethod, call.Method), invocation.WithArgument(argumentPath, call.Path))
	}
	made, err := invocation.New(t.key.name(), command.Command(o.grant.Command), nameOf(o.grant.Root), o.proofs(), opts...)
	if err != nil {
		return "", fmt.Errorf("make a proof: %w", err)
	}
	sealed, _, err := made.ToSealed(t.key.private)
	if err != nil {
		return "", fmt.Errorf("make a proof: %w", err)
	}
	if len(sealed) > callBytesMax {
		return "", fmt.Errorf("make a proof: %w: the host and the path are too long", ErrMalformed)
	}
	chain := t.chain.Encode()
	b := binary.BigEndian.AppendUint16([]byte{textVersion}, uint16(len(sealed)))
	b = append(append(b, sealed...), chain...)
	if len(b) > ProofBytesMax {
		return "", fmt.Errorf("make a proof: %w: %d bytes, the limit is %d", ErrMalformed, len(b), ProofBytesMax)
	}
	return Scheme + " " + base64.RawURLEncoding.EncodeToString(b), nil
}

// proof is a proof that was read and not verified.
type proof struct {
	// call is the encoded invocation, chain the encoded chain.
	call, chain []byte
}

// proofTextMax bounds a proof as it stands in Authorization.
var proofTextMax = len(Scheme) + 1 + base64.RawURLEncoding.EncodedLen(ProofBytesMax)

// parseProof reads what Mint has returned, of proofTextMax bytes at most.
func parseProof(text string) (proof, error) {
	scheme, rest, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, Scheme) {
		return proof{}, fmt.Errorf("read proof: %w: the scheme is not %s", ErrMalformed, Scheme)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSpace(rest))
	r := reader{b: b}
	if version := r.take(1); err != nil || r.bad || version[0] != textVersion {
		return proof{}, fmt.Errorf("read proof: %w: it is not of version %d", ErrMalformed, textVersion)
	}
	p := proof{call: r.sized(callBytesMax), chain: r.b}
	if r.bad {
		return proof{}, fmt.Errorf("read proof: %w: it is cut short", ErrMalformed)
	}
	return p, nil
}

// verified is what is remembered of a proof that is good.
type verified struct {
	// id names it.
	id          [16]byte
	made, until time.Time
	// once says that it is used up now.
	once bool
}

// reads reports whether a call changes nothing.
func reads(call Call) bool { return call.Method == http.MethodGet || call.Method == http.MethodHead }

// verify looks whether the invocation is signed by the chain's holder, allowed by
// all of its delegations at this time, and made for the call.
func (o *opened) verify(p proof, call Call, now time.Time) (out *verified, err error) {
	defer caught(&err)
	node, err := decode(p.call, callBytesMax)
	if err != nil {
		return nil, err
	}
	made, err := invocation.FromIPLD(node)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	if err := o.grant.at(now); err != nil {
		return nil, err
	}
	if err := timely(made, now); err != nil {
		return nil, err
	}
	if !made.Issuer().Equal(o.holder()) {
		return nil, fmt.Errorf("%w: the proof is not by the token's holder", ErrForged)
	}
	if made.Command().String() != o.grant.Command {
		return nil, fmt.Errorf("%w: %s is asked for, %s is held", ErrWidened, made.Command(), o.grant.Command)
	}
	// The alignment of the chain, its times and its conditions once more, by the library.
	if err := made.ExecutionAllowed(o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	is := Call{Host: argument(made, argumentHost), Method: argument(made, argumentMethod), Path: argument(made, argumentPath)}
	out = &verified{made: *made.IssuedAt(), until: *made.Expiration(), once: is.Method != "" || is.Path != "" || !reads(call)}
	switch {
	case argument(made, argumentTenant) != o.grant.Tenant:
		return nil, fmt.Errorf("%w: for another tenant", ErrOtherCall)
	case is.Host == "" || is.Host != strings.ToLower(call.Host):
		return nil, fmt.Errorf("%w: for another host", ErrOtherCall)
	case out.once && (is.Method != call.Method || is.Path != call.Path):
		return nil, fmt.Errorf("%w: for another method or path", ErrOtherCall)
	}
	sum := sha256.Sum256(append([]byte(made.Issuer().String()+"\n"), made.Nonce()...))
	out.id = [16]byte(sum[:16])
	return out, nil
}

// timely bounds the life of a proof: one that is good for years would have to be
// remembered for years.
func timely(made *invocation.Token, now time.Time) error {
	from, to := made.IssuedAt(), made.Expiration()
	switch {
	case from == nil || to == nil || to.Sub(*from) > ProofLife || len(made.Nonce()) > 64:
		return fmt.Errorf("%w: a proof says when it was made, and is good for %s at most", ErrMalformed, ProofLife)
	case now.After(*to):
		return fmt.Errorf("%w: the proof was good until %s, this node's clock shows %s", ErrExpired, clock(*to), clock(now))
	case from.After(now.Add(clockSkewMax)):
		return fmt.Errorf("%w: the proof was made at %s, this node's clock shows %s", ErrExpired, clock(*from), clock(now))
	}
	return nil
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// argument returns an argument's text; empty when there is none.
func argument(made *invocation.Token, name string) string {
	node, err := made.Arguments().GetNode(name)
	if err != nil {
		return ""
	}
	text, err := node.AsString()
	if err != nil {
		return ""
	}
	return text
}
