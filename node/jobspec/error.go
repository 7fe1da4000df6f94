package jobspec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ErrorsMax bounds the mistakes that are told at once.
const ErrorsMax = 100

// Error is one mistake in a job.
type Error struct {
	// Line and Column are where it is, from 1; 0 is unknown, as for a Job that no
	// file was read for.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Field is the path of the field, such as limits.memory or inputs[2].name;
	// empty is the whole file.
	Field string `json:"field,omitempty"`
	// Message says what is wrong, Help what to do.
	Message string `json:"message"`
	Help    string `json:"help,omitempty"`
}

// Error returns place, field, message and help in one line.
func (e *Error) Error() string {
	var parts []string
	switch {
	case e.Line > 0 && e.Column > 0:
		parts = append(parts, fmt.Sprintf("line %d, column %d", e.Line, e.Column))
	case e.Line > 0:
		parts = append(parts, fmt.Sprintf("line %d", e.Line))
	}
	if e.Field != "" {
		parts = append(parts, e.Field)
	}
	parts = append(parts, e.Message)
	if e.Help != "" {
		parts = append(parts, e.Help)
	}
	return strings.Join(parts, ": ")
}

// Errors are all mistakes in a job, at least one, in the order of the file.
type Errors []*Error

// Error returns a line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each *Error.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// mistakes collects Errors, of which it keeps as many as are told.
type mistakes struct {
	errs Errors
	// more is the number of those that are not kept.
	more int
}

func (m *mistakes) report(e *Error) {
	if m.full() {
		m.more++
		return
	}
	m.errs = append(m.errs, e)
}

// full reports whether further mistakes are only counted.
func (m *mistakes) full() bool { return len(m.errs) >= ErrorsMax }

// orNil returns the mistakes in order, or nil when there are none.
func (m *mistakes) orNil() error {
	if len(m.errs) == 0 {
		return nil
	}
	all := slices.Clone(m.errs)
	slices.SortStableFunc(all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if m.more > 0 {
		all = append(all, &Error{Message: fmt.Sprintf("%d more mistakes", m.more), Help: "mend these first"})
	}
	return all
}
