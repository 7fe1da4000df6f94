package warrant

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	did "github.com/MetaMask/go-did-it"
	signing "github.com/MetaMask/go-did-it/crypto/ed25519"
	didkey "github.com/MetaMask/go-did-it/verifiers/did-key"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-multihash"
	"github.com/ucan-wg/go-ucan/pkg/command"
	"github.com/ucan-wg/go-ucan/token/delegation"
)

// Chain is the delegations from a root to a holder, as they are encoded. It is no
// secret. The zero Chain is none.
type Chain struct {
	// admin proves that the root is an admin's key; empty when it is the grid's.
	admin []byte
	// links begin with the root's.
	links [][]byte
}

// chainBytesMax bounds an encoded chain.
const chainBytesMax = 2 + AdminBytesMax + 1 + LinksMax*(2+LinkBytesMax)

// Admin returns what proves that the root is an admin's key; empty when it is the
// grid's.
func (c Chain) Admin() []byte { return c.admin }

// Encode returns what DecodeChain reads.
func (c Chain) Encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(c.admin)))
	b = append(append(b, c.admin...), byte(len(c.links)))
	for _, l := range c.links {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(l))), l...)
	}
	return b
}

// DecodeChain reads what Encode has returned. It verifies nothing.
func DecodeChain(b []byte) (Chain, error) {
	r := reader{b: b}
	var c Chain
	c.admin = r.sized(AdminBytesMax)
	n := r.take(1)
	switch {
	case r.bad || n[0] == 0:
		return Chain{}, fmt.Errorf("read chain: %w: it is cut short", ErrMalformed)
	case int(n[0]) > LinksMax:
		return Chain{}, fmt.Errorf("read chain: %w: %w: %d, the limit is %d", ErrMalformed, ErrTooLong, n[0], LinksMax)
	}
	for range n[0] {
		c.links = append(c.links, r.sized(LinkBytesMax))
	}
	if r.bad || len(r.b) > 0 {
		return Chain{}, fmt.Errorf("read chain: %w: a delegation has at most %d bytes, and nothing comes behind the last", ErrMalformed, LinkBytesMax)
	}
	return c, nil
}

// reader takes bytes from the front; once something was missing it is bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// sized takes bytes behind their number, of which there are at most limit.
func (r *reader) sized(limit int) []byte {
	n := r.take(2)
	if r.bad {
		return nil
	}
	size := int(binary.BigEndian.Uint16(n))
	if size > limit {
		r.bad = true
		return nil
	}
	return bytes.Clone(r.take(size))
}

// opened is a chain whose signatures are good, and which holds together.
type opened struct {
	grant Grant
	links []*delegation.Token
	ids   []cid.Cid
}

func (o *opened) last() *delegation.Token { return o.links[len(o.links)-1] }
func (o *opened) holder() did.DID         { return o.last().Audience() }

// proofs returns the delegations as an invocation lists them, the last one first.
func (o *opened) proofs() []cid.Cid {
	out := slices.Clone(o.ids)
	slices.Reverse(out)
	return out
}

// GetDelegation implements delegation.Loader.
func (o *opened) GetDelegation(id cid.Cid) (*delegation.Token, error) {
	for i, is := range o.ids {
		if is.Equals(id) {
			return o.links[i], nil
		}
	}
	return nil, delegation.ErrDelegationNotFound
}

// open verifies the signatures and that each delegation was made by the holder of
// the one before it and gives no more. accept, unless it is nil, is asked whether the
// root is one before any other signature is looked at. What time it is is for others
// to judge.
func (c Chain) open(accept func(root [32]byte) error) (*opened, error) {
	if len(c.links) == 0 || len(c.links) > LinksMax {
		return nil, fmt.Errorf("open chain: %w: it has %d delegations", ErrMalformed, len(c.links))
	}
	o := &opened{grant: Grant{Admin: len(c.admin) > 0, admin: c.admin}}
	for i, b := range c.links {
		if err := o.add(b); err != nil {
			return nil, fmt.Errorf("open chain: delegation %d: %w", i+1, err)
		}
		if i == 0 && accept != nil {
			if err := accept(o.grant.Root); err != nil {
				return nil, err
			}
		}
	}
	if o.grant.Tenant == "" {
		return nil, fmt.Errorf("open chain: %w: no tenant is named", ErrCondition)
	}
	return o, nil
}

