package ledger

import (
	"bytes"
	"errors"
)

// SecretName names a secret of a tenant as a variable is named: 1 to SecretNameBytesMax
// of A-Z, a-z, 0-9 and "_", no digit first.
type SecretName string

// PutSecret keeps a secret, or its next value. The ledger, which every node has a copy
// of, sees no value: it is sealed, and so is the key to it, once for each custodian.
type PutSecret struct {
	Tenant TenantID
	Name   SecretName
	// ID is made for this value and used for no other: what is sealed says so.
	ID [16]byte
	// Nodes are the only ones that are given the value, in ascending order; none is any
	// that has a task that is to have it.
	Nodes []NodeID
	Keys  []SecretKey
	// Value is sealed: from 1 to SecretBytesMax.
	Value []byte
}

// SecretKey is what opens a value, sealed to a custodian: from 1 to SecretKeyBytesMax.
type SecretKey struct {
	Node   NodeID
	Sealed []byte
}

// DropSecret forgets a secret. Jobs that name it, and have not been given it, fail.
type DropSecret struct {
	Tenant TenantID
	Name   SecretName
}

// WrapSecret replaces the keys to a value: there are other custodians than before.
type WrapSecret struct {
	Tenant TenantID
	Name   SecretName
	// ID is that of the value; when it has another by now, nothing changes.
	ID   [16]byte
	Keys []SecretKey
}

// PutCustodian keeps what a custodian says of itself, which others verify: at most
// CardBytesMax. Nothing forgets it.
type PutCustodian struct {
	Node NodeID
	Card []byte
}

// Secret is what is kept of a secret, but for its value.
type Secret struct {
	Tenant TenantID
	Name   SecretName
	ID     [16]byte
	// Version counts the values, from 1.
	Version uint32
	// Created is when the first value came, Changed when this one.
	Created, Changed Time
	Nodes            []NodeID
	Keys             []SecretKey
}

// Custodian is what is kept of a custodian.
type Custodian struct {
	Node NodeID
	Card []byte
}

func (*PutSecret) kind() uint8    { return kindPutSecret }
func (*DropSecret) kind() uint8   { return kindDropSecret }
func (*WrapSecret) kind() uint8   { return kindWrapSecret }
func (*PutCustodian) kind() uint8 { return kindPutCustodian }

func (c *PutSecret) fields(w *wire) {
	text(w, &c.Tenant)
	text(w, &c.Name)
	w.fixed(c.ID[:])
	list(w, &c.Nodes, func(n *NodeID) { text(w, n) })
	secretKeys(w, &c.Keys)
	w.bytes(&c.Value)
}

func (c *DropSecret) fields(w *wire) {
	text(w, &c.Tenant)
	text(w, &c.Name)
}

func (c *WrapSecret) fields(w *wire) {
	text(w, &c.Tenant)
	text(w, &c.Name)
	w.fixed(c.ID[:])
	secretKeys(w, &c.Keys)
}

func (c *PutCustodian) fields(w *wire) {
	text(w, &c.Node)
	w.bytes(&c.Card)
}

func (s *Secret) fields(w *wire) {
	text(w, &s.Tenant)
	text(w, &s.Name)
	w.fixed(s.ID[:])
	w.u32(&s.Version)
	w.time(&s.Created)
	w.time(&s.Changed)
	list(w, &s.Nodes, func(n *NodeID) { text(w, n) })
	secretKeys(w, &s.Keys)
}

func (c *Custodian) fields(w *wire) {
	text(w, &c.Node)
	w.bytes(&c.Card)
}

func secretKeys(w *wire, p *[]SecretKey) {
	list(w, p, func(k *SecretKey) {
		text(w, &k.Node)
		w.bytes(&k.Sealed)
	})
}

