package replica

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// noticePauses are the pauses before a voter is told again that did not have the
// entry yet. After the last one it learns from Raft, within CommitTimeout.
var noticePauses = [...]time.Duration{
	5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 320 * time.Millisecond, time.Second,
}

// notice says that the entry with this index and term is committed.
type notice struct{ index, term uint64 }

// notices tell the other voters at once what is committed: Raft lets them wait for
// its next entry, or for CommitTimeout. A notice is what Raft's leader itself would
// say: entries may follow the one with this index and term, none do so far, and up
// to there everything is committed. It is true for ever, in the name of the leader
// of the entry's own term; a voter that has moved on to another term refuses it.
type notices struct {
	mu sync.Mutex
	// news is the newest notice for each voter that is being told.
	news    map[raft.ServerID]notice
	ended   bool
	telling sync.WaitGroup
}

// spread tells the other voters that the entry at index is committed.
func (i *instance) spread(log raft.LogStore, own raft.ServerID, index uint64) {
	var entry raft.Log
	if err := log.GetLog(index, &entry); err != nil {
		return // it is in a snapshot already; Raft tells
	}
	configuration := i.GetConfiguration()
	if configuration.Error() != nil {
		return
	}
	for _, s := range configuration.Configuration().Servers {
		if s.ID != own && s.Suffrage == raft.Voter {
			i.tell(s, own, notice{entry.Index, entry.Term})
		}
	}
}

// tell begins to tell one voter, or has those told that have begun.
func (i *instance) tell(to raft.Server, own raft.ServerID, n notice) {
	i.notices.mu.Lock()
	defer i.notices.mu.Unlock()
	if i.notices.ended {
		return
	}
	_, telling := i.notices.news[to.ID]
	if i.notices.news == nil {
		i.notices.news = map[raft.ServerID]notice{}
	}
	i.notices.news[to.ID] = n
	if !telling {
		i.notices.telling.Go(func() { i.keepTelling(to, own) })
	}
}

// keepTelling tells a voter until there is no news for it.
func (i *instance) keepTelling(to raft.Server, own raft.ServerID) {
	told, refused := notice{}, 0
	for {
		i.notices.mu.Lock()
		n := i.notices.news[to.ID]
		if n == told || i.notices.ended {
			delete(i.notices.news, to.ID)
			i.notices.mu.Unlock()
			return
		}
		i.notices.mu.Unlock()
		if success, err := i.notify(to, own, n); success || err != nil || refused == len(noticePauses) {
			told, refused = n, 0
			continue
		}
		if !pause(noticePauses[refused], i.ending) {
			told = n
		}
		refused++
	}
}

// notify sends one notice. No success means that the voter does not have the
// entry, or is in another term.
func (i *instance) notify(to raft.Server, own raft.ServerID, n notice) (success bool, err error) {
	request := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(own), Addr: i.trans.EncodePeer(own, i.trans.LocalAddr()),
		},
		Term: n.term, PrevLogEntry: n.index, PrevLogTerm: n.term, LeaderCommitIndex: n.index,
	}
	var response raft.AppendEntriesResponse
	err = again(func() error { return i.trans.AppendEntries(to.ID, to.Address, &request, &response) })
	return response.Success, err
}

// end lets nobody be told any more, and waits for those who are.
func (n *notices) end() {
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	n.telling.Wait()
}
