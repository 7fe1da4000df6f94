package replica

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/dugnad/dugnad/ledger"
	"github.com/hashicorp/raft"
)

// Member is what the grid knows of one member.
type Member struct {
	ID, Address string
	// Voter tells that the member is in the quorum.
	Voter bool
	// NeverVote tells that it does not want to be.
	NeverVote bool
}

// bookView is the replicated knowledge of the members, as of the applied index.
type bookView struct {
	lineage string
	// members are those that have announced themselves and not left.
	members map[string]Member
	// servers are those of Raft's configuration, decided at serversIndex.
	servers      []raft.Server
	serversIndex uint64
}

// book keeps the latest bookView.
type book struct{ latest atomic.Pointer[bookView] }

func (b *book) view() *bookView { return b.latest.Load() }

var (
	lineageKey   = own("lineage")
	serversKey   = own("servers")
	memberPrefix = own("member/")
)

// load reads the book from the store. Bytes that it cannot read it leaves out:
// only this package writes them.
func (b *book) load(store Store) error {
	v := &bookView{members: map[string]Member{}}
	_, err := store.ViewAt(func(tx ledger.Tx) error {
		lineage, err := tx.Get(lineageKey)
		if err != nil {
			return err
		}
		v.lineage = string(lineage)
		servers, err := tx.Get(serversKey)
		if err != nil {
			return err
		}
		if servers != nil {
			if v.serversIndex, v.servers, err = decodeServers(servers); err != nil {
				return err
			}
		}
		return tx.Scan(memberPrefix, memberPrefix, func(key, value []byte) bool {
			d := decoder{rest: value}
			m := Member{ID: string(key[len(memberPrefix):]), Address: d.string(addressBytesMax)}
			m.NeverVote = d.uvarint()&flagNeverVote != 0
			if d.err == nil {
				v.members[m.ID] = m
			}
			return true
		})
	})
	if err != nil {
		return fmt.Errorf("read members: %w", err)
	}
	for _, s := range v.servers {
		if m, ok := v.members[string(s.ID)]; ok {
			m.Voter = s.Suffrage == raft.Voter
			v.members[m.ID] = m
		}
	}
	b.latest.Store(v)
	return nil
}

// putVoters writes down Raft's configuration, so that those outside Raft know
// it too. An older one than is there changes nothing.
func putVoters(tx ledger.Tx, index uint64, c raft.Configuration) error {
	b := binary.AppendUvarint(nil, index)
	b = binary.AppendUvarint(b, uint64(len(c.Servers)))
	for _, s := range c.Servers {
		b = appendBytes(b, s.ID)
		b = appendBytes(b, s.Address)
		b = append(b, byte(s.Suffrage))
	}
	return tx.Set(serversKey, b)
}

// serversMax bounds the servers of a stored configuration.
const serversMax = 64

func decodeServers(b []byte) (index uint64, servers []raft.Server, err error) {
	d := decoder{rest: b}
	index = d.uvarint()
	n := d.uvarint()
	if n > serversMax {
		d.fail("count of servers")
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		servers = append(servers, raft.Server{
			ID: raft.ServerID(d.string(idBytesMax)), Address: raft.ServerAddress(d.string(addressBytesMax)),
			Suffrage: raft.ServerSuffrage(d.byte()),
		})
	}
	if err := d.end(); err != nil {
		return 0, nil, fmt.Errorf("decode servers: %w", err)
	}
	return index, servers, nil
}

// applyMember applies a command of the replica.
func applyMember(tx ledger.Tx, m memberCommand) error {
	key := append(own("member/"), m.id...)
	switch m.kind {
	case memberLineage:
		if was, err := tx.Get(lineageKey); err != nil || was != nil {
			return err
		}
		return tx.Set(lineageKey, []byte(m.id))
	case memberPut:
		return tx.Set(key, binary.AppendUvarint(appendBytes(nil, m.address), m.flags))
	default:
		return tx.Delete(key)
	}
}

// server returns the member's entry in Raft's configuration.
func (v *bookView) server(id string) (raft.Server, bool) {
	for _, s := range v.servers {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// address returns where a member is: as it has announced, or else as Raft's
// configuration says; "" when nobody knows.
func (v *bookView) address(id string) string {
	if m, ok := v.members[id]; ok {
		return m.Address
	}
	s, _ := v.server(id)
	return string(s.Address)
}
