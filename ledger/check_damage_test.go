package ledger_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestCheckFindsDamage changes a field of a record of what tenants have: Check says what.
func TestCheckFindsDamage(t *testing.T) {
	d := newDriver(t)
	rich(d)
	urgent := plainSpec(1)
	urgent.Band = 4
	d.do(&ledger.Submit{Job: jobNumber(9), Spec: urgent})
	if r := d.do(&ledger.Preempt{Job: jobNumber(9), Leases: []ledger.LeaseName{{Node: "n1", Epoch: 1}}}); r.Items[0].Code != ledger.CodeOK {
		t.Fatalf("%+v", r)
	}
	d.check()
	for _, c := range []struct {
		table byte
		field string
		to    any
		want  string
	}{
		{'t', "Weight", uint32(0), "weight"},
		{'t', "BandMax", uint8(8), "band_max"},
		{'t', "Capabilities", ledger.Capabilities(1 << 31), "capabilities"},
		{'t', "Stored", uint64(1 << 40), "stored bytes"},
		{'t', "Rate", uint64(1 << 40), "fuel rate"},
		{'t', "Revocations", uint32(7), "revocations"},
		{'m', "Revocations", uint32(7), "revocations"},
		{'v', "Tenant", ledger.TenantID("nobody"), "revocations"},
		{'v', "Tenant", ledger.TenantID(""), "revocations"},
		{'v', "Until", ledger.Time(7), "timer of revocation"},
		{'y', "Version", uint32(0), "no version"},
		{'y', "Tenant", ledger.TenantID("birch"), "secret TOKEN of birch"},
		{'y', "Keys", []ledger.SecretKey(nil), "secret_keys"},
		{'y', "Nodes", []ledger.NodeID{"n2", "n1"}, "node n1"},
		{'U', "Card", []byte(nil), "card of 0 bytes"},
		{'U', "Node", ledger.NodeID("n9"), "custodian n9"},
		{'L', "For", uint8(0), "notice"},
		{'L', "Notice", ledger.Time(7), "notice"},
		{'L', "Expiry", ledger.TimeMax, "notice"},
		{'L', "Rate", uint64(7), "fuel rate"},
		{'A', "Receipts", ledger.Usage{Fuel: 1 << 40}, "receipts"},
		{'A', "Forgotten", ledger.Usage{Fuel: 1 << 40}, "receipts"},
		{'A', "Modules", uint32(7), "modules"},
		{'a', "Usage", ledger.Usage{Fuel: 1 << 40}, "receipts"},
		{'u', "Usage", ledger.Usage{Fuel: 1 << 40}, "its days"},
		{'J', "Stored", uint64(1 << 40), "stored bytes"},
	} {
		var key, was []byte
		_ = d.Scan([]byte{c.table}, nil, func(k, v []byte) bool {
			key, was = append([]byte(nil), k...), append([]byte(nil), v...)
			return c.table == 'A' // the last one has receipts
		})
		what, _ := ledger.Describe(key, nil)
		err := ledger.Damage(d.Memory, key, func(record reflect.Value) {
			record.FieldByName(c.field).Set(reflect.ValueOf(c.to))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.Check(d.Memory); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s is %v: %v, want %q", c.field, what, c.to, err, c.want)
		}
		_ = d.Set(key, was)
	}
	d.check()
}
