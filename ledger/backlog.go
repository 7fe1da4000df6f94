package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Backlog is a scheduler's picture of the state: the queue, the nodes and the
// tenants. It is read once and then kept by telling it every change, so that a
// pass of the scheduler costs no reading but of the jobs that are new to it.
//
//   - Within one view, whose index is i, call NewBacklog.
//   - Give it each change after i, in the order of the log, with Change: those to
//     all keys, or to those with BacklogPrefixes.
//   - Before a pass, call Jobs with a view that is not older than the last of
//     these changes. It may be newer: the changes up to it, which then come
//     twice, do no harm, and a plan may be stale anyway.
//
// When a change is missing, or Change or Jobs fails, make another one. A Backlog
// is for one goroutine at a time.
type Backlog struct {
	limit   QueueLimit
	groups  map[string]*queueGroup
	order   []*queueGroup
	empty   int // groups without a job
	jobs    map[JobID]*heldQueued
	nodes   map[NodeID]*Node
	sorted  []*Node // of nodes; nil when one came or went
	tenants map[TenantID]*Tenant
}

// queueGroup is the jobs of a tenant in a band that are in the queue.
type queueGroup struct {
	// name is the key up to the tenant, without the table; entries are what
	// follows, in order.
	name    string
	entries [][queueEntry]byte
}

// BacklogPrefixes are what the keys begin with that a Backlog has to be told of.
func BacklogPrefixes() [][]byte {
	return [][]byte{{tableQueue}, {tableJob}, {tablePending}, {tableNode}, {tableTenant}}
}

