package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

// clock is a clock that stands still until it is moved.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func open(t *testing.T, dir string, change func(*Config)) *Log {
	t.Helper()
	c := Default(dir)
	if change != nil {
		change(&c)
	}
	l, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// all reads what there is.
func all(t *testing.T, r *Reader) (list []Record) {
	t.Helper()
	for {
		some, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			return list
		}
		list = append(list, some...)
	}
}

func reader(t *testing.T, dir string) *Reader {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// details has one word of each record.
func details(list []Record) string {
	var words []string
	for _, r := range list {
		words = append(words, r.Detail)
	}
	return strings.Join(words, " ")
}

// TestOrder: what the operator and others did is read in the order of time, also by
// who reads along, and only once.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReader(dir); !errors.Is(err, ErrNone) {
		t.Errorf("a folder of no node: %v, want %v", err, ErrNone)
	}
	c := &clock{time.Unix(1000, 0)}
	l := open(t, dir, func(config *Config) { config.now = c.now })
	r := reader(t, dir)
	note := func(who, detail string) {
		c.at = c.at.Add(time.Second)
		l.Note(Record{Who: who, Operation: "test", Detail: detail, Code: CodeOK})
	}
	note(Operator, "1")
	note(Tenant("a"), "2")
	note(Operator, "3")
	if got := all(t, r); details(got) != "1 2 3" || got[1].Who != "tenant:a" || !got[0].Time.Equal(time.Unix(1001, 0)) {
		t.Errorf("%+v", got)
	}
	if got := all(t, r); len(got) > 0 {
		t.Errorf("read twice: %+v", got)
	}
	note(Node("n"), "4")
	if got := details(all(t, r)); got != "4" {
		t.Errorf("what came while it was read: %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Note(Record{Who: Operator, Operation: "late", Code: CodeOK})
	again := open(t, dir, nil)
	again.Note(Record{Who: Operator, Operation: "test", Detail: "5", Code: CodeOK})
	if got := details(all(t, r)); got != "5" {
		t.Errorf("after it was opened again: %q", got)
	}
	if got := details(all(t, reader(t, dir))); got != "1 2 3 4 5" {
		t.Errorf("from the beginning: %q", got)
	}
}

// TestRotation: files are bounded in size and number, nobody's flood pushes out what
// the operator did, and who reads along misses nothing that is still there.
func TestRotation(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	l := open(t, dir, func(c *Config) { c.FileBytesMax, c.FilesMax, c.Registerer = 1000, 3, reg })
	along := reader(t, dir)
	l.Note(Record{Who: Operator, Operation: "invite", Detail: "kept", Code: CodeOK})
	var want, got []string
	for i := range 200 {
		word := fmt.Sprint(i)
		l.Note(Record{Who: Tenant("flood"), Operation: "submit-job", Detail: word, Code: CodeOK})
		want = append(want, word)
		if i%3 == 0 {
			got = append(got, strings.Fields(details(all(t, along)))...)
		}
	}
	got = append(got, strings.Fields(details(all(t, along)))...)
	if fmt.Sprint(got) != fmt.Sprint(append([]string{"kept"}, want...)) {
		t.Errorf("who reads along has %d of %d: %q", len(got), len(want)+1, got)
	}
	files, err := os.ReadDir(filepath.Join(dir, folderName))
	if err != nil || len(files) != 4 {
		t.Errorf("%d files, %v: want 3 and the operator's", len(files), err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Size() > 1000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v, %v", f.Name(), info.Size(), info.Mode(), err)
		}
	}
	left := all(t, reader(t, dir))
	if len(left) < 10 || left[0].Detail != "kept" || left[len(left)-1].Detail != "199" {
		t.Errorf("left are %q", details(left))
	}
	if n := metrictest.Value(t, reg, "dugnad_audit_limit_reached_total", limitFiles); n < 10 {
		t.Errorf("%v files were removed", n)
	}
}

// TestRefusals: those who are refused write so many lines and no more; how many there
// were is said, and what is done goes on to be written.
func TestRefusals(t *testing.T) {
	dir, reg, c := t.TempDir(), prometheus.NewRegistry(), &clock{time.Unix(1000, 0)}
	l := open(t, dir, func(config *Config) {
		config.RefusalsPerMinuteMax, config.Registerer, config.now = 5, reg, c.now
	})
	for range 100 {
		l.Note(Record{Who: Unknown, From: "192.0.2.1", Operation: "join", Code: "wrong_grid"})
	}
	l.Note(Record{Who: Operator, Operation: "expel", Detail: "own-mistake", Code: "refused"})
	l.Note(Record{Who: Tenant("a"), Operation: "submit-job", Detail: "done", Code: CodeOK})
	r := reader(t, dir)
	if got := all(t, r); len(got) != 7 {
		t.Errorf("%d records, want 5 refusals, a mistake and what was done: %+v", len(got), got)
	}
	c.at = c.at.Add(time.Minute)
	l.Note(Record{Who: Unknown, Operation: "join", Detail: "later", Code: "wrong_grid"})
	if got := details(all(t, r)); got != "95 left out later" {
		t.Errorf("a minute later: %q", got)
	}
	if n := metrictest.Value(t, reg, "dugnad_audit_limit_reached_total", limitRefusals); n != 95 {
		t.Errorf("%v refusals were counted", n)
	}
}

// TestRefusalsOfOne: a tenant that is refused all the time leaves lines to others, and
// has some again a minute later.
func TestRefusalsOfOne(t *testing.T) {
	dir, c := t.TempDir(), &clock{time.Unix(1000, 0)}
	l := open(t, dir, func(config *Config) { config.now = c.now })
	for range 10 * RefusalsPerMinuteMax {
		l.Note(Record{Who: Tenant("a"), Operation: "submit-job", Code: "quota_jobs"})
	}
	l.Note(Record{Who: Tenant("b"), Operation: "submit-job", Detail: "another", Code: "quota_jobs"})
	l.Note(Record{Who: Unknown, Operation: "join", Detail: "stranger", Code: "wrong_grid"})
	r := reader(t, dir)
	if got := all(t, r); len(got) != RefusalsOfOneMax+2 || strings.TrimSpace(details(got)) != "another stranger" {
		t.Errorf("%d records, of them %q", len(got), details(got))
	}
	c.at = c.at.Add(time.Minute)
	l.Note(Record{Who: Tenant("a"), Operation: "submit-job", Detail: "later", Code: "quota_jobs"})
	if got := details(all(t, r)); got != "1170 left out later" {
		t.Errorf("a minute later: %q", got)
	}
}

// TestClean: what is no id is not written, what is long is cut, and a line stays a line.
func TestClean(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	l := open(t, dir, func(c *Config) { c.Registerer = reg })
	secret := "dugnad_" + strings.Repeat("s3cret", 40)
	l.Note(Record{Who: Operator, From: "a\nb\x1b[31m", Operation: strings.Repeat("ø", 1000), Object: secret, Token: "a b", Code: "x\xff"})
	l.Note(Record{Who: Operator, Operation: "cancel-job", Object: "01a208889739ab304d1e78c0d684cd79", Code: CodeOK})
	b, err := os.ReadFile(filepath.Join(dir, folderName, "operator.jsonl"))
	if err != nil || bytes.Count(b, []byte("\n")) != 2 || bytes.Contains(b, []byte("s3cret")) || bytes.ContainsRune(b, 0x1b) {
		t.Errorf("%q, %v", b, err)
	}
	got := all(t, reader(t, dir))
	if len(got) != 2 || got[0].Object != "(no id)" || got[0].Token != "(no id)" || len(got[0].Operation) > textBytesMax+8 || got[1].Object != "01a208889739ab304d1e78c0d684cd79" {
		t.Errorf("%+v", got)
	}
	if n := metrictest.Value(t, reg, "dugnad_audit_limit_reached_total", limitText); n != 1 {
		t.Errorf("%v lines were cut", n)
	}
}

// TestDamage: lines that are no records cost nobody the others.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, nil)
	l.Note(Record{Who: Operator, Operation: "one", Detail: "1", Code: CodeOK})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, folderName, "operator.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, "\x00\xff\n{}\n"+strings.Repeat("x", 10*lineBytesMax)+"\n{\"operation\":\"cut off"...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, nil)
	again.Note(Record{Who: Operator, Operation: "two", Detail: "2", Code: CodeOK})
	r := reader(t, dir)
	if got := details(all(t, r)); got != "1 2" || r.Damaged() != 4 {
		t.Errorf("%q with %d damaged lines, want 1 and 2 with 4", got, r.Damaged())
	}
}

