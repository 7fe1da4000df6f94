package httpd

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

// tenants registers what is done with tenants.
func (s *server) tenants(a huma.API) {
	get(a, "list-tenants", "/tenants", "List tenants: all for the operator, others see themselves", "tenants", s.listTenants)
	get(a, "show-tenant", "/tenants/{tenant}", "Show a tenant, with its quota and what it holds", "tenants", s.showTenant)
	get(a, "get-quota", "/tenants/{tenant}/quota", "Say what bounds a tenant", "tenants", s.getQuota)
	get(a, "show-usage", "/usage", "Say what a tenant has cost, by day, module or job", "tenants", s.usage)
	get(a, "show-shares", "/shares", "Say which part of the grid a tenant had, over the last hour or day", "tenants", s.shares)
	huma.Register(a, huma.Operation{
		OperationID: "create-tenant", Method: http.MethodPost, Path: api.Prefix + "/tenants", Summary: "Make a tenant", Tags: []string{"tenants"},
		Description: "It has no token yet: dugnad tenant create --existing makes one. Without a quota it may have 10,000 jobs that have not ended and 10,000,000 tasks that wait.", DefaultStatus: http.StatusCreated, MaxBodyBytes: tenantBytesMax,
	}, s.createTenant)
	huma.Register(a, huma.Operation{
		OperationID: "set-quota", Method: http.MethodPut, Path: api.Prefix + "/tenants/{tenant}/quota", Summary: "Bound a tenant", Tags: []string{"tenants"},
		Description: "The whole quota: what is left out is not bounded, and of two at once the later one holds. What the tenant holds already stays.", MaxBodyBytes: tenantBytesMax,
	}, s.setQuota)
	s.tenantChanges(a)
}

// tenantBytesMax bounds a request about a tenant.
const tenantBytesMax = 16 << 10

// tenant returns the tenant that an asker may know of; the others are not there.
func (a *asker) tenant(tx ledger.Tx, name string) (ledger.Tenant, error) {
	id := ledger.TenantID(name)
	if name == "" {
		id = a.Tenant
	}
	if id != a.Tenant && !a.Operator {
		return ledger.Tenant{}, api.NewProblem(api.CodeNotFound, "there is no tenant "+name+" for this asker", "leave the name out: a tenant sees itself")
	}
	return ledger.FindTenant(tx, id)
}

type tenantsQuery struct {
	At
	After string `query:"after" doc:"Continue behind this tenant"`
	Limit int    `query:"limit" minimum:"0" doc:"At most so many"`
}

func (s *server) listTenants(ctx context.Context, q *tenantsQuery) (*answer[api.Tenants], error) {
	out := api.Tenants{Tenants: []api.Tenant{}}
	a, limit := who(ctx), page(q.Limit)
	var err error
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		if !a.Operator {
			t, err := a.tenant(tx, "")
			if err == nil {
				err = addTenant(tx, &t, &out)
			}
			return err
		}
		list, err := ledger.Tenants(tx, ledger.TenantID(q.After), limit)
		for i := range list {
			if err == nil {
				err = addTenant(tx, &list[i], &out)
			}
		}
		if err == nil && len(list) == limit {
			out.Next = string(list[limit-1].ID)
		}
		return err
	})
	return &answer[api.Tenants]{out}, err
}

func addTenant(tx ledger.Tx, t *ledger.Tenant, out *api.Tenants) error {
	shown, err := readTenant(tx, t)
	out.Tenants = append(out.Tenants, shown)
	return err
}

// readTenant puts a tenant together from its records.
func readTenant(tx ledger.Tx, t *ledger.Tenant) (api.Tenant, error) {
	today, err := ledger.FindAccount(tx, t.ID, ledger.Time(time.Now().UnixNano()).Day())
	q := &t.Quota
	return api.Tenant{
		ID: string(t.ID),
		Quota: api.Quota{
			Weight: t.Weight, BandMax: t.BandMax, Fuel: q.FuelTotal, FuelPerDay: q.FuelPerDay, FuelPerSecond: q.FuelRate, MemoryBytes: q.MemoryBytes,
			QueuedTasks: q.QueuedTasks, Jobs: q.Jobs, StoredBytes: q.StoredBytes, EgressPerDay: q.EgressPerDay,
		},
		Capabilities: append([]string{}, t.Capabilities.Names()...),
		Held: api.Held{
			FuelReserved: t.FuelReserved, FuelUsed: t.FuelUsed, FuelToday: today.Usage.Fuel, FuelPerSecond: t.Rate, MemoryBytes: t.Leased.MemoryBytes,
			QueuedTasks: t.Queued, Jobs: t.Jobs, StoredBytes: t.Stored, EgressToday: today.Usage.EgressBytes,
		},
	}, err
}

type tenantQuery struct {
	At
	Tenant string `path:"tenant"`
}

func (s *server) showTenant(ctx context.Context, q *tenantQuery) (*answer[api.Tenant], error) {
	var out api.Tenant
	index, err := s.read(ctx, q.At, func(tx ledger.Tx) error {
		t, err := who(ctx).tenant(tx, q.Tenant)
		if err == nil {
			out, err = readTenant(tx, &t)
		}
		return err
	})
	out.Index = index
	return &answer[api.Tenant]{out}, err
}

func (s *server) getQuota(ctx context.Context, q *tenantQuery) (*answer[api.Quota], error) {
	t, err := s.showTenant(ctx, q)
	if err != nil {
		return nil, err
	}
	return &answer[api.Quota]{t.Body.Quota}, nil
}

type tenantMade struct{ Body api.NewTenant }

// admin refuses what only admins do: the operator of a node that was donated is none.
func (s *server) admin() error {
	if s.Grid.Standing().Admin {
		return nil
	}
	return api.NewProblem(api.CodeAdminOnly, "this node is no admin's, and tenants are made and bounded by admins of the grid",
		"run the command on the founder's node, or on an admin's")
}

func (s *server) createTenant(ctx context.Context, in *tenantMade) (*answer[api.Tenant], error) {
	if err := s.admin(); err != nil {
		return nil, err
	}
	q := api.DefaultQuota()
	if in.Body.Quota != nil {
		q = *in.Body.Quota
	}
	c := command(in.Body.ID, q)
	index, err := s.do(ctx, &c)
	if err != nil {
		return nil, err
	}
	return s.showTenant(ctx, &tenantQuery{At: At{Index: index}, Tenant: in.Body.ID})
}

type quotaSet struct {
	Tenant string `path:"tenant"`
	Body   api.Quota
}

func (s *server) setQuota(ctx context.Context, in *quotaSet) (*answer[api.Tenant], error) {
	c := command(in.Tenant, in.Body)
	return s.changeTenant(ctx, in.Tenant, &ledger.SetQuota{Tenant: c.Tenant, Weight: c.Weight, BandMax: c.BandMax, Quota: c.Quota})
}

// command is what the ledger is told of a tenant.
func command(tenant string, q api.Quota) ledger.CreateTenant {
	return ledger.CreateTenant{
		Tenant: ledger.TenantID(tenant), Weight: max(q.Weight, 1), BandMax: q.BandMax,
		Quota: ledger.Quota{
			FuelTotal: q.Fuel, FuelPerDay: q.FuelPerDay, FuelRate: q.FuelPerSecond, MemoryBytes: q.MemoryBytes, QueuedTasks: q.QueuedTasks,
			Jobs: q.Jobs, StoredBytes: q.StoredBytes, EgressPerDay: q.EgressPerDay,
		},
	}
}
