package placement

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/ledger"
)

// String says what a count means: "12 nodes lack the label gpu=yes".
func (c Count) String() string {
	text := func(one, many string) string {
		verb := many
		if c.Nodes == 1 {
			verb = one
		}
		return strconv.FormatUint(uint64(c.Nodes), 10) + " " + verb
	}
	switch {
	case c.Code == CodeFits:
		return text("node fits", "nodes fit")
	case c.Code == CodeState:
		return text("node is ", "nodes are ") + c.Detail
	case c.Code == CodeStale:
		return text("node has made no recent offer", "nodes have made no recent offer")
	case c.Code == CodeFeature && c.Detail == ledger.FeatureHTTP:
		return text("node's operator does not allow outbound HTTP", "nodes' operators do not allow outbound HTTP")
	case c.Code == CodeFeature:
		return text("node lacks the feature ", "nodes lack the feature ") + c.Detail
	case c.Code == CodeLabel:
		return text("node lacks the label ", "nodes lack the label ") + c.Detail
	case c.Code == CodeSecret:
		return text("node is not given the secret ", "nodes are not given the secret ") + c.Detail
	case c.Code == CodeLabelDenied:
		rule, nodes, _ := strings.Cut(c.Detail, " ")
		return text("node denies jobs with the label ", "nodes deny jobs with the label ") + rule + ": " + nodes
	case c.Code == CodeLabelNotAllowed:
		return text("node allows only jobs with other labels: ", "nodes allow only jobs with other labels: ") + c.Detail
	case c.Code == CodeDenied:
		return text("node denies the tenant", "nodes deny the tenant")
	case c.Code == CodeNotAllowed:
		return text("node allows only other tenants", "nodes allow only other tenants")
	case c.Code.Small():
		return fmt.Sprintf("%s %s: %s needed, at most %s given", text("node has", "nodes have"), c.lack(""), c.quantity(c.Need), c.quantity(c.Nearest))
	case c.Code.Full():
		return fmt.Sprintf("%s %s: %s needed, at most %s free", text("node has", "nodes have"), c.lack("free "), c.quantity(c.Need), c.quantity(c.Nearest))
	case c.Code == CodeDisk:
		return fmt.Sprintf("%s: %s needed, at most %s free", text("node has no room for the module", "nodes have no room for the module"), bytesText(c.Need), bytesText(c.Nearest))
	case c.Code == CodeLeaves:
		return fmt.Sprintf("%s: a task may take %d s, the last is off in %d s: %s", text("node is switched off too soon", "nodes are switched off too soon"), c.Need, c.Nearest, c.Detail)
	case c.Code == CodeAvoided:
		return text("node failed these tasks before", "nodes failed these tasks before")
	case c.Code == CodeSpread:
		return text("node has its share of a spread job", "nodes have their share of a spread job")
	case c.Code == CodeQuota:
		return text("node fits and the tenant's quota is used up", "nodes fit and the tenant's quota is used up")
	case c.Code == CodeLimit:
		return text("node fits: the next pass comes soon", "nodes fit: the next pass comes soon")
	default:
		return text("node is out for another reason", "nodes are out for other reasons")
	}
}

// Help returns what would make room for the job, at most one sentence per code,
// those first that bear on most nodes. It is empty when a node fits, or there is
// none.
func (r *Reasons) Help(now ledger.Time) []string {
	if r.Of(CodeFits)+r.Of(CodeLimit) > 0 {
		return nil
	}
	var help []string
	if full := r.full(); full > 0 {
		line := fmt.Sprintf("wait: %d of %d nodes fit and are full", full, r.Nodes)
		if r.FreeAt > now {
			line += fmt.Sprintf(", the next is expected to be free in %d s", (int64(r.FreeAt-now)+999_999_999)/1_000_000_000)
		}
		help = append(help, line)
	}
	said := [codes]bool{}
	for _, c := range r.Counts {
		if said[c.Code] {
			continue
		}
		said[c.Code] = true
		if line := c.help(); line != "" {
			help = append(help, line)
		}
	}
	return help
}