// TestFailure: a log that cannot be written says so, counts, and goes on when it can.
func TestFailure(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	l := open(t, dir, func(c *Config) { c.Registerer = reg })
	if err := l.operator.file.Close(); err != nil {
		t.Fatal(err)
	}
	l.Note(Record{Who: Operator, Operation: "lost", Code: CodeOK})
	if n := metrictest.Value(t, reg, "dugnad_audit_failures_total"); n != 1 || !errors.Is(l.lost, ErrLost) {
		t.Errorf("%v failures, %v", n, l.lost)
	}
	l.operator.file = nil
	l.Note(Record{Who: Operator, Operation: "kept", Code: CodeOK})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := all(t, reader(t, dir)); len(got) != 1 || got[0].Operation != "kept" {
		t.Errorf("%+v", got)
	}
}

// TestTogether: many note, and each line is whole.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, func(c *Config) { c.FileBytesMax, c.FilesMax = 4096, 100 })
	var all8 sync.WaitGroup
	for i := range 8 {
		all8.Go(func() {
			for j := range 50 {
				l.Note(Record{Who: Tenant(fmt.Sprint(i)), Operation: "test", Detail: fmt.Sprint(j), Code: CodeOK})
			}
		})
	}
	all8.Wait()
	r := reader(t, dir)
	if got := all(t, r); len(got) != 400 || r.Damaged() > 0 {
		t.Errorf("%d records, %d damaged", len(got), r.Damaged())
	}
	var none *Log
	none.Note(Record{})
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzDecode: whatever a line holds, what is taken for a record is one that can be
// written and read again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-23T20:00:00Z","who":"operator","operation":"invite","code":"ok"}`))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\x00\xff"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r := decode(line)
		if r == nil {
			return
		}
		r.clean()
		b, err := json.Marshal(r)
		if err != nil {
			t.Skip() // a year that JSON has no form for
		}
		if len(b) > lineBytesMax {
			t.Errorf("a line of %d bytes", len(b))
		}
		if again := decode(b); again == nil || *again != *r {
			t.Errorf("%+v came back as %+v", r, again)
		}
	})
}
