package store

import (
	"runtime"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// compactors are those of one database: goroutines of Badger's own, each of which
// looks every 50 ms whether a level is due. On a node that does nothing that was
// most of what woke it, so there they rest, from a round of maintenance that finds
// no level due until enough is written that one may be.
//
// Badger cannot be told to stop them, but it does for as long as it flattens, and
// starts them again whichever way that ends. So they rest inside a Flatten that is
// held at the first words that it logs, before it has looked at a table, and never
// gets further. Should a later Badger use other words it would flatten, and they
// would not rest: TestCompactorsRest would tell.
type compactors struct {
	db *badger.DB
	// wakeBytes is what is written before they have to look again: half of a
	// table in memory, so that they look before one is full more than twice.
	wakeBytes int64

	mu sync.Mutex
	// written counts the bytes since the last look, or since the rest began.
	written int64
	// pause is the last rest, nil when there was none.
	pause *pause
}

// pause is one rest.
type pause struct {
	// began is closed when the compactors have stopped, over to wake them, ended
	// when they run again.
	began, over, ended chan struct{}
}

func (p *pause) is(event <-chan struct{}) bool {
	select {
	case <-event:
		return true
	default:
		return false
	}
}

// flattenBegins is what Flatten logs first, its format.
const flattenBegins = "\n"

func newCompactors(memTableBytes int64) *compactors {
	return &compactors{wakeBytes: memTableBytes / 2}
}

// look lets the compactors rest when little was written since the last look and no
// level is due. Calls of look and wake are not to overlap.
func (c *compactors) look() {
	if c.resting() {
		return
	}
	c.mu.Lock()
	calm := c.written < c.wakeBytes
	c.written = 0
	c.mu.Unlock()
	if !calm || c.due() {
		return
	}
	c.rest()
	if c.due() { // by what they were at when they were stopped
		c.wake()
	}
}

// due reports whether a compactor that looked would find something to do.
func (c *compactors) due() bool {
	for _, l := range c.db.Levels() {
		if l.Adjusted >= 1 || l.Level == 0 && l.NumTables >= levelZeroTables {
			return true
		}
	}
	return false
}

func (c *compactors) resting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pause != nil && !c.pause.is(c.pause.over)
}

// rest returns when the compactors have stopped, which they do when what they are
// at is done.
func (c *compactors) rest() {
	c.wake()
	p := &pause{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	c.mu.Lock()
	c.pause = p
	c.mu.Unlock()
	go func() {
		defer close(p.ended)
		defer c.signal(p)
		_ = c.db.Flatten(1) // does not return, see hold
	}()
	select {
	case <-p.began:
	case <-p.ended:
	}
}

// hold is called by whatever logs flattenBegins: in a rest, it returns never, but
// ends the goroutine when the rest is over.
func (c *compactors) hold() {
	c.mu.Lock()
	p := c.pause
	c.mu.Unlock()
	if p == nil || p.is(p.began) {
		return
	}
	close(p.began)
	<-p.over
	runtime.Goexit()
}

// wrote counts what is about to be written, and has the compactors woken before it
// could fill level 0.
func (c *compactors) wrote(bytes int64) {
	c.mu.Lock()
	c.written += bytes
	p, due := c.pause, c.written >= c.wakeBytes
	c.mu.Unlock()
	if due && p != nil {
		c.signal(p)
	}
}

func (c *compactors) signal(p *pause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !p.is(p.over) {
		close(p.over)
	}
}

// wake returns when the compactors run. It has to be called before Badger's own
// Flatten or Close, which stop them as well.
func (c *compactors) wake() {
	c.mu.Lock()
	p := c.pause
	c.mu.Unlock()
	if p != nil {
		c.signal(p)
		<-p.ended
	}
}
