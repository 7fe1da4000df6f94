package ledgertest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
)

// start is the time zero of transcripts.
var start = ledger.Time(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())

// Transcript runs the commands of a file and compares what they do with what
// the file says; with rewrite it writes the file anew instead.
//
// A transcript is a list of steps with an empty line between them. A step is
// comments, which begin with "#", commands, one a line in the notation of
// parseCommand, a line "----", and the output: the result of each command, then
// every record that the step has added (+), changed (~, with the fields that are
// different) or deleted (-). Points in time are counted from the start of the
// transcript. After each step the ledger's invariants are checked.
func Transcript(t testing.TB, file string, rewrite bool) {
	t.Helper()
	TranscriptOn(t, file, rewrite, NewMemoryStore())
}

// TranscriptOn is Transcript on a store, which must be empty.
func TranscriptOn(t testing.TB, file string, rewrite bool, store replica.Store) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{store: store, now: start + ledger.Time(time.Second), names: map[string]string{}}
	var out strings.Builder
	for i, step := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		input, _, _ := strings.Cut(step, "\n----")
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(strings.TrimRight(input, "\n") + "\n")
		if output := r.step(input); output != "" {
			out.WriteString("----\n" + output)
		}
	}
	if rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), out.String()); diff != "" {
		t.Errorf("%s (-file +run; -rewrite accepts it):\n%s", file, diff)
	}
}

// runner is a ledger with a clock, and the names of what has an id.
type runner struct {
	store replica.Store
	now   ledger.Time
	index uint64
	names map[string]string // hexadecimal id → name
}

// step runs the commands of a step and returns the output, "" when it has none.
func (r *runner) step(input string) string {
	before := NewMemory()
	_, err := r.store.ViewAt(func(tx ledger.Tx) error {
		return tx.Scan(nil, nil, func(key, value []byte) bool { return before.Set(key, value) == nil })
	})
	var out strings.Builder
	fail := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(&out, "%s%v\n", what, err)
		}
	}
	fail("read: ", err)
	fail("commit: ", r.store.Update(r.store.Applied()+1, func(tx ledger.Tx) error {
		changes := &changes{Tx: tx, keys: map[string]bool{}}
		for _, line := range strings.Split(input, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if result := r.line(changes, line); result != "" {
				out.WriteString(result + "\n")
			}
		}
		for _, key := range slices.Sorted(maps.Keys(changes.keys)) {
			out.WriteString(change([]byte(key), before, tx))
		}
		return nil
	}))
	_, err = r.store.ViewAt(ledger.Check)
	fail("", err)
	return r.readable(out.String())
}

// changes notes which keys a transaction writes.
type changes struct {
	ledger.Tx
	keys map[string]bool
}

// Set implements ledger.Tx.
func (c *changes) Set(key, value []byte) error {
	c.keys[string(key)] = true
	return c.Tx.Set(key, value)
}

// Delete implements ledger.Tx.
func (c *changes) Delete(key []byte) error {
	c.keys[string(key)] = true
	return c.Tx.Delete(key)
}

// line runs one command or look-up.
func (r *runner) line(tx ledger.Tx, line string) string {
	words := strings.Fields(line)
	if look, ok := looks[words[0]]; ok {
		text, err := look(r, tx, words[1:])
		if err != nil {
			return fmt.Sprintf("error: %v", err)
		}
		return text
	}
	envelope, err := r.parse(line)
	if err != nil {
		return fmt.Sprintf("error: %v", err)
	}
	r.index++
	answer, err := ledger.Apply(tx, r.index, ledger.Encode(envelope))
	if err != nil {
		return fmt.Sprintf("fault: %v", err)
	}
	result, err := ledger.DecodeResult(answer)
	if err != nil {
		return fmt.Sprintf("fault: %v", err)
	}
	return say(result)
}

// say writes a result as one line.
func say(r ledger.Result) string {
	text := r.Code.String()
	if r.What != "" {
		text += " " + r.What
	}
	if r.Have != 0 || r.Min != 0 || r.Max != 0 {
		text += fmt.Sprintf(" have=%d", r.Have)
		if r.Min != 0 {
			text += fmt.Sprintf(" min=%d", r.Min)
		}
		text += fmt.Sprintf(" max=%d", r.Max)
	}
	if r.Code != ledger.CodeOK {
		text += " (" + r.Help() + ")"
	}
	for _, i := range r.Items {
		text += fmt.Sprintf("; %s", i.Code)
		if i.Epoch != 0 {
			text += fmt.Sprintf(" epoch %d", i.Epoch)
		}
		if i.Count != 0 {
			text += fmt.Sprintf(" tasks %d", i.Count)
		}
	}
	if r.More {
		text += "; more is due"
	}
	return text
}

// change says how a record differs from what it was before the step.
func change(key []byte, before *Memory, tx ledger.Tx) string {
	was, _ := before.Get(key)
	is, _ := tx.Get(key)
	what, fields := ledger.Describe(key, is)
	switch {
	case was == nil && is == nil || bytes.Equal(was, is):
		return ""
	case is == nil:
		return "- " + what + "\n"
	case was == nil:
		return strings.TrimRight("+ "+what+" "+strings.Join(fields, " "), " ") + "\n"
	}
	_, old := ledger.Describe(key, was)
	text := "~ " + what
	names := map[string]bool{}
	for _, f := range fields {
		name, _, _ := strings.Cut(f, "=")
		names[name] = true
		if !contains(old, f) {
			text += " " + f
		}
	}
	for _, f := range old {
		if name, _, _ := strings.Cut(f, "="); !names[name] {
			text += " " + name + "=0"
		}
	}
	return text + "\n"
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

var pointInTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// readable puts names for ids and durations for points in time.
func (r *runner) readable(text string) string {
	for id, name := range r.names {
		text = strings.ReplaceAll(text, id, name)
	}
	return pointInTime.ReplaceAllStringFunc(text, func(s string) string {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return s
		}
		return "@" + shorten(time.Duration(ledger.Time(at.UnixNano())-start))
	})
}

// shorten leaves out the zero minutes and seconds at the end.
func shorten(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
