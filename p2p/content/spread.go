package content

import (
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// spreadObjectsMax bounds the objects whose spreading is remembered.
const spreadObjectsMax = 256

// spread remembers who got which chunk from here of late, so that a popular
// object leaves its origin a few times only: whoever comes later is referred to
// those who came before.
type spread struct {
	copiesMax int
	window    time.Duration

	mu      sync.Mutex
	objects map[Hash]*spreading
}

// spreading is one object.
type spreading struct {
	since time.Time
	to    map[int][]p2p.NodeID
}

// admit says whether a member gets chunk k from here, and if not who has it.
func (s *spread) admit(h Hash, k int, id p2p.NodeID, insist bool) (others []p2p.NodeID, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	o := s.objects[h]
	if o == nil || now.Sub(o.since) > s.window {
		if o == nil && len(s.objects) >= spreadObjectsMax {
			s.forgetOldest()
		}
		o = &spreading{since: now, to: map[int][]p2p.NodeID{}}
		s.objects[h] = o
	}
	to := o.to[k]
	switch {
	case slices.Contains(to, id):
	case len(to) < s.copiesMax:
		o.to[k] = append(to, id)
	case !insist:
		return slices.Clone(to), false
	}
	return nil, true
}

func (s *spread) forgetOldest() {
	var oldest Hash
	var since time.Time
	for h, o := range s.objects {
		if since.IsZero() || o.since.Before(since) {
			oldest, since = h, o.since
		}
	}
	delete(s.objects, oldest)
}
