package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/dugnad/dugnad/node/api"
)

// Tenants lists tenants: all for the operator, otherwise the asker's own.
func (c *Client) Tenants(ctx context.Context, p Page) (api.Tenants, error) {
	return read[api.Tenants](ctx, c, "/tenants", p.in(query{}))
}

// Tenant returns a tenant with its quota and what it holds.
func (c *Client) Tenant(ctx context.Context, id string) (api.Tenant, error) {
	return read[api.Tenant](ctx, c, "/tenants/"+url.PathEscape(id), nil)
}

// ChangeQuota changes some of a tenant's bounds.
func (c *Client) ChangeQuota(ctx context.Context, id string, q api.QuotaChange) (api.Tenant, error) {
	return c.changeTenant(ctx, id, "/quota", q)
}

// ChangeCapabilities changes what a tenant's jobs may ask for beyond computing.
func (c *Client) ChangeCapabilities(ctx context.Context, id string, change api.CapabilitiesChange) (api.Tenant, error) {
	return c.changeTenant(ctx, id, "/capabilities", change)
}

func (c *Client) changeTenant(ctx context.Context, id, part string, change any) (api.Tenant, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return api.Tenant{}, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return repeat(ctx, c, func() (api.Tenant, error) {
		return call[api.Tenant](ctx, c, http.MethodPatch, "/tenants/"+url.PathEscape(id)+part, nil, h, bytes.NewReader(body))
	})
}

// UsageQuery says what usage is wanted.
type UsageQuery struct {
	// Tenant is the asker's own when it is empty.
	Tenant string
	// By is one of api.UsageByDay, UsageByModule and UsageByJob.
	By string
	// From and To are days, such as 2026-11-23; empty leaves them to the node.
	From, To string
	Page
}

// Usage says what a tenant has cost.
func (c *Client) Usage(ctx context.Context, q UsageQuery) (api.UsageReport, error) {
	return read[api.UsageReport](ctx, c, "/usage", q.in(query{"tenant": q.Tenant, "by": q.By, "from": q.From, "to": q.To}))
}
