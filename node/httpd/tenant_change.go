package httpd

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
)

// tenantChanges registers what changes a part of a tenant, and leaves the rest as others
// may be changing it: two admins at once do not undo one another's.
func (s *server) tenantChanges(a huma.API) {
	huma.Register(a, huma.Operation{
		OperationID: "change-quota", Method: http.MethodPatch, Path: api.Prefix + "/tenants/{tenant}/quota", Summary: "Change some of a tenant's bounds", Tags: []string{"tenants"},
		Description: "What is left out stays; zero takes a bound away. What the tenant holds already stays.", MaxBodyBytes: tenantBytesMax,
	}, s.changeQuota)
	huma.Register(a, huma.Operation{
		OperationID: "change-capabilities", Method: http.MethodPatch, Path: api.Prefix + "/tenants/{tenant}/capabilities",
		Summary: "Say what a tenant's jobs may ask for beyond computing", Tags: []string{"tenants"},
		Description: "What is in neither list stays. Jobs that were accepted stay, and make no requests while their tenant may not.", MaxBodyBytes: tenantBytesMax,
	}, s.changeCapabilities)
}

type quotaChanged struct {
	Tenant string `path:"tenant"`
	Body   api.QuotaChange
}

func (s *server) changeQuota(ctx context.Context, in *quotaChanged) (*answer[api.Tenant], error) {
	c, names := quotaChange(&in.Body)
	c.Tenant = ledger.TenantID(in.Tenant)
	if c.Only == 0 {
		// A quota of which no field is named would be a whole one.
		return nil, api.NewProblem(api.CodeInvalid, "no bound is named", "name those that change, such as jobs")
	}
	audit.Of(ctx).Detail = strings.Join(names, ", ")
	return s.changeTenant(ctx, in.Tenant, c)
}

// quotaChange is what the ledger is told, and the names of what changes.
func quotaChange(q *api.QuotaChange) (c *ledger.SetQuota, names []string) {
	c = &ledger.SetQuota{}
	take := func(field ledger.QuotaFields, name string) {
		c.Only |= field
		names = append(names, name)
	}
	if q.Weight != nil {
		c.Weight = *q.Weight
		take(ledger.QuotaWeight, "weight")
	}
	if q.BandMax != nil {
		c.BandMax = *q.BandMax
		take(ledger.QuotaBandMax, "band_max")
	}
	if q.Jobs != nil {
		c.Quota.Jobs = *q.Jobs
		take(ledger.QuotaJobs, "jobs")
	}
	for _, f := range []struct {
		field ledger.QuotaFields
		name  string
		from  *uint64
		to    *uint64
	}{
		{ledger.QuotaFuelTotal, "fuel", q.Fuel, &c.Quota.FuelTotal},
		{ledger.QuotaFuelPerDay, "fuel_per_day", q.FuelPerDay, &c.Quota.FuelPerDay},
		{ledger.QuotaFuelRate, "fuel_per_second", q.FuelPerSecond, &c.Quota.FuelRate},
		{ledger.QuotaMemoryBytes, "memory_bytes", q.MemoryBytes, &c.Quota.MemoryBytes},
		{ledger.QuotaQueuedTasks, "queued_tasks", q.QueuedTasks, &c.Quota.QueuedTasks},
		{ledger.QuotaStoredBytes, "stored_bytes", q.StoredBytes, &c.Quota.StoredBytes},
		{ledger.QuotaEgressPerDay, "egress_per_day", q.EgressPerDay, &c.Quota.EgressPerDay},
	} {
		if f.from != nil {
			*f.to = *f.from
			take(f.field, f.name)
		}
	}
	return c, names
}

type capabilitiesChanged struct {
	Tenant string `path:"tenant"`
	Body   api.CapabilitiesChange
}

func (s *server) changeCapabilities(ctx context.Context, in *capabilitiesChanged) (*answer[api.Tenant], error) {
	c := &ledger.SetCapabilities{Tenant: ledger.TenantID(in.Tenant)}
	var err error
	if c.Add, err = capabilities(in.Body.Allow); err == nil {
		c.Remove, err = capabilities(in.Body.Deny)
	}
	switch both := c.Add & c.Remove; {
	case err != nil:
		return nil, err
	case both != 0:
		return nil, api.NewProblem(api.CodeInvalid, strings.Join(both.Names(), ", ")+" is both allowed and denied", "name it once")
	case c.Add|c.Remove == 0:
		return nil, api.NewProblem(api.CodeInvalid, "no capability is named", "name "+ledger.FeatureHTTP+" as allowed or denied")
	}
	var detail []string
	if c.Add != 0 {
		detail = append(detail, "allow "+strings.Join(c.Add.Names(), ", "))
	}
	if c.Remove != 0 {
		detail = append(detail, "deny "+strings.Join(c.Remove.Names(), ", "))
	}
	audit.Of(ctx).Detail = strings.Join(detail, "; ")
	return s.changeTenant(ctx, in.Tenant, c)
}

// capabilities reads names.
func capabilities(names []string) (all ledger.Capabilities, err error) {
	for _, name := range names {
		c := ledger.ParseCapability(name)
		if c == 0 {
			return 0, api.NewProblem(api.CodeInvalid, fmt.Sprintf("there is no capability %q", name), "there is "+ledger.FeatureHTTP)
		}
		all |= c
	}
	return all, nil
}

// changeTenant tells the ledger, and shows what has become of the tenant.
func (s *server) changeTenant(ctx context.Context, tenant string, c ledger.Command) (*answer[api.Tenant], error) {
	if err := s.admin(); err != nil {
		return nil, err
	}
	index, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.showTenant(ctx, &tenantQuery{At: At{Index: index}, Tenant: tenant})
}
