package ledger_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func aSecret(name string) *ledger.PutSecret {
	return &ledger.PutSecret{
		Tenant: "acme", Name: ledger.SecretName(name), ID: [16]byte{1},
		Keys: []ledger.SecretKey{{Node: "n1", Sealed: []byte("key")}}, Value: []byte("sealed"),
	}
}

// TestSecretLimits: a tenant has SecretsMax secrets and no more, the next value of one
// that there is excepted; and there are CardsMax custodians.
func TestSecretLimits(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	for i := range ledger.SecretsMax {
		d.do(aSecret(fmt.Sprint("S", i)))
	}
	if r := d.try(aSecret("MORE")); r.Code != ledger.CodeQuotaSecrets || r.Max != ledger.SecretsMax {
		t.Errorf("one more: %+v", r)
	}
	next := aSecret("S0")
	next.ID = [16]byte{2}
	d.do(next)
	largest := aSecret("S0")
	largest.ID, largest.Value = [16]byte{3}, make([]byte, ledger.SecretBytesMax)
	d.do(largest)
	largest.Value = append(largest.Value, 0)
	if r := d.try(largest); r.Code != ledger.CodeInvalid || r.Max != ledger.SecretBytesMax {
		t.Errorf("one byte more: %+v", r)
	}
	for i := range ledger.CardsMax {
		d.do(&ledger.PutCustodian{Node: ledger.NodeID(fmt.Sprint("n", i)), Card: []byte("card")})
	}
	if r := d.try(&ledger.PutCustodian{Node: "more", Card: []byte("card")}); r.Code != ledger.CodeTooMany {
		t.Errorf("one custodian more: %+v", r)
	}
	d.do(&ledger.PutCustodian{Node: "n0", Card: []byte("other")})
	d.do(&ledger.PutCustodian{Node: "n0"})
	d.do(&ledger.PutCustodian{Node: "more", Card: []byte("card")})
	d.check()
}

// TestSecretViews: what is kept is found, whole, and by tenant.
func TestSecretViews(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.do(&ledger.CreateTenant{Tenant: "zeta", Weight: 1})
	for _, name := range []string{"B", "A", "C"} {
		d.do(aSecret(name))
	}
	theirs := aSecret("A")
	theirs.Tenant, theirs.Value = "zeta", []byte("theirs")
	d.do(theirs)
	mine, err := ledger.Secrets(d.Memory, "acme")
	if err != nil || len(mine) != 3 || mine[0].Name != "A" || mine[2].Name != "C" {
		t.Errorf("%+v, %v", mine, err)
	}
	if _, value, err := ledger.FindSecret(d.Memory, "zeta", "A"); err != nil || !bytes.Equal(value, []byte("theirs")) {
		t.Errorf("%q, %v", value, err)
	}
	var all []string
	var tenant ledger.TenantID
	var name ledger.SecretName
	for {
		page, err := ledger.AllSecrets(d.Memory, tenant, name, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			tenant, name = s.Tenant, s.Name
			all = append(all, string(tenant+"/")+string(name))
		}
		if len(page) < 2 {
			break
		}
	}
	if got := strings.Join(all, " "); got != "acme/A acme/B acme/C zeta/A" {
		t.Error(got)
	}
}
