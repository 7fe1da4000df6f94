// Package sharing keeps which part of the grid tenants had, over the last hour and the
// last day, as a node's replica of the ledger says.
package sharing

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
)

const (
	// TenantsMax bounds the tenants that a sample tells apart: those with the largest
	// shares. The others are counted together.
	TenantsMax = 256
	// pageMax bounds the records that are read at a time.
	pageMax = 1024
)

// Parts are parts of what the nodes that are up have together of each resource: 1 is
// all, and more is possible where nodes have gone.
type Parts struct{ Memory, Rate, Slots float64 }

// Dominant is the largest of them, by which tenants share.
func (p Parts) Dominant() float64 { return max(p.Memory, p.Rate, p.Slots) }

// Minus returns what p has beyond q, nothing where q has more.
func (p Parts) Minus(q Parts) Parts {
	return Parts{max(p.Memory-q.Memory, 0), max(p.Rate-q.Rate, 0), max(p.Slots-q.Slots, 0)}
}

func (p Parts) plus(q Parts) Parts {
	return Parts{p.Memory + q.Memory, p.Rate + q.Rate, p.Slots + q.Slots}
}

func (p Parts) over(n int) Parts {
	return Parts{p.Memory / float64(n), p.Rate / float64(n), p.Slots / float64(n)}
}

// Use is what a tenant has.
type Use struct {
	Tenant ledger.TenantID
	Parts
	// Entitled is the part of the grid that its weight is of those of all tenants that
	// have something or wait for it.
	Entitled float64
}

// Sample is what tenants had at a time, or on the average of the Spell that begins then.
// It does not change any more.
type Sample struct {
	At time.Time
	// Uses are of those that had something or waited for it, by tenant. LeftOut counts
	// such tenants beyond them, none of which had a larger share than these.
	Uses    []Use
	LeftOut int
	// All is what all of them had together, Weights the sum of their weights.
	All     Parts
	Weights float64
}

// Find returns what a tenant had. It reports false for one that had nothing, or was left
// out.
func (s *Sample) Find(id ledger.TenantID) (Use, bool) {
	at, ok := slices.BinarySearchFunc(s.Uses, id, func(u Use, id ledger.TenantID) int { return cmp.Compare(u.Tenant, id) })
	if !ok {
		return Use{}, false
	}
	return s.Uses[at], true
}

// Read takes a sample of a ledger.
func Read(tx ledger.Tx, now time.Time) (Sample, error) {
	s := Sample{At: now}
	var grid placement.Grid
	err := each(tx, ledger.Nodes, func(n *ledger.Node) ledger.NodeID {
		grid.Add(n)
		return n.ID
	})
	if err != nil {
		return Sample{}, fmt.Errorf("sample shares: %w", err)
	}
	var weights []float64 // of s.Uses
	err = each(tx, ledger.Tenants, func(t *ledger.Tenant) ledger.TenantID {
		if parts := partsOf(grid.Shares(&t.Leased)); parts != (Parts{}) || t.Queued > 0 {
			s.Uses = append(s.Uses, Use{Tenant: t.ID, Parts: parts})
			s.All = s.All.plus(parts)
			weights = append(weights, float64(t.Weight))
			s.Weights += float64(t.Weight)
		}
		return t.ID
	})
	if err != nil {
		return Sample{}, fmt.Errorf("sample shares: %w", err)
	}
	for i := range s.Uses {
		s.Uses[i].Entitled = weights[i] / s.Weights
	}
	s.bound()
	return s, nil
}

// each visits all records of a table; visit returns the key of what it was given.
func each[T any, K ~string](tx ledger.Tx, page func(tx ledger.Tx, after K, limit int) ([]T, error), visit func(*T) K) error {
	for after := K(""); ; {
		list, err := page(tx, after, pageMax)
		if err != nil {
			return err
		}
		for i := range list {
			after = visit(&list[i])
		}
		if len(list) < pageMax {
			return nil
		}
	}
}

func partsOf(s placement.Shares) Parts {
	const all = placement.ShareMax
	return Parts{float64(s.Memory) / all, float64(s.Rate) / all, float64(s.Slots) / all}
}

// bound leaves out those with the smallest shares beyond TenantsMax.
func (s *Sample) bound() {
	if len(s.Uses) <= TenantsMax {
		return
	}
	slices.SortFunc(s.Uses, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.Dominant(), a.Dominant()), cmp.Compare(a.Tenant, b.Tenant))
	})
	s.LeftOut += len(s.Uses) - TenantsMax
	s.Uses = slices.Clone(s.Uses[:TenantsMax])
	s.sort()
}

func (s *Sample) sort() {
	slices.SortFunc(s.Uses, func(a, b Use) int { return cmp.Compare(a.Tenant, b.Tenant) })
}
