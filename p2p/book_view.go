package p2p

import (
	"cmp"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// records returns up to n signed records of members other than except, those seen
// last first.
func (b *book) records(n int, except peer.ID) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]peer.ID, 0, len(b.entries))
	for id, e := range b.entries {
		if e.met && id != except && len(e.record) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y peer.ID) int {
		return cmp.Or(
			cmp.Compare(boolRank(b.entries[x].connections == 0), boolRank(b.entries[y].connections == 0)),
			b.entries[y].seen.Compare(b.entries[x].seen), cmp.Compare(x, y))
	})
	var out [][]byte
	for _, id := range ids[:min(n, len(ids))] {
		out = append(out, b.entries[id].record)
	}
	return out
}

// members returns all that were met, now or before, sorted by id.
func (b *book) members() []Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Member
	for id, e := range b.entries {
		if e.role == 0 {
			continue
		}
		m := Member{ID: idOf(id), Role: e.role, Name: e.name, Seen: e.seen, Connected: e.connections > 0}
		for _, a := range e.where() {
			m.Addresses = append(m.Addresses, a.String())
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y Member) int { return cmp.Compare(x.ID, y.ID) })
	return out
}
