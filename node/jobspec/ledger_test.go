package jobspec

import (
	"encoding/binary"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// book is a ledger to submit to.
type book struct {
	memory *ledgertest.Memory
	index  uint64
	last   ledger.JobID
}

// newBook returns a ledger with the tenant default and no jobs.
func newBook(t testing.TB) *book {
	t.Helper()
	b := &book{memory: ledgertest.NewMemory()}
	if r := b.do(t, &ledger.CreateTenant{Tenant: "default", Weight: 1, BandMax: ledger.BandTop}); r.Code != ledger.CodeOK {
		t.Fatalf("creating the tenant: %+v", r)
	}
	return b
}

func (b *book) do(t testing.TB, c ledger.Command) ledger.Result {
	t.Helper()
	b.index++
	tx := b.memory.Begin()
	defer tx.Discard()
	out, err := ledger.Apply(tx, b.index, ledger.Encode(ledger.Envelope{Now: 1, Body: c}))
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := ledger.DecodeResult(out)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// submit fails when the ledger finds the specification wrong by itself: it looks
// at the jobs that it names and at the module after that.
func (b *book) submit(t testing.TB, spec ledger.JobSpec) {
	t.Helper()
	binary.BigEndian.PutUint64(b.last[8:], b.index)
	switch r := b.do(t, &ledger.Submit{Job: b.last, Spec: spec}); r.Code {
	case ledger.CodeModuleUnknown, ledger.CodeDependencyUnknown, ledger.CodeSecretUnknown:
	default:
		t.Fatalf("the ledger says %s %+v of %+v", r.Code, r, spec)
	}
}

// TestLedgerAccepts: what the limits of a job allow the ledger takes.
func TestLedgerAccepts(t *testing.T) {
	b := newBook(t)
	for name, data := range files(t, "good") {
		job, err := Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		upload(job)
		spec, err := job.Spec("default")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.submit(t, spec)
	}
	for _, bound := range bounds() {
		for _, n := range []uint64{bound.low, bound.high} {
			job := Default()
			job.Module.Object[0], job.Limits.Fuel = 1, 1
			job.Retry.Backoff, job.Retry.BackoffMax = 0, SpanMax
			set(t, &job, bound.field, n)
			spec, err := job.Spec("default")
			if err != nil {
				t.Errorf("%s = %d: %v", bound.field, n, err)
				continue
			}
			b.submit(t, spec)
		}
	}
}
