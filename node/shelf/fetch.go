package shelf

import (
	"context"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// got is how a try to fetch an object ended.
type got struct {
	object *content.Object
	err    error
}

// fetch gets an object: from the node that has reported it, and when that has not
// given it after Config.Wait from those that probably hold it, too. The store asks
// everybody when none of these has it. All tries share one transfer: what has
// arrived is not fetched again.
func (s *Shelf) fetch(ctx context.Context, h content.Hash, reporter ledger.NodeID) (*content.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.FetchTimeout)
	defer cancel()
	tries := [][]p2p.NodeID{{p2p.NodeID(reporter)}}
	if s.config.Holders != nil {
		tries = append(tries, s.config.Holders(h))
	}
	if s.slow[reporter] && len(tries) > 1 {
		tries = [][]p2p.NodeID{append(tries[1], tries[0]...)}
	}
	results := make(chan got)
	try := func(holders []p2p.NodeID) {
		object, err := s.config.Objects.Fetch(ctx, h, content.FetchOptions{Holders: holders})
		results <- got{object, err}
	}
	timer := time.NewTimer(s.config.Wait)
	defer timer.Stop()
	var best got
	begun, ended := 1, 0
	go try(tries[0])
	for ended < begun {
		select {
		case r := <-results:
			ended++
			best = s.better(best, r)
			if best.object == nil && begun < len(tries) && ctx.Err() == nil {
				go try(tries[begun])
				begun++
			}
			if best.object != nil {
				cancel()
			}
		case <-timer.C:
			if begun < len(tries) {
				s.slow[reporter] = true
				go try(tries[begun])
				begun++
			}
		}
	}
	if best.object != nil {
		return best.object, nil
	}
	return nil, best.err
}

// better returns the try that has the object, and closes what is not needed.
func (s *Shelf) better(a, b got) got {
	switch {
	case a.object == nil && (b.object != nil || a.err == nil):
		return b
	case b.object != nil:
		_ = b.object.Close()
	}
	return a
}
