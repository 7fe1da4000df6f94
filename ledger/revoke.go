package ledger

// Revoke takes back a tenant's delegation, and with it all that were made of it: no
// node takes it any more. To revoke it again can make the revocation last longer, not
// shorter.
type Revoke struct {
	// ID is the SHA-256 of the delegation.
	ID [32]byte
	// Until is when the delegation is over by itself: the revocation is forgotten
	// RevocationNanos later. Zero is never.
	Until Time
	// Tenant is whose delegation it is, which counts towards RevocationsMax; empty is
	// not known.
	Tenant TenantID
}

// Revocation is what is kept of a delegation that was taken back.
type Revocation struct {
	// At is when it was first revoked, Until when the delegation is over by itself; zero
	// is never.
	At, Until Time
	// Tenant is whose it is; empty is not known.
	Tenant TenantID
}

// forgotten returns when the revocation is forgotten; false is never.
func (r *Revocation) forgotten() (Time, bool) { return r.Until + RevocationNanos, r.Until != 0 }

func (*Revoke) kind() uint8 { return kindRevoke }

func (c *Revoke) fields(w *wire) {
	w.fixed(c.ID[:])
	w.time(&c.Until)
	if w.since(3, c.Tenant != "") {
		text(w, &c.Tenant)
	}
}

func (r *Revocation) fields(w *wire) {
	w.time(&r.At)
	w.time(&r.Until)
	if w.since(3, r.Tenant != "") {
		text(w, &r.Tenant)
	}
}

func (c *Revoke) apply(s *session) Result {
	switch {
	case c.Tenant != "" && !validTenant(c.Tenant):
		return refuse(CodeInvalid, "tenant")
	case c.Until != 0 && (c.Until > s.now+SpanMax || c.Until+RevocationNanos <= s.now):
		return refuse(CodeInvalid, "until")
	case c.Tenant != "" && s.tenant(c.Tenant) == nil:
		return refuse(CodeTenantUnknown, string(c.Tenant))
	}
	key, is := keyRevocation(c.ID), Revocation{At: s.now, Until: c.Until, Tenant: c.Tenant}
	var was Revocation
	known := s.load(key, &was)
	if known {
		is.At = was.At
		if was.Until == 0 || c.Until != 0 && c.Until < was.Until {
			is.Until = was.Until
		}
		if was.Tenant != "" {
			is.Tenant = was.Tenant
		}
	}
	if r := s.countRevocation(&is, &was, known); r.Code != CodeOK {
		return r
	}
	if at, ever := was.forgotten(); ever && was.Until != is.Until {
		s.disarm(at, timerRevocation, c.ID[:])
	}
	if at, ever := is.forgotten(); ever && was.Until != is.Until {
		s.arm(at, timerRevocation, c.ID[:])
	}
	s.save(key, &is)
	return Result{}
}

// countRevocation counts a revocation that is new, or of which its tenant was not known,
// and refuses it where there are too many.
func (s *session) countRevocation(is, was *Revocation, known bool) Result {
	m := s.meta()
	if !known && m.Revocations >= GridRevocationsMax {
		return over(CodeQuotaRevocations, "grid_revocations", uint64(m.Revocations)+1, GridRevocationsMax)
	}
	if is.Tenant != was.Tenant {
		t := s.tenant(is.Tenant)
		if t.Revocations >= RevocationsMax {
			return over(CodeQuotaRevocations, "revocations", uint64(t.Revocations)+1, RevocationsMax)
		}
		t.Revocations++
	}
	if !known {
		m.Revocations++
	}
	return Result{}
}

// fireRevocation forgets a revocation when what it is about is over.
func (s *session) fireRevocation(t timerKey) {
	key := keyRevocation([32]byte(t.What))
	var r Revocation
	if !s.load(key, &r) {
		return
	}
	s.delete(key)
	s.meta().Revocations--
	if r.Tenant != "" {
		s.tenant(r.Tenant).Revocations--
	}
}

// CountRevocations returns how many revocations are kept: at most GridRevocationsMax.
func CountRevocations(tx Tx) (n int, err error) {
	defer catch(&err)
	var m meta
	reader{tx}.load(keyMeta(), &m)
	return int(m.Revocations), nil
}

// Revoked reports whether a delegation was taken back.
func Revoked(tx Tx, id [32]byte) (revoked bool, err error) {
	defer catch(&err)
	return reader{tx}.get(keyRevocation(id)) != nil, nil
}

func (c *checker) revocation(key, value []byte) {
	var r Revocation
	c.parse(key, value, &r)
	if at, ever := r.forgotten(); ever {
		c.timer(at, timerRevocation, key[1:], "revocation of %x", key[1:])
	}
	if r.Tenant != "" {
		c.revocations[r.Tenant]++
	}
	c.want[tableRevocation]++
}
