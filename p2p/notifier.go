package p2p

import "sync"

// notifier tells who asked for it that members came and went, one call after
// another, each listener in a goroutine of its own. What waits for a slow listener
// is bounded: a coming and a going of the same member that were not told yet
// cancel each other.
type notifier struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	f     func(id NodeID, up bool)
	mu    sync.Mutex
	queue []notice
	more  chan struct{}
	stop  chan struct{}
	ended chan struct{}
}

type notice struct {
	id NodeID
	up bool
}

func (n *notifier) add(f func(id NodeID, up bool)) (cancel func()) {
	l := &listener{f: f, more: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return func() {}
	}
	if n.listeners == nil {
		n.listeners = map[*listener]struct{}{}
	}
	n.listeners[l] = struct{}{}
	go l.run()
	return sync.OnceFunc(func() { n.remove(l) })
}

func (n *notifier) remove(l *listener) {
	n.mu.Lock()
	_, there := n.listeners[l]
	delete(n.listeners, l)
	n.mu.Unlock()
	if there {
		close(l.stop)
	}
	<-l.ended
}

func (n *notifier) tell(id NodeID, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.listeners {
		l.push(notice{id, up})
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	var all []*listener
	for l := range n.listeners {
		all = append(all, l)
	}
	n.mu.Unlock()
	for _, l := range all {
		n.remove(l)
	}
}

func (l *listener) push(c notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, waiting := range l.queue {
		if waiting.id == c.id && waiting.up != c.up {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return
		}
	}
	l.queue = append(l.queue, c)
	signal(l.more)
}

func (l *listener) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.stop:
			return
		case <-l.more:
		}
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			c, ok := l.pop()
			if !ok {
				break
			}
			l.f(c.id, c.up)
		}
	}
}

func (l *listener) pop() (notice, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return notice{}, false
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, true
}
