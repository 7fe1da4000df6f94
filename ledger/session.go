package ledger

import (
	"bytes"
	"fmt"
)

// heldJob is a job with what its spec says and whether it is in the queue.
type heldJob struct {
	Job
	spec   *JobSpec
	before []byte // its encoding when it was loaded
	queued []byte // its key in the queue, nil when it is not there
	noted  []Event
	gone   bool
}

type heldNode struct {
	Node
	before []byte
	gone   bool
}

type heldTenant struct {
	Tenant
	before []byte
}

type accountKey struct {
	tenant TenantID
	day    uint32
}

type heldAccount struct {
	Account
	fresh bool
}

type pendingKey struct {
	job   JobID
	phase Phase
	first uint32
}

// heldPending is a pending range. Ranges come and go within a command, as when
// several placements cut pieces off one: what ends is written.
type heldPending struct {
	Pending
	stored, changed, gone bool
}

type chunkKey struct {
	job    JobID
	number uint32
}

// session is the application of one command.
type session struct {
	reader
	now      Time
	tenants  cache[TenantID, heldTenant]
	nodes    cache[NodeID, heldNode]
	jobs     cache[JobID, heldJob]
	accounts cache[accountKey, heldAccount]
	modules  cache[moduleKey, heldCharges]
	jobDays  cache[jobDayKey, heldCharges]
	pendings cache[pendingKey, heldPending]
	chunks   cache[chunkKey, Chunk]
	orders   cache[OrderID, heldOrder]
	writer   wire // what records are encoded in: Tx.Set copies
	lastMeta *meta
	errands  []errand
	steps    int // of errands, so far
	// receipt says that the command is a report which its node has signed.
	receipt bool
	// more says that something was left for a Tick.
	more bool
	// memory is the record of sender, the client whose command this is.
	sender [16]byte
	memory *client
}

func (s *session) set(key, value []byte) {
	if err := s.tx.Set(key, value); err != nil {
		panic(fault{fmt.Errorf("write table %q: %w", key[0], err)})
	}
}

// fetch reads the record at key into v and returns its encoding, nil when there
// is none.
func (s *session) fetch(key []byte, v fielder) []byte {
	value := s.get(key)
	if value != nil {
		s.parse(key, value, v)
	}
	return value
}

func (s *session) save(key []byte, v fielder) { s.set(key, s.writer.encode(v)) }

func (s *session) delete(key []byte) {
	if err := s.tx.Delete(key); err != nil {
		panic(fault{fmt.Errorf("delete from table %q: %w", key[0], err)})
	}
}

// index stores a key that has nothing but itself to say. The value is not empty,
// so that nil from Tx.Get cannot mean two things.
func (s *session) index(key []byte) { s.set(key, []byte{1}) }

func (s *session) arm(at Time, kind uint8, what []byte)    { s.index(keyTimer(at, kind, what)) }
func (s *session) disarm(at Time, kind uint8, what []byte) { s.delete(keyTimer(at, kind, what)) }

func (s *session) tenant(id TenantID) *heldTenant {
	return s.tenants.find(id, func(t *heldTenant) bool {
		t.before = s.fetch(keyTenant(id), &t.Tenant)
		return t.before != nil
	})
}

func (s *session) node(id NodeID) *heldNode {
	n := s.nodes.find(id, func(n *heldNode) bool {
		n.before = s.fetch(keyNode(id), &n.Node)
		return n.before != nil
	})
	if n != nil && n.gone {
		return nil
	}
	return n
}

// job returns the job with its spec, or nil.
func (s *session) job(id JobID) *heldJob {
	j := s.jobs.find(id, func(j *heldJob) bool {
		if j.before = s.fetch(keyJob(id), &j.Job); j.before == nil {
			return false
		}
		if j.inQueue() {
			j.queued = keyQueue(&j.Job)
		}
		return true
	})
	if j == nil || j.gone {
		return nil
	}
	return j
}

// specOf returns the job's spec without its payload.
func (s *session) specOf(j *heldJob) *JobSpec {
	if j.spec == nil {
		j.spec = new(JobSpec)
		if !s.load(keySpec(j.ID), j.spec) {
			panic(fault{fmt.Errorf("job %s has no spec", j.ID)})
		}
	}
	return j.spec
}

