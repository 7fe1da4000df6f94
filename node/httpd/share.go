package httpd

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/sharing"
)

type sharesQuery struct {
	Over   string `query:"over" enum:"hour,day" default:"hour"`
	Tenant string `query:"tenant" doc:"Whose; the asker's own when left out"`
	All    bool   `query:"all" doc:"With every tenant apart, for the operator: the 32 that had the most"`
}

// shares tells a tenant what it had, and of the others only what they had together.
func (s *server) shares(ctx context.Context, q *sharesQuery) (*answer[api.Shares], error) {
	a := who(ctx)
	if q.All && !a.Operator {
		return nil, api.NewProblem(api.CodeOperatorOnly, "only the node's operator may see tenants apart", "leave all out: a tenant sees itself, and the others together")
	}
	var t ledger.Tenant
	_, err := s.read(ctx, At{}, func(tx ledger.Tx) (err error) {
		t, err = a.tenant(tx, q.Tenant)
		return err
	})
	if err != nil {
		return nil, err
	}
	day := q.Over == api.SharesOverDay
	out := api.Shares{Tenant: string(t.ID), Over: q.Over, Seconds: int(sharing.Every / time.Second), Samples: []api.ShareSample{}}
	if day {
		out.Seconds = int(sharing.Spell / time.Second)
	}
	if s.Shares == nil {
		return &answer[api.Shares]{out}, nil
	}
	list, since := s.Shares.Of(day)
	if !since.IsZero() {
		since = since.UTC()
		out.Since = &since
	}
	for _, p := range sharing.Points(list, t.ID, t.Weight) {
		one := api.ShareSample{At: p.At.UTC(), Entitled: rounded(p.Entitled), Others: parts(p.Others)}
		if p.Known {
			own := parts(p.Own)
			one.Own = &own
		}
		out.Samples = append(out.Samples, one)
	}
	if q.All {
		out.Tenants = apart(list)
	}
	return &answer[api.Shares]{out}, nil
}

// apart returns what each of the tenants had that had the most.
func apart(list []sharing.Sample) []api.TenantShare {
	sums := map[ledger.TenantID]float64{}
	for _, s := range list {
		for _, u := range s.Uses {
			if d := u.Dominant(); d > 0 {
				sums[u.Tenant] += d
			}
		}
	}
	ids := make([]ledger.TenantID, 0, len(sums))
	for id := range sums {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y ledger.TenantID) int { return cmp.Or(cmp.Compare(sums[y], sums[x]), cmp.Compare(x, y)) })
	var out []api.TenantShare
	for _, id := range ids[:min(len(ids), api.SharesTenantsMax)] {
		t := api.TenantShare{Tenant: string(id), Dominant: make([]float64, len(list))}
		for i := range list {
			u, _ := list[i].Find(id)
			t.Dominant[i] = rounded(u.Dominant())
		}
		out = append(out, t)
	}
	return out
}

func parts(p sharing.Parts) api.Share {
	return api.Share{Dominant: rounded(p.Dominant()), Memory: rounded(p.Memory), FuelRate: rounded(p.Rate), Slots: rounded(p.Slots)}
}

// rounded keeps answers short: a ten-thousandth of the grid is less than can be drawn.
func rounded(part float64) float64 { return math.Round(part*1e4) / 1e4 }