// caught turns a panic of the library over what a stranger has sent into an error.
func caught(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: the library panics: %v", ErrMalformed, r)
	}
}

// add verifies one more delegation.
func (o *opened) add(b []byte) (err error) {
	defer caught(&err)
	node, err := decode(b, LinkBytesMax)
	if err != nil {
		return err
	}
	link, err := delegation.FromIPLD(node)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	root, held := link.Issuer(), All
	if len(o.links) > 0 {
		root, held = o.links[0].Issuer(), o.last().Command().String()
		if !link.Issuer().Equal(o.holder()) {
			return fmt.Errorf("%w: its issuer did not hold the one before", ErrForged)
		}
	}
	switch {
	case !plain(link.Issuer()) || !plain(link.Audience()):
		return fmt.Errorf("%w: keys are Ed25519", ErrMalformed)
	// One without a subject would be good for the chains of all others as well.
	case link.Subject() == nil || !link.Subject().Equal(root):
		return fmt.Errorf("%w: it is about another root", ErrForged)
	case !covers(held, link.Command().String()):
		return fmt.Errorf("%w: %s is not within %s", ErrWidened, link.Command(), held)
	}
	if err := o.grant.narrow(link); err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		return err
	}
	if len(o.links) == 0 {
		if o.grant.Root, err = publicOf(root); err != nil {
			return err
		}
	}
	o.links, o.ids = append(o.links, link), append(o.ids, cid.NewCidV1(cid.DagCBOR, hash))
	o.grant.IDs = append(o.grant.IDs, sum)
	return nil
}

// narrow takes over what one more delegation allows.
func (g *Grant) narrow(link *delegation.Token) error {
	c, err := readConditions(link.Policy())
	if err != nil {
		return err
	}
	switch {
	case c.tenant != "" && g.Tenant != "" && c.tenant != g.Tenant:
		return fmt.Errorf("%w: it is for tenant %s, the one before for %s", ErrWidened, c.tenant, g.Tenant)
	case c.tenant != "":
		g.Tenant = c.tenant
	}
	switch {
	case c.modules == nil:
	case g.Modules == nil:
		g.Modules = c.modules
	default:
		g.Modules = slices.DeleteFunc(slices.Clone(g.Modules), func(m string) bool { return !slices.Contains(c.modules, m) })
	}
	g.Command = link.Command().String()
	if at := link.Expiration(); at != nil && (g.Until.IsZero() || at.Before(g.Until)) {
		g.Until = *at
	}
	if at := link.NotBefore(); at != nil && at.After(g.Since) {
		g.Since = *at
	}
	return nil
}

// decode reads bounded DAG-CBOR and refuses what is not written the one way that it
// should be: the same delegation in other bytes would have another id, and would not
// be known for the one that was revoked.
func decode(b []byte, limit int) (datamodel.Node, error) {
	if len(b) == 0 || len(b) > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(b), limit)
	}
	options := dagcbor.DecodeOptions{AllowLinks: true, MaxDepth: depthMax, AllocationBudget: int64(8 * limit), MaxCollectionPrealloc: 16}
	builder := basicnode.Prototype.Any.NewBuilder()
	if err := options.Decode(builder, bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	node := builder.Build()
	again, err := ipld.Encode(node, dagcbor.Encode)
	if err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: it is not written as DAG-CBOR has to be", ErrMalformed)
	}
	return node, nil
}

// plainPrefix is what the name of every Ed25519 key begins with.
const plainPrefix = "did:key:z6Mk"

