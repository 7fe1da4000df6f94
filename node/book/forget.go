package book

import (
	"context"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

const (
	// nodesPage bounds the nodes that are read at once.
	nodesPage = 256
	// forgetSteps bounds the commands that one node's leases may take: each
	// ends up to 256 of them, and a node's slots bound how many there are.
	forgetSteps = 1 << 16
)

// forgetNodes gives up every node of the state, and what they run.
func forgetNodes(ctx context.Context, b *Book) error {
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
			if err := forget(ctx, b, n.ID); err != nil {
				return fmt.Errorf("forget node %s: %w", n.ID, err)
			}
		}
	}
}

func forget(ctx context.Context, b *Book, node ledger.NodeID) error {
	if _, _, err := b.Do(ctx, &ledger.SetNodeState{Node: node, State: ledger.NodeGone}); err != nil {
		return err
	}
	for range forgetSteps {
		r, _, err := b.Do(ctx, &ledger.RemoveNode{Node: node})
		if err != nil {
			return err
		}
		if r.Code == ledger.CodeOK {
			return nil
		}
		if r.Code != ledger.CodeNodeBusy {
			return fmt.Errorf("%s: %s", r.Code, r.Code.Help())
		}
		if _, _, err := b.Do(ctx, &ledger.Tick{}); err != nil {
			return err
		}
	}
	return fmt.Errorf("its leases do not end within %d commands", forgetSteps)
}
