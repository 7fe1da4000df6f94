package book

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// nodesPage bounds the nodes that are read at once.
	nodesPage = 256
	// forgetSteps bounds the commands that one node's leases may take: each
	// ends up to 256 of them, and a node's slots bound how many there are.
	forgetSteps = 1 << 16
)

// proposer numbers the commands of one client.
type proposer struct {
	book   *Book
	client [16]byte
	seq    uint64
}

func newProposer(b *Book) (*proposer, error) {
	p := &proposer{book: b}
	_, err := rand.Read(p.client[:])
	return p, err
}

func (p *proposer) propose(ctx context.Context, body ledger.Command) (ledger.Result, error) {
	p.seq++
	now := ledger.Time(time.Now().UnixNano())
	b, _, err := p.book.Propose(ctx, ledger.Encode(ledger.Envelope{Client: p.client, Seq: p.seq, Now: now, Body: body}))
	if err != nil {
		return ledger.Result{}, err
	}
	return ledger.DecodeResult(b)
}

// forgetNodes gives up every node of the state, and what they run.
func forgetNodes(ctx context.Context, b *Book) error {
	p, err := newProposer(b)
	if err != nil {
		return err
	}
	for {
		var nodes []ledger.Node
		if _, err := b.View(func(tx ledger.Tx) (err error) {
			nodes, err = ledger.Nodes(tx, "", nodesPage)
			return err
		}); err != nil {
			return err
		}
		if len(nodes) == 0 {
			return nil
		}
		for _, n := range nodes {
			if err := p.forget(ctx, n.ID); err != nil {
				return fmt.Errorf("forget node %s: %w", n.ID, err)
			}
		}
	}
}

func (p *proposer) forget(ctx context.Context, node ledger.NodeID) error {
	if _, err := p.propose(ctx, &ledger.SetNodeState{Node: node, State: ledger.NodeGone}); err != nil {
		return err
	}
	for range forgetSteps {
		r, err := p.propose(ctx, &ledger.RemoveNode{Node: node})
		if err != nil {
			return err
		}
		if r.Code == ledger.CodeOK {
			return nil
		}
		if r.Code != ledger.CodeNodeBusy {
			return fmt.Errorf("%s: %s", r.Code, r.Code.Help())
		}
		if _, err := p.propose(ctx, &ledger.Tick{}); err != nil {
			return err
		}
	}
	return fmt.Errorf("its leases do not end within %d commands", forgetSteps)
}
