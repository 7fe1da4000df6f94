package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
)

// picture is a Backlog, and Rolls of all nodes and of one, that are told the changes
// of a ledger, late now and then.
type picture struct {
	*ledger.Backlog
	limit    ledger.QueueLimit
	all, own *ledger.Roll
	late     [][2][]byte
}

func newPicture(tx ledger.Tx, limit ledger.QueueLimit) (*picture, error) {
	b, err := ledger.NewBacklog(tx, limit)
	if err != nil {
		return nil, err
	}
	p := &picture{Backlog: b, limit: limit}
	if p.all, err = ledger.NewRoll(tx, ledger.RollPrefix()); err != nil {
		return nil, err
	}
	p.own, err = ledger.NewRoll(tx, ledger.LeasePrefix(someNodes[0]))
	return p, err
}

// note keeps what a transaction has changed.
func (p *picture) note(tx *ledgertest.MemoryTx) error {
	for _, key := range tx.Changed() {
		value, err := tx.Get(key)
		if err != nil {
			return err
		}
		p.late = append(p.late, [2][]byte{key, value})
	}
	return nil
}

// tell tells the Backlog what it has not been told yet.
func (p *picture) tell() error {
	for _, c := range p.late {
		if err := errors.Join(p.Change(c[0], c[1]), p.all.Change(c[0], c[1])); err != nil {
			return err
		}
		if bytes.HasPrefix(c[0], ledger.LeasePrefix(someNodes[0])) {
			if err := p.own.Change(c[0], c[1]); err != nil {
				return err
			}
		}
	}
	p.late = nil
	return nil
}

// compare says in what the picture differs from what the views read; it has been
// told everything.
func (p *picture) compare(tx ledger.Tx) error {
	want, err := ledger.Queue(tx, p.limit)
	if err != nil {
		return err
	}
	got, err := p.Jobs(tx)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d jobs, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := *got[i]
		if p.limit.Ranges > 0 {
			// After some have gone it may hold fewer than the limit.
			w.Ranges = w.Ranges[:min(max(len(g.Ranges), 1), len(w.Ranges))]
		}
		if !reflect.DeepEqual(g, w) {
			return fmt.Errorf("job %d is %+v, want %+v", i, g, w)
		}
	}
	nodes, err := ledger.Nodes(tx, "", 1000)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(nodes, p.Nodes(), func(n ledger.Node, m *ledger.Node) bool { return reflect.DeepEqual(n, *m) }) {
		return fmt.Errorf("nodes are %+v, want %+v", p.Nodes(), nodes)
	}
	tenants, err := ledger.Tenants(tx, "", 1000)
	for _, t := range tenants {
		if !reflect.DeepEqual(&t, p.Tenant(t.ID)) {
			return fmt.Errorf("tenant is %+v, want %+v", p.Tenant(t.ID), t)
		}
	}
	return errors.Join(err, p.compareLeases(tx))
}

// compareLeases does so with the Rolls.
func (p *picture) compareLeases(tx ledger.Tx) error {
	all := 0
	for i, node := range someNodes {
		leases, err := ledger.LeasesOf(tx, node, 0, 1000)
		if err != nil {
			return err
		}
		var want []ledger.Held
		for _, l := range leases {
			want = append(want, ledger.Held{Epoch: l.Epoch, Job: l.Job, Granted: l.Granted, Notice: l.Notice, For: l.For})
			if found, err := ledger.FindLease(tx, node, l.Epoch); err != nil || !reflect.DeepEqual(found, l) || !p.all.Has(node, l.Epoch) {
				return fmt.Errorf("lease is %+v, %w, want %+v", found, err, l)
			}
		}
		all += len(want)
		if got := p.all.Of(node); !slices.Equal(got, want) {
			return fmt.Errorf("leases of %s are %+v, want %+v", node, got, want)
		}
		if got := p.own.Of(node); i == 0 && (!slices.Equal(got, want) || p.own.Len() != len(want)) || i > 0 && got != nil {
			return fmt.Errorf("leases of %s alone are %+v, want %+v", node, got, want)
		}
	}
	if p.all.Len() != all {
		return fmt.Errorf("there are %d leases, want %d", p.all.Len(), all)
	}
	return nil
}

