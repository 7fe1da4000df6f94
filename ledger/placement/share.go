package placement

import "github.com/dugnad/dugnad/ledger"

// Shares are how much of the grid something is, of each resource that tenants share:
// from 0 to ShareMax, and more where nodes have gone that gave it.
type Shares struct{ Memory, Rate, Slots uint64 }

// Dominant returns the largest of them (Ghodsi et al., 2011).
func (s Shares) Dominant() uint64 { return max(s.Memory, s.Rate, s.Slots) }

// Grid adds up what is shared. The zero value is a grid that has nothing.
type Grid struct{ all total }

// Add counts a node in when it is up: what others have is not to be had.
func (g *Grid) Add(n *ledger.Node) {
	if n.State == ledger.NodeUp {
		g.all.add(&n.Capacity)
	}
}

// Shares returns which shares of the grid resources are.
func (g *Grid) Shares(r *ledger.Resources) Shares { return g.all.shares(r) }

func (t *total) shares(r *ledger.Resources) Shares {
	return Shares{part(r.MemoryBytes, t.memory), part(r.FuelRate, t.rate), part(uint64(r.Slots), t.slots)}
}