// check refuses what no secret can be.
func (c *PutSecret) check() Result {
	switch {
	case !validTenant(c.Tenant):
		return refuse(CodeInvalid, "tenant")
	case !ValidSecretName(c.Name):
		return refuse(CodeInvalid, "secret "+string(clip(c.Name)))
	case len(c.Value) == 0 || len(c.Value) > SecretBytesMax:
		return outside("secret_bytes", uint64(len(c.Value)), 1, SecretBytesMax)
	case len(c.Nodes) > SecretNodesMax:
		return outside("secret_nodes", uint64(len(c.Nodes)), 0, SecretNodesMax)
	}
	for i, n := range c.Nodes {
		if !validNode(n) || i > 0 && n <= c.Nodes[i-1] {
			return refuse(CodeInvalid, "node "+string(clip(n)))
		}
	}
	return checkSecretKeys(c.Keys)
}

func (c *PutSecret) apply(s *session) Result {
	if r := c.check(); r.Code != CodeOK {
		return r
	}
	if s.tenant(c.Tenant) == nil {
		return refuse(CodeTenantUnknown, string(c.Tenant))
	}
	is := Secret{Tenant: c.Tenant, Name: c.Name, ID: c.ID, Version: 1, Created: s.now, Changed: s.now, Nodes: c.Nodes, Keys: c.Keys}
	var was Secret
	if s.load(keySecret(c.Tenant, c.Name), &was) {
		if was.ID == c.ID {
			return Result{} // it was sent again
		}
		is.Version, is.Created = was.Version+1, was.Created
	} else if n := len(s.keys(prefixSecret(c.Tenant), SecretsMax)); n >= SecretsMax {
		return over(CodeQuotaSecrets, "secrets", uint64(n)+1, SecretsMax)
	}
	s.save(keySecret(c.Tenant, c.Name), &is)
	s.set(keySecretValue(c.Tenant, c.Name), c.Value)
	return Result{}
}

func checkSecretKeys(keys []SecretKey) Result {
	if len(keys) == 0 || len(keys) > CustodiansMax {
		return outside("secret_keys", uint64(len(keys)), 1, CustodiansMax)
	}
	for i, k := range keys {
		switch {
		case !validNode(k.Node) || i > 0 && k.Node <= keys[i-1].Node:
			return refuse(CodeInvalid, "custodian "+string(clip(k.Node)))
		case len(k.Sealed) == 0 || len(k.Sealed) > SecretKeyBytesMax:
			return outside("secret_key_bytes", uint64(len(k.Sealed)), 1, SecretKeyBytesMax)
		}
	}
	return Result{}
}

func (c *DropSecret) apply(s *session) Result {
	if !validTenant(c.Tenant) || !ValidSecretName(c.Name) || s.get(keySecret(c.Tenant, c.Name)) == nil {
		return refuse(CodeSecretUnknown, string(clip(c.Name)))
	}
	s.delete(keySecret(c.Tenant, c.Name))
	s.delete(keySecretValue(c.Tenant, c.Name))
	return Result{}
}

func (c *WrapSecret) apply(s *session) Result {
	if r := checkSecretKeys(c.Keys); r.Code != CodeOK {
		return r
	}
	var is Secret
	if !validTenant(c.Tenant) || !ValidSecretName(c.Name) || !s.load(keySecret(c.Tenant, c.Name), &is) || is.ID != c.ID {
		return refuse(CodeSecretUnknown, string(clip(c.Name)))
	}
	is.Keys = c.Keys
	s.save(keySecret(c.Tenant, c.Name), &is)
	return Result{}
}

func (c *PutCustodian) apply(s *session) Result {
	switch key := keyCustodian(c.Node); {
	case !validNode(c.Node):
		return refuse(CodeInvalid, "node")
	case len(c.Card) > CardBytesMax:
		return outside("card_bytes", uint64(len(c.Card)), 0, CardBytesMax)
	case len(c.Card) == 0:
		s.delete(key)
	case s.get(key) == nil && len(s.keys([]byte{tableCustodian}, CardsMax)) >= CardsMax:
		return over(CodeTooMany, "custodians", CardsMax+1, CardsMax)
	default:
		s.save(key, &Custodian{Node: c.Node, Card: c.Card})
	}
	return Result{}
}

