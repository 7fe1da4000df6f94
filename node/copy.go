package node

import (
	"context"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/keeper"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

// openKeeper starts what keeps results and modules on two nodes.
func (n *Node) openKeeper(ctx context.Context) error {
	c := keeper.Default()
	c.Self, c.Ledger, c.Objects, c.Peers = n.self(), n.book, n.store, n.endpoint
	c.Usable, c.Log, c.Registerer = n.usable, n.log, n.registry
	c.Down, c.Up = n.link.Down, n.link.Up
	k, err := keeper.Open(ctx, c)
	if err == nil {
		n.keeper.Store(k)
	}
	return err
}

// usable reports whether a node may be asked to keep an object of so many bytes. Not
// every node sees the offers of all others: one whose offer is not known may say
// itself that it has no room.
func (n *Node) usable(node ledger.NodeID, bytes int64) bool {
	if n.host.IsOut(p2p.NodeID(node)) {
		return false
	}
	e, known := n.publisher.Board().Find(p2p.NodeID(node))
	return !known || bytes == 0 || e.Offer.DiskBytes >= uint64(bytes)
}

// probable names the nodes that probably hold an object, for the content store.
func (n *Node) probable(_ context.Context, h content.Hash) []p2p.NodeID {
	if k := n.keeper.Load(); k != nil {
		return k.Holders(h)
	}
	return nil
}