// TestRollRefuses: what is no lease's key or value is said to be none.
func TestRollRefuses(t *testing.T) {
	d := newDriver(t)
	r, err := ledger.NewRoll(d.Memory, ledger.RollPrefix())
	if err != nil {
		t.Fatal(err)
	}
	sound := append(ledger.LeasePrefix("n1"), 0, 0, 0, 0, 0, 0, 0, 1)
	for name, c := range map[string][2][]byte{
		"no epoch":   {ledger.LeasePrefix("n1"), {1}},
		"no node":    {append(ledger.RollPrefix(), sound[3:]...), {1}},
		"no end":     {append([]byte("Ln1"), sound[4:]...), {1}},
		"not stored": {sound, {9}},
	} {
		if err := r.Change(c[0], c[1]); !errors.Is(err, ledger.ErrMalformed) || r.Len() != 0 {
			t.Errorf("%s: %v, %d leases", name, err, r.Len())
		}
	}
	for _, key := range [][]byte{nil, ledger.JobPrefix(), sound} {
		if err := r.Change(key, nil); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// TestBacklogHoldsNoMore has more jobs, and a job with more ranges, than the limit.
func TestBacklogHoldsNoMore(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	for n := range 20 {
		d.do(&ledger.Submit{Job: jobNumber(n + 1), Spec: plainSpec(1)})
		d.now++
	}
	d.scatter(jobNumber(100), 10, "n1")
	p, err := newPicture(d.Memory, ledger.QueueLimit{Jobs: 3, TenantJobs: 3, Ranges: 4})
	if err != nil {
		t.Fatal(err)
	}
	step := func(c ledger.Command) {
		t.Helper()
		tx := d.Begin()
		if _, err := ledger.Apply(tx, 1, d.encode(c)); err != nil {
			t.Fatal(err)
		}
		if err := p.note(tx); err != nil {
			t.Fatal(err)
		}
		_ = tx.Commit()
		if err := p.tell(); err != nil {
			t.Fatal(err)
		}
		if err := p.compare(d.Memory); err != nil {
			t.Fatalf("after %T: %v", c, err)
		}
	}
	for n := range 20 {
		if p.Queued() != 21-n {
			t.Errorf("%d jobs are queued, want %d", p.Queued(), 21-n)
		}
		step(&ledger.Cancel{Job: jobNumber(n + 1)})
	}
	for {
		jobs, err := ledger.Queue(d.Memory, ledger.QueueLimit{Ranges: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs) == 0 {
			break
		}
		step(&ledger.Place{Placements: []ledger.Placement{{
			Job: jobs[0].Job.ID, Start: jobs[0].Ranges[0].Tasks.First, Count: 1, Slots: 1, Node: "n1", Expiry: d.now + second,
		}}})
	}
	if err := p.Change([]byte("Q"), nil); err == nil {
		t.Error("takes a key that Apply does not write")
	}
	if err := p.Change([]byte("nn1"), []byte{9}); err == nil {
		t.Error("takes a node that cannot be read")
	}
}

// TestBacklogOfManyTenants: where the limit leaves jobs out, every tenant has some, and
// tenants whose jobs have gone and come back are there again.
func TestBacklogOfManyTenants(t *testing.T) {
	const tenants = 100
	d := newDriver(t)
	d.found("n1")
	p, err := newPicture(d.Memory, ledger.QueueLimit{Jobs: tenants + 3, TenantJobs: 50})
	if err != nil {
		t.Fatal(err)
	}
	do := func(c ledger.Command) {
		t.Helper()
		tx := d.Begin()
		if _, err := ledger.Apply(tx, 1, d.encode(c)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.note(tx), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if err := p.tell(); err != nil {
			t.Fatal(err)
		}
	}
	number := 0
	submit := func(tenant int) {
		number++
		spec := plainSpec(1)
		spec.Tenant = ledger.TenantID(fmt.Sprint("t", tenant))
		do(&ledger.Submit{Job: jobNumber(number), Spec: spec})
	}
	for i := range tenants {
		do(&ledger.CreateTenant{Tenant: ledger.TenantID(fmt.Sprint("t", i)), Weight: 1})
	}
	for round := range 3 {
		first := number + 1
		for i := range tenants {
			submit(i)
		}
		for range 40 {
			submit(round)
			submit(round + 1)
		}
		if err := p.compare(d.Memory); err != nil {
			t.Fatal(err)
		}
		jobs, err := p.Jobs(d.Memory)
		of := map[ledger.TenantID]int{}
		for _, q := range jobs {
			of[q.Spec.Tenant]++
		}
		if err != nil || len(of) != tenants {
			t.Fatalf("round %d: %d tenants of %d have jobs in the picture, %v", round, len(of), tenants, err)
		}
		for n := first; n <= number; n++ {
			do(&ledger.Cancel{Job: jobNumber(n)})
		}
		if err := p.compare(d.Memory); err != nil || p.Queued() != 0 {
			t.Fatalf("round %d: %d jobs are queued, %v", round, p.Queued(), err)
		}
	}
}

func BenchmarkBacklog(b *testing.B) {
	d := state(b)
	limit := ledger.QueueLimit{Jobs: 10_000, Ranges: 16}
	b.Run("New", func(b *testing.B) {
		for b.Loop() {
			p, err := ledger.NewBacklog(d.Memory, limit)
			if err == nil {
				_, err = p.Jobs(d.Memory)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	p, err := ledger.NewBacklog(d.Memory, limit)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Pass", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			jobs, err := p.Jobs(d.Memory)
			if err != nil || len(jobs) != 10_000 || len(p.Nodes()) != 1000 {
				b.Fatal(len(jobs), len(p.Nodes()), err)
			}
		}
	})
	b.Run("Change", func(b *testing.B) {
		key := append(ledger.JobPrefix(), make([]byte, 16)...)
		value, err := d.Get(key)
		if err != nil || value == nil {
			b.Fatal("no job 0", err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := p.Change(key, value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