// ValidSecretName reports whether a secret can have the name.
func ValidSecretName(n SecretName) bool {
	for i := range len(n) {
		c := n[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(n) >= 1 && len(n) <= SecretNameBytesMax
}

// checkSecrets refuses names that are none, or given twice.
func (s *JobSpec) checkSecrets() Result {
	if len(s.Secrets) > JobSecretsMax {
		return outside("secrets", uint64(len(s.Secrets)), 0, JobSecretsMax)
	}
	for i, n := range s.Secrets {
		if !ValidSecretName(n) || i > 0 && n <= s.Secrets[i-1] {
			return refuse(CodeInvalid, "secret "+string(clip(n)))
		}
	}
	return Result{}
}

// secrets refuses a spec that names a secret that its tenant has not.
func (s *session) secrets(spec *JobSpec) Result {
	for _, n := range spec.Secrets {
		if s.get(keySecret(spec.Tenant, n)) == nil {
			return refuse(CodeSecretUnknown, string(n))
		}
	}
	return Result{}
}

// FindSecret returns a secret and its sealed value, or ErrNotFound.
func FindSecret(tx Tx, t TenantID, n SecretName) (is Secret, value []byte, err error) {
	defer catch(&err)
	if is, err = one[Secret](tx, keySecret(t, n), "secret", n); err == nil {
		value = bytes.Clone(reader{tx}.get(keySecretValue(t, n)))
	}
	return is, value, err
}

// SecretNodes returns the only nodes that are given a secret, in ascending order; none is
// any, or that there is no such secret.
func SecretNodes(tx Tx, t TenantID, n SecretName) (nodes []NodeID, err error) {
	defer catch(&err)
	is, err := one[Secret](tx, keySecret(t, n), "secret", n)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return is.Nodes, err
}

// Secrets returns all secrets of a tenant, in order of name: at most SecretsMax.
func Secrets(tx Tx, t TenantID) ([]Secret, error) {
	return page[Secret](tx, prefixSecret(t), nil, SecretsMax)
}

// AllSecrets returns up to limit secrets of all tenants, from the one behind a tenant's
// secret on; of "" and "" from the first.
func AllSecrets(tx Tx, t TenantID, n SecretName, limit int) ([]Secret, error) {
	return page[Secret](tx, []byte{tableSecret}, beyond(keySecret(t, n), t == ""), limit)
}

// Custodians returns what is kept of all custodians: at most CardsMax.
func Custodians(tx Tx) ([]Custodian, error) {
	return page[Custodian](tx, []byte{tableCustodian}, nil, CardsMax)
}

func (c *checker) secret(key, value []byte) {
	var s Secret
	c.parse(key, value, &s)
	equal(string(key), string(keySecret(s.Tenant, s.Name)), "secret %s of %s: key", s.Name, s.Tenant)
	if c.get(keyTenant(s.Tenant)) == nil {
		wrong("secret %s: tenant %s is missing", s.Name, s.Tenant)
	}
	c.expect(keySecretValue(s.Tenant, s.Name), "secret %s of %s: value", s.Name, s.Tenant)
	put := PutSecret{Tenant: s.Tenant, Name: s.Name, Nodes: s.Nodes, Keys: s.Keys, Value: c.get(keySecretValue(s.Tenant, s.Name))}
	if r := put.check(); r.Code != CodeOK {
		wrong("secret %s of %s: %s", s.Name, s.Tenant, r.What)
	}
	if s.Version == 0 {
		wrong("secret %s of %s has no version", s.Name, s.Tenant)
	}
	c.want[tableSecret]++
}

func (c *checker) custodian(key, value []byte) {
	var k Custodian
	c.parse(key, value, &k)
	equal(string(key[1:]), string(k.Node), "custodian %s: key", k.Node)
	if len(k.Card) == 0 || len(k.Card) > CardBytesMax {
		wrong("custodian %s: a card of %d bytes", k.Node, len(k.Card))
	}
	c.want[tableCustodian]++
}
