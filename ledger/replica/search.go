package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// search is one search for a parent.
type search struct {
	replica *Replica
	// queue holds the addresses to try next, seen those that were tried.
	queue []string
	seen  map[string]bool
	// tooOld are those that could feed this member if its state were newer.
	tooOld []string
	// fetched counts the states that were taken as a whole.
	fetched int
	err     error
}

const (
	// attemptsMax bounds the members that one search tries.
	attemptsMax = 64
	// resumesMax bounds those that are tried before the state is fetched as a
	// whole, which costs more than all of them.
	resumesMax = 4
	// fetchesMax bounds the states fetched in one search: each may be too old
	// again when it has arrived.
	fetchesMax = 2
)

// search tries members, and those that they name, until one feeds this member;
// it returns when that one has stopped. streamed tells that one did.
func (r *Replica) search(ctx context.Context) (streamed bool, err error) {
	s := &search{replica: r, queue: r.candidates(), seen: map[string]bool{r.config.Address: true}, err: ErrNotMember}
	for tried := 0; tried < attemptsMax && ctx.Err() == nil; {
		if n := len(s.tooOld); s.fetched < fetchesMax && (n >= resumesMax || len(s.queue) == 0 && n > 0) {
			s.fetch(ctx)
		}
		if len(s.queue) == 0 {
			break
		}
		address := s.queue[0]
		s.queue = s.queue[1:]
		if s.seen[address] || address == "" {
			continue
		}
		tried++
		if s.attach(ctx, address) {
			return true, s.err
		}
	}
	if r.tree.depthLimit() < depthMax {
		// Nobody above will have it: better alone than none.
		r.tree.disown()
	}
	return false, s.err
}

// attach tries one member.
func (s *search) attach(ctx context.Context, address string) (streamed bool) {
	s.seen[address] = true
	streamed, others, err := s.replica.streamFrom(ctx, address)
	if streamed {
		s.err = err
		return true
	}
	if errors.Is(err, ErrTooOld) {
		s.tooOld = append(s.tooOld, address)
	}
	s.fail(address, err)
	rand.Shuffle(len(others), func(i, k int) { others[i], others[k] = others[k], others[i] })
	s.queue = append(others, s.queue...)
	return false
}

// fetch takes the state from one of those that had nothing else, and has them
// tried again.
func (s *search) fetch(ctx context.Context) {
	from := s.tooOld
	s.tooOld = nil
	for _, address := range from {
		err := s.replica.fetch(ctx, address)
		if err != nil {
			s.fail(address, err)
			continue
		}
		for _, again := range from {
			delete(s.seen, again)
		}
		s.queue = append(from, s.queue...)
		s.fetched++
		return
	}
}

func (s *search) fail(address string, err error) {
	s.err = fmt.Errorf("stream from %s: %w", address, err)
	s.replica.log.Debug("member does not feed this one", "address", address, "err", err)
}

// candidates lists whom to try: voters but for the leader, the leader, some
// other members, and the addresses given to Join.
func (r *Replica) candidates() []string {
	const othersMax = 16
	view := r.book.view()
	leaderID, leader := r.leader()
	var voters, others []string
	for _, s := range view.servers {
		if id := string(s.ID); id != r.config.ID && id != leaderID {
			voters = append(voters, view.address(id))
		}
	}
	for id, m := range view.members {
		if id != r.config.ID && id != leaderID && !m.Voter {
			others = append(others, m.Address)
		}
	}
	rand.Shuffle(len(voters), func(i, k int) { voters[i], voters[k] = voters[k], voters[i] })
	rand.Shuffle(len(others), func(i, k int) { others[i], others[k] = others[k], others[i] })
	list := append(voters, leader)
	list = append(list, others[:min(len(others), othersMax)]...)
	return append(list, r.seedList()...)
}
