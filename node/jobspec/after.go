package jobspec

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/ledger"
)

// afterFields is the mapping form of After; the other one is a list of jobs.
type afterFields struct {
	Jobs      []string  `json:"jobs"`
	Condition Condition `json:"condition,omitempty"`
}

// IsZero reports whether the job waits for no other.
func (a After) IsZero() bool { return len(a.Jobs) == 0 && a.Condition == "" }

// MarshalJSON writes the mapping form.
func (a After) MarshalJSON() ([]byte, error) {
	f := afterFields{Condition: a.Condition, Jobs: []string{}}
	for _, id := range a.Jobs {
		f.Jobs = append(f.Jobs, id.String())
	}
	return json.Marshal(f)
}

func (a *After) decode(d *decoder, n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		a.jobs(d, n, path)
	case yaml.MappingNode:
		d.fields(n, path, fieldsOf[afterFields](), func(name string, value *yaml.Node, at string) {
			switch {
			case name == "condition":
				d.enum(value, at, (*string)(&a.Condition), a.Condition)
			case value.Kind != yaml.SequenceNode:
				d.fail(value, at, "is "+kindOf(value), "write a list of job ids")
			default:
				a.jobs(d, value, at)
			}
		})
	default:
		d.fail(n, path, "is "+kindOf(n), "write a list of job ids, or a mapping with jobs and condition")
	}
}

func (a *After) jobs(d *decoder, n *yaml.Node, path string) {
	if !d.plain(n, path) {
		return
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		text, ok := d.text(item, at)
		if !ok {
			continue
		}
		id, err := ledger.ParseJobID(text)
		if err != nil {
			d.fail(item, at, quote(text)+" is not a job id", "write the 32 hexadecimal digits that submitting the job gave")
			continue
		}
		a.Jobs = append(a.Jobs, id)
	}
}

func (a After) check(c *checker) {
	if len(a.Jobs) > ledger.AfterMax {
		c.add("after", fmt.Sprintf("names %d jobs, at most %d", len(a.Jobs), ledger.AfterMax), "make one job wait for the others, and wait for that")
	}
	if len(a.Jobs) == 0 && a.Condition != "" {
		c.add("after", "has a condition and no jobs", "list them in after.jobs, or remove after")
	}
	seen := map[ledger.JobID]bool{}
	for _, id := range a.Jobs {
		if seen[id] {
			c.add("after", "names "+id.String()+" twice", "remove one")
		}
		seen[id] = true
	}
	c.choice("after.condition", string(a.Condition), a.Condition)
	if a.Condition == Any {
		c.add("after.condition", "any is not offered yet", "use succeeded (all of them) or finished (all of them, however they ended)")
	}
}
