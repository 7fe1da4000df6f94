package jobspec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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
		if id, ok := d.jobID(item, fmt.Sprintf("%s[%d]", path, i)); ok {
			a.Jobs = append(a.Jobs, id)
		}
	}
}

// jobID reads the id of a job.
func (d *decoder) jobID(n *yaml.Node, path string) (id ledger.JobID, ok bool) {
	text, ok := d.text(n, path)
	if !ok {
		return id, false
	}
	id, err := ledger.ParseJobID(text)
	if err != nil {
		d.fail(n, path, quote(text)+" is not a job id", "write the 32 hexadecimal digits that submitting the job gave")
	}
	return id, err == nil
}

// decode refuses the id that stands for none.
func (id *JobID) decode(d *decoder, n *yaml.Node, path string) {
	read, ok := d.jobID(n, path)
	if ok && read == (ledger.JobID{}) {
		d.fail(n, path, quote(n.Value)+" is the id of no job", "write the 32 hexadecimal digits that submitting the job gave")
	}
	if *id = JobID(read); *id == (JobID{}) {
		// It is not missing as well.
		d.meant = append(d.meant, strings.TrimSuffix(path, "job")+"object")
	}
}

// dependencies lists the jobs that have to have ended before this one is queued:
// those of After, then those whose outputs it reads.
func (j *Job) dependencies() []ledger.JobID {
	list := slices.Clone(j.After.Jobs)
	for _, s := range j.sources() {
		if id := ledger.JobID(s.file.Job); s.file.Job != (JobID{}) && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

func (j *Job) checkAfter(c *checker) {
	j.After.check(c)
	if n := len(j.dependencies()); n > ledger.AfterMax {
		c.add("after", fmt.Sprintf("names %d jobs with those whose outputs are read, at most %d", n, ledger.AfterMax), "make one job wait for the others, and wait for that")
	}
	if c := j.After.Condition; c == "" || c == Succeeded {
		return
	}
	for _, s := range j.sources() {
		if s.file.Job != (JobID{}) {
			c.add("after.condition", fmt.Sprintf("is %s, and %s.job has to have succeeded before its outputs are read", j.After.Condition, s.field),
				"write succeeded, or let a job between wait for the others")
			return
		}
	}
}

func (a After) check(c *checker) {
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
}
