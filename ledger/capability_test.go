package ledger_test

import (
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestCapabilities: a job or an order asks for no more than its tenant may have at that
// time, and what was accepted stays.
func TestCapabilities(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	next := uint64(0)
	submit := func(want ledger.Code) {
		t.Helper()
		spec := plainSpec(1)
		spec.Features = []string{"simd", ledger.FeatureHTTP}
		next++
		r := d.try(&ledger.Submit{Job: jobNumber(int(next)), Spec: spec})
		if r.Code != want || want != ledger.CodeOK && r.What != "http" {
			t.Errorf("job: %s %s, want %s", r.Code, r.What, want)
		}
		order := &ledger.CreateOrder{Order: ledger.OrderID(jobNumber(int(100 + next))), Kind: ledger.OrderCron, Schedule: "@daily", Zone: "UTC", Spec: spec}
		if r := d.try(order); r.Code != want {
			t.Errorf("order: %s %s, want %s", r.Code, r.What, want)
		}
	}
	quota := func(c ledger.Capabilities) {
		t.Helper()
		d.do(&ledger.SetQuota{Tenant: plainSpec(1).Tenant, Weight: 1, BandMax: ledger.BandTop, Capabilities: c})
	}
	submit(ledger.CodeCapability)
	quota(ledger.CapabilityHTTP)
	submit(ledger.CodeOK)
	quota(0)
	submit(ledger.CodeCapability)
	d.check()
	r := d.try(&ledger.CreateTenant{Tenant: "birch", Weight: 1, Capabilities: 1 << 31})
	if r.Code != ledger.CodeInvalid || r.What != "capabilities" {
		t.Errorf("%+v", r)
	}
	if c := ledger.ParseCapability("http"); c != ledger.CapabilityHTTP || len(c.Names()) != 1 || ledger.ParseCapability("storage") != 0 {
		t.Errorf("%v", c.Names())
	}
}
