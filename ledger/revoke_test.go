package ledger_test

import (
	"encoding/binary"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestRevoked: a delegation is revoked until it is over by itself, and no other is.
func TestRevoked(t *testing.T) {
	d := newDriver(t)
	brief, ever := [32]byte{1}, [32]byte{2}
	is := func(id [32]byte) bool {
		t.Helper()
		revoked, err := ledger.Revoked(d.Memory, id)
		if err != nil {
			t.Fatal(err)
		}
		return revoked
	}
	d.do(&ledger.Revoke{ID: brief, Until: d.now + 60*second})
	d.do(&ledger.Revoke{ID: ever})
	if !is(brief) || !is(ever) || is([32]byte{3}) {
		t.Errorf("brief %t, ever %t, other %t", is(brief), is(ever), is([32]byte{3}))
	}
	d.now += 60*second + ledger.RevocationNanos - 1
	d.do(&ledger.Tick{})
	if !is(brief) {
		t.Error("forgotten less than a day after the delegation was over")
	}
	d.now++
	d.do(&ledger.Tick{})
	if is(brief) || !is(ever) {
		t.Errorf("later: brief %t, ever %t", is(brief), is(ever))
	}
	d.check()
}

// TestRevocationsAreBounded: a tenant has so many, and the grid; one that is known may be
// revoked again, and there is room when others are forgotten.
func TestRevocationsAreBounded(t *testing.T) {
	d := newDriver(t)
	for _, name := range []ledger.TenantID{"acme", "birch"} {
		d.do(&ledger.CreateTenant{Tenant: name, Weight: 1})
	}
	next := uint32(0)
	id := func(n uint32) (id [32]byte) {
		binary.BigEndian.PutUint32(id[:], n)
		return id
	}
	until := d.now + 60*second
	revoke := func(tenant ledger.TenantID) ledger.Result {
		next++
		return d.try(&ledger.Revoke{ID: id(next), Tenant: tenant, Until: until})
	}
	refused := func(r ledger.Result, what string, limit uint64) {
		t.Helper()
		if r.Code != ledger.CodeQuotaRevocations || r.What != what || r.Max != limit || r.Have != limit+1 {
			t.Errorf("%+v, want %s, at most %d", r, what, limit)
		}
	}
	for range ledger.RevocationsMax {
		if r := revoke("acme"); r.Code != ledger.CodeOK {
			t.Fatalf("%+v", r)
		}
	}
	refused(revoke("acme"), "revocations", ledger.RevocationsMax)
	d.do(&ledger.Revoke{ID: id(1), Tenant: "acme", Until: until})
	d.do(&ledger.Revoke{ID: id(1), Tenant: "birch", Until: until})
	d.check()
	for n := ledger.RevocationsMax; n < ledger.GridRevocationsMax; n++ {
		if r := revoke(""); r.Code != ledger.CodeOK {
			t.Fatalf("%+v", r)
		}
	}
	refused(revoke("birch"), "grid_revocations", ledger.GridRevocationsMax)
	refused(revoke(""), "grid_revocations", ledger.GridRevocationsMax)
	// One of which it was not known whose it is counts for the tenant from then on.
	known := id(next - 2)
	d.do(&ledger.Revoke{ID: known, Tenant: "birch", Until: until + 1})
	d.check()
	d.now = until + ledger.RevocationNanos
	for d.do(&ledger.Tick{}).More {
	}
	d.check()
	if n, err := ledger.CountRevocations(d.Memory); err != nil || n != 1 {
		t.Errorf("%d are kept, %v", n, err)
	}
	until = 0
	if r := revoke("acme"); r.Code != ledger.CodeOK {
		t.Errorf("there is room, and it is refused: %+v", r)
	}
	d.check()
}

// TestRevokeRefuses: what names nobody, or what was over long ago.
func TestRevokeRefuses(t *testing.T) {
	d := newDriver(t)
	d.now = 3 * ledger.RevocationNanos
	for what, c := range map[string]*ledger.Revoke{
		"tenant": {Tenant: "Acme"}, "until": {Until: d.now - ledger.RevocationNanos},
	} {
		if r := d.try(c); r.Code != ledger.CodeInvalid || r.What != what {
			t.Errorf("%+v, want %q invalid", r, what)
		}
	}
	if r := d.try(&ledger.Revoke{Until: d.now + ledger.SpanMax + 1}); r.Code != ledger.CodeInvalid {
		t.Errorf("%+v", r)
	}
	if r := d.try(&ledger.Revoke{Tenant: "nobody"}); r.Code != ledger.CodeTenantUnknown {
		t.Errorf("%+v", r)
	}
	// Over by the ledger's clock, and not by that of every node.
	d.do(&ledger.Revoke{Until: d.now - ledger.RevocationNanos + 1})
	d.check()
}
