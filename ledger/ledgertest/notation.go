package ledgertest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// parse reads a command line of a transcript:
//
//	tenant NAME [weight=1] [band=7] [fuel=N] [memory=N] [queued=N] [jobs=N]
//	       [fuel-per-day=N] [fuel-rate=N] [stored=N] [egress-per-day=N]
//	quota NAME …as above
//	node NAME [memory=N] [rate=N] [slots=N] [scratch=N] [label=NAME:VALUE]… [feature=NAME]… [key=NAME]
//	node-state NAME up|draining|unreachable|gone [from=STATE]… [within=D]
//	remove-node NAME
//	module NAME [bytes=N] [holder=NODE]
//	drop-module NAME, add-holder NAME NODE, drop-holder NAME NODE
//	submit JOB tenant=T module=M [count=1] [band=0] [memory=N] [rate=N] [slots=1] [fuel=1]
//	       [attempts=1] [losses=N] [backoff=D] [backoff-max=D] [queue=D] [total=D] [grace=D]
//	       [need=LABEL:VALUE]… [not=LABEL[:VALUE]]… [feature=NAME]… [after=JOB]… [after-any=true] [payload=TEXT]
//	cancel JOB
//	place JOB FIRST+COUNT NODE [slots=COUNT] until=D [heed=true] [; JOB FIRST+COUNT NODE …]
//	begin NODE EPOCH…
//	renew NODE EPOCH… until=D
//	report NODE EPOCH FIRST+COUNT STATE [fuel=N] [memory=N] [wall=D] [exit=N] [terminal=true] [output=TEXT] [stored=N] [egress=N] [key=NAME] [; EPOCH FIRST+COUNT …]
//	release NODE EPOCH… cause=CAUSE [tasks=FIRST+COUNT]…
//	preempt JOB NODE/EPOCH…
//	refuse NODE EPOCH… [cause=CAUSE]
//	reasons JOB [nodes=N] [sampled=N] [free=D] [WHAT[/DETAIL]:NODES:HAVE:NEED]…
//	tick
//	order ORDER schedule=TEXT [kind=cron] [name=TEXT] [zone=TEXT] [overlap=skip] [catch-up=none] …as submit
//	order-state ORDER active|paused|ended
//	fire ORDER at=D [late=true] [missed=N] [node=NODE] [; ORDER at=D …]
//
// A line that begins with "as CLIENT SEQ" is sent by that client; D is a
// duration, or for until and free a point in time since the start.
func (r *runner) parse(line string) (ledger.Envelope, error) {
	e := ledger.Envelope{Now: r.now}
	words := strings.Fields(line)
	if words[0] == "as" && len(words) > 3 {
		r.id(e.Client[:], words[1])
		e.Seq, _ = strconv.ParseUint(words[2], 10, 64)
		words = words[3:]
	}
	a := &arguments{runner: r, values: map[string][]string{}}
	var parts [][]string // separated by ";"
	part := []string{}
	for _, w := range words[1:] {
		if head, ok := strings.CutSuffix(w, ";"); ok {
			parts, part = append(parts, append(part, head)), []string{}
			continue
		}
		part = append(part, w)
	}
	parts = append(parts, part)
	if words[0] != "place" && words[0] != "report" && words[0] != "fire" {
		a.read(part)
	}
	e.Body = a.command(words[0], parts)
	if e.Body == nil && a.err == nil {
		a.err = fmt.Errorf("no command %q", words[0])
	}
	return e, a.err
}

// id fills in the bytes of a name, and remembers the name for the output.
func (r *runner) id(id []byte, name string) {
	if len(id) == sha256.Size {
		sum := sha256.Sum256([]byte(name))
		copy(id, sum[:])
	} else {
		copy(id, name)
	}
	r.names[hex.EncodeToString(id)] = name
}

// job returns the id of a job: its own where an order made it, or where the name is
// an id.
func (r *runner) job(name string) (id ledger.JobID) {
	if id, err := ledger.ParseJobID(name); err == nil {
		return id
	}
	for known, as := range r.names {
		if id, err := ledger.ParseJobID(known); err == nil && as == name {
			return id
		}
	}
	r.id(id[:], name)
	return id
}

func (r *runner) module(name string) (id ledger.ModuleID) {
	r.id(id[:], name)
	return id
}

// arguments are the words of a command behind its verb.
type arguments struct {
	*runner
	words  []string
	values map[string][]string
	err    error
}

func (a *arguments) read(words []string) {
	a.words, a.values = nil, map[string][]string{}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			a.values[name] = append(a.values[name], value)
		} else {
			a.words = append(a.words, w)
		}
	}
}

func (a *arguments) word(i int) string {
	if i < len(a.words) {
		return a.words[i]
	}
	a.fail("word", fmt.Sprint(i+1, " is missing"))
	return ""
}

func (a *arguments) fail(what, value string) {
	if a.err == nil {
		a.err = fmt.Errorf("%s %q", what, value)
	}
}

func (a *arguments) text(name string) string {
	if v := a.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (a *arguments) u64(name string, otherwise uint64) uint64 {
	s := a.text(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		a.fail(name, s)
	}
	return n
}

func (a *arguments) u32(name string, otherwise uint32) uint32 {
	return uint32(a.u64(name, uint64(otherwise)))
}

func (a *arguments) nanos(name string) int64 {
	s := a.text(name)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		a.fail(name, s)
	}
	return int64(d)
}

func (a *arguments) until() ledger.Time { return start + ledger.Time(a.nanos("until")) }

func (a *arguments) epochs() []ledger.Epoch {
	var epochs []ledger.Epoch
	for _, w := range a.words[min(1, len(a.words)):] {
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			a.fail("epoch", w)
		}
		epochs = append(epochs, ledger.Epoch(n))
	}
	return epochs
}

// parts returns what tasks= says, a part for each lease.
func (a *arguments) leaseNames() (names []ledger.LeaseName) {
	for _, s := range a.words[1:] {
		node, text, _ := strings.Cut(s, "/")
		epoch, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			a.fail("lease", s)
		}
		names = append(names, ledger.LeaseName{Node: ledger.NodeID(node), Epoch: ledger.Epoch(epoch)})
	}
	return names
}

func (a *arguments) parts() (parts []ledger.Range) {
	for _, s := range a.values["tasks"] {
		first, count := a.span(s)
		parts = append(parts, ledger.Tasks(first, first+count))
	}
	return parts
}

// span reads FIRST+COUNT.
func (a *arguments) span(s string) (first, count uint32) {
	if n, err := fmt.Sscanf(s, "%d+%d", &first, &count); n != 2 || err != nil {
		a.fail("tasks", s)
	}
	return first, count
}

func (a *arguments) resources() ledger.Resources {
	return ledger.Resources{MemoryBytes: a.u64("memory", 0), FuelRate: a.u64("rate", 0), Slots: a.u32("slots", 1), ScratchBytes: a.u64("scratch", 0)}
}

// named returns the value with a name, of those from 0 up to the first unknown.
func named[T interface {
	~uint8
	String() string
}](a *arguments, s string) T {
	for v := range T(32) {
		if v.String() == s {
			return v
		}
	}
	a.fail("name", s)
	return 0
}
