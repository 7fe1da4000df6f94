package httpd

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

// usageDays is how many days usage is about unless the request says so.
const usageDays = 30

type usageQuery struct {
	At
	By     string `query:"by" enum:"day,module,job" default:"day"`
	From   string `query:"from" doc:"The first day in UTC, such as 2026-11-01; 30 days when left out"`
	To     string `query:"to" doc:"The last day; today when left out"`
	Tenant string `query:"tenant" doc:"Whose; the asker's own when left out"`
	After  string `query:"after" doc:"By job: continue behind this one"`
	Limit  int    `query:"limit" minimum:"0" doc:"By job: at most so many"`
}

// days are the first and the last of a span.
type days struct{ from, to uint32 }

// span reads the days of a query.
func (q *usageQuery) span(now time.Time) (d days, err error) {
	d.to = ledger.Time(now.UnixNano()).Day()
	if q.To != "" {
		if d.to, err = day("to", q.To); err != nil {
			return d, err
		}
	}
	d.from = d.to - min(d.to, usageDays-1)
	if q.From != "" {
		if d.from, err = day("from", q.From); err != nil {
			return d, err
		}
	}
	if d.from > d.to || d.to-d.from >= api.UsageDaysMax {
		return d, api.NewProblem(api.CodeInvalid, fmt.Sprintf("from %s to %s is not 1 to %d days", text(d.from), text(d.to), api.UsageDaysMax), "name another first or last day")
	}
	return d, nil
}

// day reads a day, as the ledger counts it.
func day(what, s string) (uint32, error) {
	t, err := time.Parse(time.DateOnly, s)
	if n := t.Unix() / (24 * 60 * 60); err == nil && n >= 0 && n <= int64(ledger.TimeMax.Day()) {
		return uint32(n), nil
	}
	return 0, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%s %q is not a day from 1970-01-01 on", what, s), "write it as 2026-11-23")
}

// text is the inverse of day.
func text(day uint32) string { return time.Unix(int64(day)*24*60*60, 0).UTC().Format(time.DateOnly) }

func (s *server) usage(ctx context.Context, q *usageQuery) (*answer[api.UsageReport], error) {
	span, err := q.span(time.Now())
	if err != nil {
		return nil, err
	}
	a := who(ctx)
	if a.Modules != nil && q.By == api.UsageByDay {
		return nil, api.NewProblem(api.CodeTokenNarrower, "the token is for some modules only", "ask by module or by job")
	}
	out := api.UsageReport{By: q.By, From: text(span.from), To: text(span.to), Parts: []api.UsagePart{}}
	var sum ledger.Usage
	add := func(p api.UsagePart, u ledger.Usage) {
		if u != (ledger.Usage{}) {
			p.Usage = usage(u)
			out.Parts = append(out.Parts, p)
			sum.Add(u)
		}
	}
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		out.Parts, sum = out.Parts[:0], ledger.Usage{}
		t, err := a.tenant(tx, q.Tenant)
		if err != nil {
			return err
		}
		out.Tenant = string(t.ID)
		switch q.By {
		case api.UsageByModule:
			return a.usageByModule(tx, t.ID, span, add)
		case api.UsageByJob:
			out.Next, err = a.usageByJob(tx, t.ID, span, q, add)
			return err
		}
		out.Unsigned, err = usageByDay(tx, t.ID, span, add)
		return err
	})
	out.Total = usage(sum)
	return &answer[api.UsageReport]{out}, err
}

type addUsage func(p api.UsagePart, u ledger.Usage)

// usageByDay adds the days, and returns what was not signed.
func usageByDay(tx ledger.Tx, id ledger.TenantID, span days, add addUsage) (*api.Usage, error) {
	list, err := ledger.Accounts(tx, id, span.from, span.to)
	var unsigned ledger.Usage
	for _, d := range list {
		tasks := tally(d.Tasks)
		add(api.UsagePart{Day: text(d.Day), Tasks: &tasks}, d.Receipts)
		unsigned.Add(d.Usage.Minus(d.Receipts))
	}
	if unsigned == (ledger.Usage{}) {
		return nil, err
	}
	u := usage(unsigned)
	return &u, err
}

// usageByModule adds the modules, the most fuel first.
func (a *asker) usageByModule(tx ledger.Tx, id ledger.TenantID, span days, add addUsage) error {
	accounts, err := ledger.Accounts(tx, id, span.from, span.to)
	if err != nil {
		return err
	}
	sums := map[ledger.ModuleID]*ledger.Usage{}
	var modules []ledger.ModuleID
	for _, d := range accounts {
		list, err := ledger.ModuleUsage(tx, id, d.Day)
		if err != nil {
			return err
		}
		for _, m := range list {
			if sums[m.Module] == nil {
				sums[m.Module] = &ledger.Usage{}
				modules = append(modules, m.Module)
			}
			sums[m.Module].Add(m.Usage)
		}
	}
	slices.SortFunc(modules, func(x, y ledger.ModuleID) int {
		return cmp.Or(cmp.Compare(sums[y].Fuel, sums[x].Fuel), bytes.Compare(x[:], y[:]))
	})
	for _, m := range modules {
		name := module(m)
		if m == ledger.OtherModules {
			name = api.OtherModules
		}
		if a.module(m) == nil {
			add(api.UsagePart{Module: name}, *sums[m])
		}
	}
	return nil
}

// usageByJob adds a page of the jobs that are kept, and returns where the next one
// begins.
func (a *asker) usageByJob(tx ledger.Tx, id ledger.TenantID, span days, q *usageQuery, add addUsage) (next string, err error) {
	after, err := optionalJob(q.After)
	if err != nil {
		return "", err
	}
	limit := page(q.Limit)
	for looked, found := 0, 0; ; {
		list, err := ledger.JobsOf(tx, id, after, limit)
		if err != nil {
			return "", err
		}
		for i := range list {
			after = list[i].ID
			u, err := ledger.JobUsage(tx, &list[i], span.from, span.to)
			if err != nil {
				return "", err
			}
			if u == (ledger.Usage{}) {
				continue
			}
			j, err := readJob(tx, &list[i])
			if err != nil {
				return "", err
			}
			if a.Modules != nil && !slices.Contains(a.Modules, j.Module) {
				continue
			}
			add(api.UsagePart{Job: j.ID, Name: j.Name, Module: j.Module}, u)
			if found++; found == limit {
				return after.String(), nil
			}
		}
		if len(list) < limit {
			return "", nil
		}
		if looked += len(list); looked >= listScanMax {
			return after.String(), nil
		}
	}
}
