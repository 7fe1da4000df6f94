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
	tenant := plainSpec(1).Tenant
	submit(ledger.CodeCapability)
	d.do(&ledger.SetCapabilities{Tenant: tenant, Add: ledger.CapabilityHTTP})
	submit(ledger.CodeOK)
	// A quota says nothing of them.
	d.do(&ledger.SetQuota{Tenant: tenant, Weight: 1, BandMax: ledger.BandTop})
	submit(ledger.CodeOK)
	d.do(&ledger.SetCapabilities{Tenant: tenant, Remove: ledger.CapabilityHTTP})
	submit(ledger.CodeCapability)
	d.check()
	r := d.try(&ledger.CreateTenant{Tenant: "birch", Weight: 1, Capabilities: 1 << 31})
	if r.Code != ledger.CodeInvalid || r.What != "capabilities" {
		t.Errorf("%+v", r)
	}
	for what, c := range map[string]*ledger.SetCapabilities{
		"tenant":       {Tenant: "Acme"},
		"capabilities": {Tenant: tenant, Remove: 1 << 31},
		"capabilities that are both added and removed": {Tenant: tenant, Add: ledger.CapabilityHTTP, Remove: ledger.CapabilityHTTP},
	} {
		if r := d.try(c); r.Code != ledger.CodeInvalid || r.What != what {
			t.Errorf("%+v, want %q invalid", r, what)
		}
	}
	if r := d.try(&ledger.SetCapabilities{Tenant: "birch", Add: ledger.CapabilityHTTP}); r.Code != ledger.CodeTenantUnknown {
		t.Errorf("%+v", r)
	}
	if c := ledger.ParseCapability("http"); c != ledger.CapabilityHTTP || len(c.Names()) != 1 || ledger.ParseCapability("storage") != 0 {
		t.Errorf("%v", c.Names())
	}
}

// TestQuotaFields: a quota of which some fields are named changes these, so that admins who
// change different ones do not undo one another's.
func TestQuotaFields(t *testing.T) {
	was := ledger.Tenant{ID: "acme", Weight: 1, BandMax: 2, Quota: ledger.Quota{
		FuelTotal: 3, MemoryBytes: 4, QueuedTasks: 5, Jobs: 6, FuelPerDay: 7, FuelRate: 8, StoredBytes: 9, EgressPerDay: 10,
	}, Capabilities: ledger.CapabilityHTTP}
	// Every field is another number, so that one in the place of another shows.
	other := ledger.SetQuota{Tenant: "acme", Weight: 11, BandMax: 7, Quota: ledger.Quota{
		FuelTotal: 13, MemoryBytes: 14, QueuedTasks: 15, Jobs: 16, FuelPerDay: 17, FuelRate: 18, StoredBytes: 19, EgressPerDay: 20,
	}}
	whole := was
	whole.Weight, whole.BandMax, whole.Quota = other.Weight, other.BandMax, other.Quota
	for only, change := range map[ledger.QuotaFields]func(*ledger.Tenant){
		0:                       func(n *ledger.Tenant) { *n = whole },
		ledger.QuotaWeight:      func(n *ledger.Tenant) { n.Weight = 11 },
		ledger.QuotaBandMax:     func(n *ledger.Tenant) { n.BandMax = 7 },
		ledger.QuotaFuelTotal:   func(n *ledger.Tenant) { n.Quota.FuelTotal = 13 },
		ledger.QuotaMemoryBytes: func(n *ledger.Tenant) { n.Quota.MemoryBytes = 14 },
		ledger.QuotaQueuedTasks: func(n *ledger.Tenant) { n.Quota.QueuedTasks = 15 },
		ledger.QuotaJobs:        func(n *ledger.Tenant) { n.Quota.Jobs = 16 },
		ledger.QuotaFuelPerDay:  func(n *ledger.Tenant) { n.Quota.FuelPerDay = 17 },
		ledger.QuotaFuelRate:    func(n *ledger.Tenant) { n.Quota.FuelRate = 18 },
		ledger.QuotaStoredBytes: func(n *ledger.Tenant) { n.Quota.StoredBytes = 19 },
		ledger.QuotaEgressPerDay | ledger.QuotaJobs: func(n *ledger.Tenant) { n.Quota.EgressPerDay, n.Quota.Jobs = 20, 16 },
	} {
		d := newDriver(t)
		d.do(&ledger.CreateTenant{Tenant: was.ID, Weight: was.Weight, BandMax: was.BandMax, Quota: was.Quota, Capabilities: was.Capabilities})
		c := other
		c.Only = only
		d.do(&c)
		want := was
		change(&want)
		if got, err := ledger.FindTenant(d.Memory, was.ID); err != nil || got != want {
			t.Errorf("only %b: %+v, want %+v: %v", only, got, want, err)
		}
	}
	d := newDriver(t)
	d.do(&ledger.CreateTenant{Tenant: "acme", Weight: 1})
	for what, c := range map[string]*ledger.SetQuota{
		"tenant": {Tenant: "Acme", Weight: 1}, "only": {Tenant: "acme", Weight: 1, Only: 1 << 31},
		"weight": {Tenant: "acme", Only: ledger.QuotaWeight}, "band_max": {Tenant: "acme", BandMax: 8, Only: ledger.QuotaBandMax},
	} {
		if r := d.try(c); r.Code != ledger.CodeInvalid || r.What != what {
			t.Errorf("%+v, want %q invalid", r, what)
		}
	}
}