// pending returns a range that waits, or nil. It stays as it is when the range is
// removed and others are added.
func (s *session) pending(id JobID, phase Phase, first uint32) *Pending {
	h := s.pendings.find(pendingKey{id, phase, first}, func(h *heldPending) bool {
		h.stored = s.load(keyPending(id, phase, first), &h.Pending)
		return h.stored
	})
	if h == nil || h.gone {
		return nil
	}
	p := h.Pending
	return &p
}

// chunk returns a chunk of a job's outcomes, which the caller changes.
func (s *session) chunk(id JobID, number uint32) *Chunk {
	return s.chunks.find(chunkKey{id, number}, func(c *Chunk) bool {
		s.load(keyChunk(id, number), c)
		return true
	})
}

// account returns today's account of the tenant.
func (s *session) account(id TenantID) *Account {
	key := accountKey{id, s.now.Day()}
	a := s.accounts.find(key, func(a *heldAccount) bool {
		a.fresh = !s.load(keyAccount(id, key.day), &a.Account)
		return true
	})
	if a == nil { // It was forgotten by this command; the clock was turned back since.
		a = &heldAccount{fresh: true}
		s.accounts.put(key, a)
	}
	return &a.Account
}

// meta returns the ledger's own record.
func (s *session) meta() *meta {
	if s.lastMeta == nil {
		s.lastMeta = new(meta)
		s.load(keyMeta(), s.lastMeta)
	}
	return s.lastMeta
}

// inQueue reports whether the scheduler has to look at the job.
func (j *Job) inQueue() bool { return j.State == JobActive && j.Ready > 0 }

// flushPending writes the ranges that were held: before they are scanned, and at
// the end.
func (s *session) flushPending() {
	for _, key := range s.pendings.order {
		switch h := s.pendings.records[key]; {
		case h == nil:
		case h.gone && h.stored:
			s.delete(keyPending(key.job, key.phase, key.first))
		case !h.gone && h.changed:
			s.save(keyPending(key.job, key.phase, key.first), &h.Pending)
		}
	}
	s.pendings = cache[pendingKey, heldPending]{}
}

// flush writes the records that were held.
func (s *session) flush() {
	s.flushPending()
	for _, key := range s.chunks.order {
		s.save(keyChunk(key.job, key.number), s.chunks.records[key])
	}
	if s.lastMeta != nil {
		s.save(keyMeta(), s.lastMeta)
	}
	for _, id := range s.tenants.order {
		if t := s.tenants.records[id]; t != nil {
			s.change(keyTenant(id), t.before, &t.Tenant)
		}
	}
	for _, id := range s.nodes.order {
		if n := s.nodes.records[id]; n != nil && n.gone {
			s.delete(keyNode(id))
		} else if n != nil {
			s.change(keyNode(id), n.before, &n.Node)
		}
	}
	for _, id := range s.jobs.order {
		if j := s.jobs.records[id]; j != nil {
			s.flushJob(j)
		}
	}
	s.flushOrders()
	s.flushCharges()
	for _, key := range s.accounts.order {
		a := s.accounts.records[key]
		if a == nil {
			continue
		}
		s.save(keyAccount(key.tenant, key.day), &a.Account)
		if a.fresh {
			at := Time(key.day+AccountDays) * dayNanos
			s.arm(at, timerAccount, whatAccount(key.tenant, key.day))
		}
	}
}

func (s *session) flushJob(j *heldJob) {
	var queued []byte
	if !j.gone && j.inQueue() {
		queued = keyQueue(&j.Job)
	}
	if j.queued != nil && queued == nil {
		s.delete(j.queued)
	}
	if j.queued == nil && queued != nil {
		s.index(queued)
	}
	if j.gone {
		s.delete(keyJob(j.ID))
		return
	}
	s.flushEvents(j)
	s.change(keyJob(j.ID), j.before, &j.Job)
}

// change writes v unless it is as it was.
func (s *session) change(key, before []byte, v fielder) {
	if after := s.writer.encode(v); !bytes.Equal(before, after) {
		s.set(key, after)
	}
}