func (r *Reasons) full() uint32 {
	n := uint32(0)
	for _, c := range r.Counts {
		if c.Code.Full() {
			n += c.Nodes
		}
	}
	return n
}

func (c Count) help() string {
	switch {
	case c.Code == CodeState:
		return "resume or bring back nodes that are " + c.Detail
	case c.Code == CodeFeature && c.Detail == ledger.FeatureHTTP:
		return "ask an operator to start a node with --allow-http"
	case c.Code == CodeFeature:
		return "do without the feature " + c.Detail
	case c.Code == CodeLabel:
		return "drop the demand " + c.Detail + ", or label nodes"
	case c.Code == CodeSecret:
		return "set the secret " + c.Detail + " for other nodes, or for all"
	case c.Code == CodeLabelDenied:
		rule, _, _ := strings.Cut(c.Detail, " ")
		return "do without the label " + rule + ", or ask the operators"
	case c.Code == CodeLabelNotAllowed:
		return "ask the operators which labels they let in"
	case c.Code == CodeLeaves && c.Nearest > 0:
		return fmt.Sprintf("set a timeout of at most %d s", c.Nearest)
	case c.Code == CodeDenied, c.Code == CodeNotAllowed:
		return "ask the operators to let the tenant in"
	case c.Code == CodeSmallSlots && c.Nearest > 0:
		return fmt.Sprintf("ask for at most %d slots per task", c.Nearest)
	case c.Code.Small() && c.Nearest > 0:
		return fmt.Sprintf("ask for at most %s of %s per task", c.quantity(c.Nearest), c.what())
	case c.Code == CodeDisk:
		return "make the module smaller than " + bytesText(c.Nearest)
	case c.Code == CodeAvoided:
		return "see why the tasks failed: they wait for other nodes, and go back to the same one after a while"
	case c.Code == CodeSpread:
		return "allow more on each value of the spread label"
	case c.Code == CodeQuota:
		return "wait until tasks of the tenant end, or raise its quota of memory or fuel per second"
	default:
		return ""
	}
}

// lack says of what there is too little; free is "free " or "".
func (c Count) lack(free string) string {
	if c.what() == "slots" {
		return "too few " + free + "slots"
	}
	return "too little " + free + c.what()
}

// what names the dimension of a capacity code.
func (c Count) what() string {
	switch c.Code {
	case CodeSmallMemory, CodeFullMemory:
		return "memory"
	case CodeSmallFuelRate, CodeFullFuelRate:
		return "fuel rate"
	case CodeSmallSlots, CodeFullSlots:
		return "slots"
	default:
		return "scratch space"
	}
}

// quantity formats n in the unit of a capacity code.
func (c Count) quantity(n uint64) string {
	switch c.Code {
	case CodeSmallFuelRate, CodeFullFuelRate:
		return unitText(n, "/s", 1000, "T", "G", "M", "K")
	case CodeSmallSlots, CodeFullSlots:
		return strconv.FormatUint(n, 10)
	default:
		return bytesText(n)
	}
}

func bytesText(n uint64) string {
	return unitText(n, "B", 1024, "Ti", "Gi", "Mi", "Ki")
}

// unitText writes n with one decimal in the largest of the units, each base
// times the next. It rounds down, so that what it says really fits.
func unitText(n uint64, unit string, base uint64, prefixes ...string) string {
	size := uint64(1)
	for range prefixes {
		size *= base
	}
	for _, prefix := range prefixes {
		if n >= size {
			text := strconv.FormatUint(n/size, 10)
			if tenth := n % size / (size / 10); tenth > 0 {
				text += "." + strconv.FormatUint(min(tenth, 9), 10)
			}
			return text + " " + prefix + unit
		}
		size /= base
	}
	if unit == "B" {
		unit = " B"
	}
	return strconv.FormatUint(n, 10) + unit
}
