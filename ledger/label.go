package ledger

// Labels of a job say what it is, in words that are between tenants and operators, such
// as purpose=research: operators let jobs in, or keep them away, by label.

// LabelRule names a label whatever its value, when Value is empty, or with one value.
type LabelRule Label

// String writes the rule as preferences do: purpose, or purpose=research.
func (r LabelRule) String() string {
	if r.Value == "" {
		return r.Name
	}
	return r.Name + "=" + r.Value
}

// Covers reports whether one of a job's labels is what the rule names.
func (r LabelRule) Covers(labels []Label) bool {
	for _, l := range labels {
		if l.Name == r.Name && (r.Value == "" || l.Value == r.Value) {
			return true
		}
	}
	return false
}

// ValidJobLabel reports whether a text can be the name, or the value, of a job's label:
// 1 to JobLabelBytesMax of A-Z, a-z, 0-9, ".", "_", "/" and "-", a letter or a digit first.
func ValidJobLabel(text string) bool {
	for i := range len(text) {
		c := text[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '/' && c != '-') {
			return false
		}
	}
	return len(text) >= 1 && len(text) <= JobLabelBytesMax
}

func (s *JobSpec) checkLabels() Result {
	if len(s.Labels) > JobLabelsMax {
		return outside("labels", uint64(len(s.Labels)), 0, JobLabelsMax)
	}
	for i, l := range s.Labels {
		if !ValidJobLabel(l.Name) || !ValidJobLabel(l.Value) || i > 0 && l.Name <= s.Labels[i-1].Name {
			return refuse(CodeInvalid, "job label "+clip(l.Name))
		}
	}
	return Result{}
}
