// Package booktest is a ledger in memory, for tests of what reads and changes one.
package booktest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// Book is a ledger that all nodes of a test share: what one has done all see at once.
type Book struct {
	t testing.TB

	mu    sync.Mutex
	state *ledgertest.Memory
	now   ledger.Time
	index uint64
	// feed has the changes since the beginning, more is closed when there are more.
	feed []replica.Change
	more chan struct{}
}

// New returns an empty ledger. Its clock stands still at the time of the machine.
func New(t testing.TB) *Book {
	return &Book{t: t, state: ledgertest.NewMemory(), now: ledger.Time(time.Now().UnixNano()), more: make(chan struct{})}
}

// Now is the time at which commands are applied.
func (b *Book) Now() ledger.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// Advance puts the clock forward.
func (b *Book) Advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now += ledger.Time(d)
}

// View reads the ledger and returns its index.
func (b *Book) View(f func(tx ledger.Tx) error) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index, f(b.state)
}

// Read is View: no node is behind.
func (b *Book) Read(_ context.Context, f func(tx ledger.Tx) error) (uint64, error) { return b.View(f) }

// Wait waits until the ledger has come to an index.
func (b *Book) Wait(ctx context.Context, index uint64) error {
	for {
		b.mu.Lock()
		now, more := b.index, b.more
		b.mu.Unlock()
		if now >= index {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Watch shows the changes below prefix after an index, then those to come, until ctx
// ends or visit returns an error.
func (b *Book) Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error {
	for {
		b.mu.Lock()
		var list []replica.Change
		for _, c := range b.feed {
			if c.Index > from && bytes.HasPrefix(c.Key, prefix) {
				list = append(list, c)
			}
		}
		index, more := b.index, b.more
		b.mu.Unlock()
		if err := visit(index, list); err != nil {
			return err
		}
		from = index
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Do applies a command.
func (b *Book) Do(_ context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	tx := b.state.Begin()
	defer tx.Discard()
	answer, err := ledger.Apply(tx, b.index, ledger.Encode(ledger.Envelope{Now: b.now, Body: c}))
	if err != nil {
		return ledger.Result{}, 0, err
	}
	for _, key := range tx.Changed() {
		value, err := tx.Get(key)
		if err != nil {
			return ledger.Result{}, 0, err
		}
		b.feed = append(b.feed, replica.Change{Index: b.index, Key: key, Value: value, Deleted: value == nil})
	}
	if err := tx.Commit(); err != nil {
		return ledger.Result{}, 0, err
	}
	close(b.more)
	b.more = make(chan struct{})
	r, err := ledger.DecodeResult(answer)
	return r, b.index, err
}

// Must applies commands that the ledger does not refuse, no item of them either.
func (b *Book) Must(list ...ledger.Command) {
	b.t.Helper()
	for _, c := range list {
		r, _, err := b.Do(b.t.Context(), c)
		if err != nil || r.Code != ledger.CodeOK {
			b.t.Fatalf("%T: %s %s, %v", c, r.Code, r.What, err)
		}
		for _, item := range r.Items {
			if item.Code != ledger.CodeOK {
				b.t.Fatalf("%T: item %s", c, item.Code)
			}
		}
	}
}
