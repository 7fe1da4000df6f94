package book

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// lanesMax bounds the commands that a node has under way at the same time: each
// needs a number of its own, and a client of the ledger has one at a time.
const lanesMax = 64

// proposer numbers the commands of one client.
type proposer struct {
	client [16]byte
	seq    uint64
}

func newProposer() (*proposer, error) {
	p := &proposer{}
	_, err := rand.Read(p.client[:])
	return p, err
}

// next returns the bytes of a command that is applied once, however often it
// arrives.
func (p *proposer) next(now time.Time, c ledger.Command) []byte {
	p.seq++
	return ledger.Encode(ledger.Envelope{Client: p.client, Seq: p.seq, Now: ledger.Time(now.UnixNano()), Body: c})
}

// Do proposes a command and returns its result, and the index at which it was
// applied. It is applied at most once, however often it has to be sent; its errors
// are those of replica.Propose. A refusal by the ledger is a result, not an error.
func (b *Book) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	select {
	case b.lanes <- struct{}{}:
		defer func() { <-b.lanes }()
	case <-ctx.Done():
		return ledger.Result{}, 0, fmt.Errorf("propose: all %d lanes are busy: %w", lanesMax, context.Cause(ctx))
	}
	p, err := b.proposer()
	if err != nil {
		return ledger.Result{}, 0, err
	}
	defer b.rest(p)
	answer, index, err := b.Propose(ctx, p.next(b.now(), c))
	if err != nil {
		return ledger.Result{}, 0, err
	}
	r, err := ledger.DecodeResult(answer)
	return r, index, err
}

// proposer returns the one that was used last: few clients are remembered for a
// node that proposes little.
func (b *Book) proposer() (*proposer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.resting)
	if n == 0 {
		return newProposer()
	}
	p := b.resting[n-1]
	b.resting = b.resting[:n-1]
	return p, nil
}

func (b *Book) rest(p *proposer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resting = append(b.resting, p)
}
