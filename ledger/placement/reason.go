package placement

import (
	"cmp"
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// Code names a constraint that a node fails. Names are stable and never given a
// second meaning.
type Code uint8

// The codes, in the order in which a node is checked.
const (
	// CodeFits: nothing speaks against the node. Explain uses it.
	CodeFits Code = iota
	CodeState
	CodeStale
	CodeFeature
	CodeLabel
	// CodeSecret: a secret of the job is for other nodes.
	CodeSecret
	CodeLabelDenied
	CodeLabelNotAllowed
	CodeDenied
	CodeNotAllowed
	// CodeSmall… : the node is too small even when empty.
	CodeSmallMemory
	CodeSmallFuelRate
	CodeSmallSlots
	CodeSmallScratch
	// CodeFull… : too little is free now.
	CodeFullMemory
	CodeFullFuelRate
	CodeFullSlots
	CodeFullScratch
	CodeDisk
	// CodeLeaves: the node's machine is switched off before a task has ended for sure.
	CodeLeaves
	CodeAvoided
	CodeSpread
	// CodeQuota: the node fits, and the tenant may not lease more.
	CodeQuota
	// CodeLimit: the node fits, and a bound of the pass was reached before it
	// was this job's turn.
	CodeLimit
	// CodeOther sums up what is beyond ReasonsMax.
	CodeOther

	codes
)

var codeNames = [codes]string{
	"fits", "node-state", "offer-stale", "feature", "label", "secret", "job-label-denied", "job-label-not-allowed", "tenant-denied", "tenant-not-allowed",
	"small-memory", "small-fuel-rate", "small-slots", "small-scratch",
	"full-memory", "full-fuel-rate", "full-slots", "full-scratch",
	"disk", "power-off", "avoided", "spread", "quota", "limit", "other",
}

// String returns the code's stable name.
func (c Code) String() string {
	if c < codes {
		return codeNames[c]
	}
	return "unknown"
}

// Small reports whether c is one of CodeSmall….
func (c Code) Small() bool { return c >= CodeSmallMemory && c <= CodeSmallScratch }

// Full reports whether c is one of CodeFull….
func (c Code) Full() bool { return c >= CodeFullMemory && c <= CodeFullScratch }

// ReasonsMax bounds Reasons.Counts.
const ReasonsMax = ledger.ReasonsMax

// Reasons say where a job's tasks could not go, and why not.
type Reasons struct {
	// Nodes is the number of nodes in the snapshot: what Counts sum up to.
	Nodes uint32
	// Sampled is zero when every node was looked at. Otherwise the counts from
	// capacity on are scaled up from that many nodes.
	Sampled uint32
	// Counts are sorted by number of nodes, the largest first; CodeOther is last.
	Counts []Count
	// FreeAt is when the first of the full nodes is expected to have room again;
	// zero when there is none or it is not known.
	FreeAt ledger.Time
}

// Count is a number of nodes that fail the same constraint first.
type Count struct {
	Code Code
	// Detail is the feature, the demand on a label, the secret, the rule for a job's label and the
	// first nodes that have it, the first nodes that leave, or the node's state.
	Detail string
	Nodes  uint32
	// Need and Nearest are set for capacity, disk and CodeLeaves: what the job needs, and
	// the most that one of these nodes has; times are in seconds.
	Need, Nearest uint64
}

// Of returns the number of nodes under a code.
func (r *Reasons) Of(c Code) uint32 {
	n := uint32(0)
	for _, count := range r.Counts {
		if count.Code == c {
			n += count.Nodes
		}
	}
	return n
}

// add puts a count in, unless it is of no nodes.
func (r *Reasons) add(c Count) {
	if c.Nodes > 0 {
		r.Counts = append(r.Counts, c)
	}
}

// finish sorts the counts and folds what is beyond ReasonsMax into one.
func (r *Reasons) finish() {
	slices.SortFunc(r.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Detail, b.Detail))
	})
	if len(r.Counts) <= ReasonsMax {
		return
	}
	rest := Count{Code: CodeOther}
	for _, c := range r.Counts[ReasonsMax-1:] {
		rest.Nodes += c.Nodes
	}
	r.Counts = append(r.Counts[:ReasonsMax-1:ReasonsMax-1], rest)
}

// dimensions of Resources, in the order of their codes.
const dimensions = 4

func dimension(r *ledger.Resources, d int) uint64 {
	switch d {
	case 0:
		return r.MemoryBytes
	case 1:
		return r.FuelRate
	case 2:
		return uint64(r.Slots)
	default:
		return r.ScratchBytes
	}
}

// short returns the first dimension in which need is more than have, or
// dimensions when it fits.
func short(need, have *ledger.Resources) int {
	switch {
	case need.MemoryBytes > have.MemoryBytes:
		return 0
	case need.FuelRate > have.FuelRate:
		return 1
	case need.Slots > have.Slots:
		return 2
	case need.ScratchBytes > have.ScratchBytes:
		return 3
	}
	return dimensions
}
