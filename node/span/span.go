// Package span says what becomes of a job as a trace of OpenTelemetry: each node sends
// the spans of what it has done to a collector of the operator's. Nodes need not talk
// about that: the trace and the span at its root follow from the job.
//
// Spans are made when what they tell of has ended. They hold ids, counts and classes,
// and no text of tenants or guests.
package span

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/dugnad/dugnad/ledger"
)

// The names of the spans of a job. Submit is the root, with Admit and Propose below it;
// so are Queue, Place, Fetch and Lease, and the others are below Lease. Fire is the root
// of a job that a standing order has made.
const (
	Submit  = "submit"
	Fire    = "fire"
	Admit   = "admit"
	Propose = "propose"
	Queue   = "queue"
	Place   = "place"
	Fetch   = "fetch"
	Lease   = "lease"
	Compile = "compile"
	Attempt = "attempt"
	Store   = "store"
	Report  = "report"
)

// ID is the id of a span; zero is none.
type ID [8]byte

// Trace is the trace of a job.
type Trace struct {
	// Job is the job.
	Job ledger.JobID
	// ID is the trace's, Root that of the span at the job's root, and Above, which may
	// be zero, that of the client's span above it.
	ID    [16]byte
	Root  ID
	Above ID
}

// Of returns the trace of a job: that of the client's traceparent when there is one, see
// Parent, and else the one whose id is the job's.
func Of(job ledger.JobID, traceparent string) Trace {
	t := Trace{Job: job, ID: job, Root: derive(job, Submit, 0)}
	if id, above, ok := Parent(traceparent); ok {
		t.ID, t.Above = id, above
	}
	return t
}

// Lease returns the id of the span of a lease.
func (t *Trace) Lease(epoch ledger.Epoch) ID { return derive(t.Job, Lease, uint64(epoch)) }

// derive returns the id of a part of a job, on every node the same.
func derive(job ledger.JobID, name string, number uint64) (id ID) {
	b := append([]byte("dugnad span v1\n"+name+"\n"), job[:]...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, number))
	copy(id[:], sum[:])
	id[0] |= 1 // never zero
	return id
}

// parentLen is the length of version 0 of the header traceparent of W3C Trace Context.
const parentLen = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")

// Parent reads the header traceparent, as W3C Trace Context has it: a later version may
// be longer. Whether the client has sampled its own trace is nothing to the node.
func Parent(text string) (trace [16]byte, above ID, ok bool) {
	if len(text) < parentLen || len(text) > parentLen && (text[:2] == "00" || text[parentLen] != '-') {
		return trace, above, false
	}
	text = text[:parentLen]
	parts := strings.Split(text, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || parts[0] == "ff" || text != strings.ToLower(text) {
		return trace, above, false
	}
	var fields [4][]byte
	for i, p := range parts {
		var err error
		if fields[i], err = hex.DecodeString(p); err != nil {
			return trace, above, false
		}
	}
	copy(trace[:], fields[1])
	copy(above[:], fields[2])
	if trace == ([16]byte{}) || above == (ID{}) {
		return [16]byte{}, ID{}, false
	}
	return trace, above, true
}

// FormatParent is the inverse of Parent.
func FormatParent(trace [16]byte, above ID) string { return fmt.Sprintf("00-%x-%x-01", trace, above) }

// Span is something that was done for a job.
type Span struct {
	Trace Trace
	Name  string
	// ID is chosen when it is zero. Below is the span that it is below, the job's root
	// when it is zero.
	ID, Below  ID
	Begin, End time.Time
	// Failed says why it has not come to a good end, a word that is no text of tenants
	// or guests; empty is that it has.
	Failed string
	Facts  []Fact
}

// Fact is something that a span says, under a name that begins with dugnad.
type Fact = attribute.KeyValue

// Text says a word: an id or a class.
func Text(name, value string) Fact { return attribute.String("dugnad."+name, value) }

// Number says a number; one beyond what OTLP can hold is that.
func Number[N int | uint8 | uint32 | uint64 | ledger.Epoch](name string, value N) Fact {
	return attribute.Int64("dugnad."+name, int64(min(uint64(value), math.MaxInt64)))
}
