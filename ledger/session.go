package ledger

import (
	"bytes"
	"fmt"
)

// cache holds records of one table that a command has touched; they are
// written once, at its end, in the order in which they were first touched.
type cache[K comparable, V any] struct {
	records map[K]*V
	order   []K
}

// find returns the record, loading it when it is met for the first time; nil
// when there is none.
func (c *cache[K, V]) find(key K, load func(*V) bool) *V {
	if v, ok := c.records[key]; ok {
		return v
	}
	v := new(V)
	if !load(v) {
		v = nil
	}
	c.put(key, v)
	return v
}

func (c *cache[K, V]) put(key K, v *V) {
	if c.records == nil {
		c.records = make(map[K]*V)
	}
	if _, ok := c.records[key]; !ok {
		c.order = append(c.order, key)
	}
	c.records[key] = v
}

// heldJob is a job with what its spec says and whether it is in the queue.
type heldJob struct {
	Job
	spec   *JobSpec
	before []byte // its encoding when it was loaded
	queued []byte // its key in the queue, nil when it is not there
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

// session is the application of one command.
type session struct {
	reader
	now      Time
	tenants  cache[TenantID, heldTenant]
	nodes    cache[NodeID, heldNode]
	jobs     cache[JobID, heldJob]
	accounts cache[accountKey, heldAccount]
	lastMeta *meta
	errands  []errand
	steps    int // of errands, so far
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

func (s *session) save(key []byte, v fielder) { s.set(key, encode(v)) }

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
		t.before = bytes.Clone(s.get(keyTenant(id)))
		return s.load(keyTenant(id), &t.Tenant)
	})
}

func (s *session) node(id NodeID) *heldNode {
	n := s.nodes.find(id, func(n *heldNode) bool {
		n.before = bytes.Clone(s.get(keyNode(id)))
		return s.load(keyNode(id), &n.Node)
	})
	if n != nil && n.gone {
		return nil
	}
	return n
}

// job returns the job with its spec, or nil.
func (s *session) job(id JobID) *heldJob {
	j := s.jobs.find(id, func(j *heldJob) bool {
		j.before = bytes.Clone(s.get(keyJob(id)))
		if !s.load(keyJob(id), &j.Job) {
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

// account returns today's account of the tenant.
func (s *session) account(id TenantID) *Account {
	key := accountKey{id, uint32(max(s.now, 0) / dayNanos)}
	a := s.accounts.find(key, func(a *heldAccount) bool {
		a.fresh = !s.load(keyAccount(id, key.day), &a.Account)
		return true
	})
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

// flush writes the records that were held.
func (s *session) flush() {
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
	for _, key := range s.accounts.order {
		a := s.accounts.records[key]
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
	s.change(keyJob(j.ID), j.before, &j.Job)
}

// change writes v unless it is as it was.
func (s *session) change(key, before []byte, v fielder) {
	if after := encode(v); !bytes.Equal(before, after) {
		s.set(key, after)
	}
}