// NewBacklog reads the picture. It keeps 24 bytes for each job of the queue, and
// of those within the limit all but the payload.
func NewBacklog(tx Tx, limit QueueLimit) (b *Backlog, err error) {
	defer catch(&err)
	b = &Backlog{
		limit: limit, groups: map[string]*queueGroup{}, jobs: map[JobID]*heldQueued{},
		nodes: map[NodeID]*Node{}, tenants: map[TenantID]*Tenant{},
	}
	for _, table := range []byte{tableQueue, tableNode, tableTenant} {
		reader{tx}.scan([]byte{table}, nil, func(key, value []byte) bool {
			err = b.Change(key, value)
			return err == nil
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Change takes a change into the picture: the key and its value, nil when it was
// deleted. Keys that it has no use for change nothing. An error means that the
// key or value is not one that Apply has written.
func (b *Backlog) Change(key, value []byte) (err error) {
	defer catch(&err)
	if len(key) == 0 {
		return nil
	}
	r := reader{}
	switch key[0] {
	case tableQueue:
		if len(key) < 3+queueEntry {
			return fmt.Errorf("read %q: %w", key, ErrMalformed)
		}
		b.changeQueue(key, value != nil)
	case tableJob:
		if h := b.held(key); h != nil && value != nil {
			var j Job
			r.parse(key, value, &j)
			h.Job = j
		}
	case tablePending:
		if h := b.held(key); h != nil && len(key) == 22 && Phase(key[17]) == PhaseReady {
			h.changeRange(key, value, b.limit.Ranges)
		}
	case tableNode:
		b.changeNode(key, value)
	case tableTenant:
		t := &Tenant{}
		r.parse(key, value, t)
		b.tenants[t.ID] = t
	}
	return nil
}

// held returns the job whose id follows the table in key, when it is held.
func (b *Backlog) held(key []byte) *heldQueued {
	if len(key) < 17 {
		return nil
	}
	return b.jobs[parseJob(key[1:])]
}

func (b *Backlog) changeQueue(key []byte, in bool) {
	name, entry := key[1:len(key)-queueEntry], [queueEntry]byte(key[len(key)-queueEntry:])
	g := b.groups[string(name)]
	if g == nil {
		g = &queueGroup{name: string(name)}
		b.groups[g.name] = g
		b.empty++
		i, _ := slices.BinarySearchFunc(b.order, g.name, func(g *queueGroup, name string) int { return strings.Compare(g.name, name) })
		b.order = slices.Insert(b.order, i, g)
	}
	i, found := slices.BinarySearchFunc(g.entries, entry, func(a, b [queueEntry]byte) int { return bytes.Compare(a[:], b[:]) })
	switch {
	case in && !found:
		if len(g.entries) == 0 {
			b.empty--
		}
		g.entries = slices.Insert(g.entries, i, entry)
	case !in:
		delete(b.jobs, parseJob(entry[8:]))
		switch {
		case found && i == 0:
			// As a rule the oldest goes: that moves nothing.
			g.entries = g.entries[1:]
		case found:
			g.entries = slices.Delete(g.entries, i, i+1)
		}
		if found && len(g.entries) == 0 {
			b.empty++
		}
	}
}

// dropEmpty forgets the groups without a job when they are many, so that a pass does
// not cost more with each tenant that ever had one.
func (b *Backlog) dropEmpty() {
	if b.empty <= len(b.order)/2+queueSkip {
		return
	}
	b.order = slices.DeleteFunc(b.order, func(g *queueGroup) bool {
		if len(g.entries) == 0 {
			delete(b.groups, g.name)
		}
		return len(g.entries) == 0
	})
	b.empty = 0
}

// changeRange takes in a change to a ready range.
func (h *heldQueued) changeRange(key, value []byte, limit int) {
	_, first := parsePending(key)
	i, found := slices.BinarySearchFunc(h.Ranges, first, func(p Pending, first uint32) int { return int(p.Tasks.First) - int(first) })
	if value == nil {
		if found {
			h.Ranges = slices.Delete(h.Ranges, i, i+1)
		}
		return
	}
	var p Pending
	reader{}.parse(key, value, &p)
	switch {
	case found:
		h.Ranges[i] = p
	case i < len(h.Ranges) || !h.more:
		h.Ranges = slices.Insert(h.Ranges, i, p)
	}
	if limit > 0 && len(h.Ranges) > limit {
		h.Ranges, h.more = h.Ranges[:limit], true
	}
}

func (b *Backlog) changeNode(key, value []byte) {
	id := NodeID(key[1:])
	was := b.nodes[id]
	if value == nil {
		delete(b.nodes, id)
		b.sorted = nil
		return
	}
	n := &Node{}
	reader{}.parse(key, value, n)
	b.nodes[id] = n
	if was == nil {
		b.sorted = nil
		return
	}
	if i, ok := slices.BinarySearchFunc(b.sorted, id, byID); ok {
		b.sorted[i] = n
	}
}

func byID(n *Node, id NodeID) int { return strings.Compare(string(n.ID), string(id)) }

// Jobs returns what Queue would: the jobs of the queue within the limit, in its
// order. It reads those that it does not hold. They must not be changed, and are
// valid until the next call of Change.
func (b *Backlog) Jobs(tx Tx) (list []*QueuedJob, err error) {
	defer catch(&err)
	r := reader{tx}
	b.dropEmpty()
	total := 0
	for _, g := range b.order {
		total += b.limit.some(len(g.entries))
	}
	each := b.limit.each(total, len(b.order)-b.empty)
	for _, g := range b.order {
		entries := g.entries
		if each > 0 {
			entries = entries[:min(each, len(entries))]
		}
		for _, entry := range entries {
			if b.limit.Jobs > 0 && len(list) == b.limit.Jobs {
				b.forget(list)
				return list, nil
			}
			if h := b.find(r, parseJob(entry[8:])); h != nil {
				list = append(list, &h.QueuedJob)
			}
		}
	}
	b.forget(list)
	return list, nil
}

// find returns a job of the queue, or nil when the view is newer and the job is
// there no longer.
func (b *Backlog) find(r reader, id JobID) *heldQueued {
	h := b.jobs[id]
	switch {
	case h == nil:
		h, ok := r.queuedJob(id, b.limit.Ranges)
		if !ok {
			return nil
		}
		b.jobs[id] = h
		return h
	case h.more && len(h.Ranges) <= b.limit.Ranges/2:
		h.fill(r, b.limit.Ranges)
	}
	return h
}

// forget drops jobs that are not in the list, when they are many: others have
// come before them.
func (b *Backlog) forget(list []*QueuedJob) {
	if len(b.jobs) <= 2*len(list)+queueSkip {
		return
	}
	jobs := make(map[JobID]*heldQueued, len(list))
	for _, q := range list {
		jobs[q.Job.ID] = b.jobs[q.Job.ID]
	}
	b.jobs = jobs
}

// Queued returns how many jobs are in the queue, within the limit or not.
func (b *Backlog) Queued() int {
	n := 0
	for _, g := range b.order {
		n += len(g.entries)
	}
	return n
}

// Nodes returns all nodes in ascending order of id. Neither the list nor the
// nodes may be changed; the list is valid until the next call of Change.
func (b *Backlog) Nodes() []*Node {
	if b.sorted == nil {
		for _, n := range b.nodes {
			b.sorted = append(b.sorted, n)
		}
		slices.SortFunc(b.sorted, func(a, b *Node) int { return byID(a, b.ID) })
	}
	return b.sorted
}

// Tenant returns a tenant, which must not be changed, or nil.
func (b *Backlog) Tenant(id TenantID) *Tenant { return b.tenants[id] }
