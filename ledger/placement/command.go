package placement

import (
	"slices"

	"github.com/dugnad/dugnad/ledger"
)

// CommandPlacementsMax bounds the placements of a command that Commands makes:
// enough to share the cost of a command, few enough that one is not waited for.
const CommandPlacementsMax = 16

// Commands returns the placements in commands of CommandPlacementsMax. The ledger
// has to apply them in this order. They share memory with the placements.
func Commands(placements []ledger.Placement) []*ledger.Place {
	out := make([]*ledger.Place, 0, (len(placements)+CommandPlacementsMax-1)/CommandPlacementsMax)
	for part := range slices.Chunk(placements, CommandPlacementsMax) {
		out = append(out, &ledger.Place{Placements: part})
	}
	return out
}

// Note returns the reasons as the ledger keeps them. What is the code's name.
func (r *Reasons) Note(job ledger.JobID) ledger.Note {
	n := ledger.Note{Job: job, Nodes: r.Nodes, Sampled: r.Sampled, FreeAt: r.FreeAt}
	for _, c := range r.Counts {
		n.Reasons = append(n.Reasons, ledger.Reason{What: c.Code.String(), Detail: c.Detail, Nodes: c.Nodes, Need: c.Need, Have: c.Nearest})
	}
	return n
}

// ReadReasons is the inverse of Reasons.Note. A name that is not known here, as
// that of a later version, becomes CodeOther.
func ReadReasons(from *ledger.Reasons) Reasons {
	r := Reasons{Nodes: from.Nodes, Sampled: from.Sampled, FreeAt: from.FreeAt}
	for _, c := range from.List {
		code := slices.Index(codeNames[:], c.What)
		if code < 0 {
			code = int(CodeOther)
		}
		r.Counts = append(r.Counts, Count{Code: Code(code), Detail: c.Detail, Nodes: c.Nodes, Need: c.Need, Nearest: c.Have})
	}
	return r
}