// plain reports whether a name is that of an Ed25519 key, written as usual.
func plain(name did.DID) bool { return strings.HasPrefix(name.String(), plainPrefix) }

// publicOf returns the key of a plain name.
func publicOf(name did.DID) (out [32]byte, err error) {
	key, ok := strings.CutPrefix(name.String(), "did:key:")
	public, err := signing.PublicKeyFromPublicKeyMultibase(key)
	if err != nil || !ok || !didkey.FromPublicKey(public).Equal(name) {
		return out, fmt.Errorf("%w: %s is no Ed25519 key", ErrMalformed, name)
	}
	copy(out[:], public.ToBytes())
	return out, nil
}

// covers reports whether a command holds another one.
func covers(held, asked string) bool {
	return command.Command(held).Covers(command.Command(asked))
}

// Signer signs as a root.
type Signer interface {
	// Public is the root's key.
	Public() [32]byte
	// Sign signs a message, whole.
	Sign(message []byte) [64]byte
}

// Found makes the chain of a tenant's first token: from a root to a holder, for
// everything, until a time; zero is for ever. What proves that the root is an
// admin's key is in admin; empty says that it is the grid's.
func Found(root Signer, admin []byte, holder [32]byte, tenant string, until time.Time) (Chain, error) {
	if len(admin) > AdminBytesMax {
		return Chain{}, fmt.Errorf("make a token: %w: the admin's proof has %d bytes, the limit is %d", ErrMalformed, len(admin), AdminBytesMax)
	}
	conditions, err := conditions{tenant: tenant}.policy()
	if err != nil {
		return Chain{}, err
	}
	name := nameOf(root.Public())
	link, err := delegation.Root(name, nameOf(holder), All, conditions, expiring(until)...)
	if err != nil {
		return Chain{}, fmt.Errorf("make a token: %w", err)
	}
	sealed, _, err := link.ToSealed(rootKey{root})
	if err != nil {
		return Chain{}, fmt.Errorf("make a token: %w", err)
	}
	c := Chain{admin: admin, links: [][]byte{sealed}}
	_, err = c.open(nil)
	return c, err
}

// Limits are what Narrow allows at most.
type Limits struct {
	// Command is one of All, Run and Read; empty leaves what there is.
	Command string
	// Modules are the only ones, as sha256:HEX, at most ModulesMax; none leaves what
	// there is.
	Modules []string
	// Until is when it ends, to the second; zero leaves what there is.
	Until time.Time
}

// Narrow makes a token with a key of its own that allows no more than this one and
// the limits. It asks nobody.
func (t Token) Narrow(l Limits) (Token, error) {
	o := t.opened
	if len(t.chain.links) == LinksMax {
		return Token{}, fmt.Errorf("narrow token: %w: the limit is %d: narrow one that it was made of", ErrTooLong, LinksMax)
	}
	if l.Command == "" {
		l.Command = o.grant.Command
	}
	if !o.grant.Allows(l.Command) {
		return Token{}, fmt.Errorf("narrow token: %w: %s is not within %s", ErrWidened, l.Command, o.grant.Command)
	}
	policy, err := conditions{modules: l.Modules}.policy()
	if err != nil {
		return Token{}, fmt.Errorf("narrow token: %w", err)
	}
	key, err := NewKey()
	if err != nil {
		return Token{}, err
	}
	link, err := delegation.New(t.key.name(), key.name(), command.Command(l.Command), policy, nameOf(o.grant.Root), expiring(l.Until)...)
	if err != nil {
		return Token{}, fmt.Errorf("narrow token: %w", err)
	}
	sealed, _, err := link.ToSealed(t.key.private)
	if err != nil {
		return Token{}, fmt.Errorf("narrow token: %w", err)
	}
	return New(Chain{admin: t.chain.admin, links: append(slices.Clone(t.chain.links), sealed)}, key)
}

func expiring(until time.Time) []delegation.Option {
	if until.IsZero() {
		return nil
	}
	return []delegation.Option{delegation.WithExpiration(until)}
}
