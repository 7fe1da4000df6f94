package ledger

// Revoke takes back a tenant's delegation, and with it all that were made of it: no
// node takes it any more. To revoke it again can make the revocation last longer, not
// shorter.
type Revoke struct {
	// ID is the SHA-256 of the delegation.
	ID [32]byte
	// Until is when the delegation is over by itself and the revocation is forgotten;
	// zero is never.
	Until Time
}

// Revocation is what is kept of a delegation that was taken back.
type Revocation struct {
	// At is when it was first revoked, Until when that is forgotten; zero is never.
	At, Until Time
}

func (*Revoke) kind() uint8 { return kindRevoke }

func (c *Revoke) fields(w *wire) {
	w.fixed(c.ID[:])
	w.time(&c.Until)
}

func (r *Revocation) fields(w *wire) {
	w.time(&r.At)
	w.time(&r.Until)
}

func (c *Revoke) apply(s *session) Result {
	if c.Until != 0 && (c.Until <= s.now || c.Until > s.now+SpanMax) {
		return refuse(CodeInvalid, "until")
	}
	key, r := keyRevocation(c.ID), Revocation{At: s.now, Until: c.Until}
	var was Revocation
	if s.load(key, &was) {
		r.At = was.At
		if was.Until == 0 || c.Until != 0 && c.Until < was.Until {
			r.Until = was.Until
		}
		if was.Until != 0 && was.Until != r.Until {
			s.delete(keyTimer(was.Until, timerRevocation, c.ID[:]))
		}
	}
	if r.Until != 0 && r.Until != was.Until {
		s.arm(r.Until, timerRevocation, c.ID[:])
	}
	s.save(key, &r)
	return Result{}
}

// fireRevocation forgets a revocation when what it is about is over.
func (s *session) fireRevocation(t timerKey) {
	s.delete(keyRevocation([32]byte(t.What)))
}

// Revoked reports whether a delegation was taken back.
func Revoked(tx Tx, id [32]byte) (revoked bool, err error) {
	defer catch(&err)
	return reader{tx}.get(keyRevocation(id)) != nil, nil
}

func (c *checker) revocation(key, value []byte) {
	var r Revocation
	c.parse(key, value, &r)
	if r.Until != 0 {
		c.timer(r.Until, timerRevocation, key[1:], "revocation of %x", key[1:])
	}
	c.want[tableRevocation]++
}
