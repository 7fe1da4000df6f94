package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/calendar"
	"github.com/dugnad/dugnad/node/jobspec"
)

// nextRuns is how many times a plan of a standing order tells.
const nextRuns = 3

// orders registers what is done with standing orders.
func (s *server) orders(a huma.API) {
	get(a, "list-orders", "/orders", "List standing orders", "orders", s.listOrders)
	get(a, "show-order", "/orders/{id}", "Show a standing order with its last runs", "orders", s.showOrder)
	get(a, "explain-order", "/orders/{id}/why", "Say when a standing order runs, or why not", "orders", s.whyOrder)
	for _, o := range []struct {
		name, summary string
		state         ledger.OrderState
	}{
		{"end", "End a standing order, and its jobs with it", ledger.OrderEnded},
		{"pause", "Let a standing order make no more jobs for a while", ledger.OrderPaused},
		{"resume", "Let a standing order make jobs again; times that have passed are not made up for", ledger.OrderActive},
	} {
		huma.Register(a, huma.Operation{
			OperationID: o.name + "-order", Method: http.MethodPost, Path: api.Prefix + "/orders/{id}/" + o.name, Summary: o.summary, Tags: []string{"orders"},
		}, func(ctx context.Context, q *jobPath) (*answer[api.Submitted], error) {
			return s.setOrder(ctx, q, o.state)
		})
	}
}

// submitOrder makes a standing order of a file that describes one.
func (s *server) submitOrder(ctx context.Context, job *jobspec.Job, key string) (*answer[api.Submitted], error) {
	c, err := job.Order(who(ctx).Tenant)
	if err != nil {
		return nil, mistakes(err)
	}
	id, err := jobID(who(ctx).Tenant, key)
	if err != nil {
		return nil, problem(err)
	}
	c.Order = ledger.OrderID(id)
	if err := s.vacant(ctx, id, false); err != nil {
		return nil, err
	}
	return s.accept(ctx, c, api.Submitted{ID: id.String(), Kind: c.Kind.String()}, ledger.CodeOrderExists, key)
}

// vacant refuses an id, which a key makes, that names something of the other sort
// already: nobody could tell which of them is meant.
func (s *server) vacant(ctx context.Context, id ledger.JobID, order bool) error {
	_, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		var err error
		if order {
			_, err = ledger.FindOrder(tx, ledger.OrderID(id))
		} else {
			_, err = ledger.FindJob(tx, id)
		}
		return err
	})
	var p *api.Problem
	switch {
	case errors.As(err, &p) && p.Code == api.CodeNotFound:
		return nil
	case err != nil:
		return err
	case order:
		return refusal(ledger.Result{Code: ledger.CodeOrderExists, What: id.String()})
	}
	return refusal(ledger.Result{Code: ledger.CodeJobExists, What: id.String()})
}

type orderQuery struct {
	At
	After string `query:"after" doc:"Continue behind this order"`
	Limit int    `query:"limit" minimum:"0" doc:"At most so many"`
	Ended bool   `query:"ended" doc:"Those that have ended instead of the others"`
}

func (s *server) listOrders(ctx context.Context, q *orderQuery) (*answer[api.Orders], error) {
	after, err := optionalJob(q.After)
	if err != nil {
		return nil, err
	}
	out := api.Orders{Orders: []api.Order{}}
	a, limit := who(ctx), page(q.Limit)
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		list, err := ledger.OrdersOf(tx, a.Tenant, q.Ended, ledger.OrderID(after), limit)
		for i := range list {
			if ok, err := a.seesOrder(tx, &list[i]); err != nil || !ok {
				if err != nil {
					return err
				}
				continue
			}
			o, err := readOrder(tx, &list[i])
			if err != nil {
				return err
			}
			out.Orders = append(out.Orders, o)
		}
		if len(list) == limit {
			out.Next = list[limit-1].ID.String()
		}
		return err
	})
	return &answer[api.Orders]{out}, err
}

type orderPath struct {
	At
	ID string `path:"id"`
}

func (s *server) showOrder(ctx context.Context, q *orderPath) (*answer[api.Order], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var out api.Order
	index, err := s.read(ctx, q.At, func(tx ledger.Tx) error {
		o, err := who(ctx).order(tx, ledger.OrderID(id))
		if err == nil {
			out, err = readOrder(tx, &o)
		}
		if err == nil && o.Kind == ledger.OrderDaemon {
			out.Seats, err = seats(tx, o.ID)
		}
		return err
	})
	out.Index = index
	return &answer[api.Order]{out}, err
}

// order returns an order of the asker's; those of others are not there.
func (a *asker) order(tx ledger.Tx, id ledger.OrderID) (ledger.Order, error) {
	if err := a.live(tx); err != nil {
		return ledger.Order{}, err
	}
	o, err := ledger.FindOrder(tx, id)
	if err != nil {
		return o, err
	}
	ok, err := a.seesOrder(tx, &o)
	if err == nil && !ok {
		return ledger.Order{}, ledger.ErrNotFound
	}
	return o, err
}

// seesOrder is sees for an order.
func (a *asker) seesOrder(tx ledger.Tx, o *ledger.Order) (bool, error) {
	if o.Tenant != a.Tenant || a.Modules == nil {
		return o.Tenant == a.Tenant, nil
	}
	spec, err := ledger.FindOrderSpec(tx, o.ID)
	return err == nil && a.module(spec.Module) == nil, err
}

func (s *server) setOrder(ctx context.Context, q *jobPath, state ledger.OrderState) (*answer[api.Submitted], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	var o ledger.Order
	if _, err := s.read(ctx, At{}, func(tx ledger.Tx) (err error) {
		o, err = who(ctx).order(tx, ledger.OrderID(id))
		return err
	}); err != nil {
		return nil, err
	}
	index, err := s.do(ctx, &ledger.SetOrderState{Order: o.ID, State: state})
	if err != nil {
		return nil, err
	}
	return &answer[api.Submitted]{api.Submitted{ID: q.ID, Index: index, Kind: o.Kind.String()}}, nil
}

// readOrder puts an order together from its records.
func readOrder(tx ledger.Tx, o *ledger.Order) (api.Order, error) {
	spec, err := ledger.FindOrderSpec(tx, o.ID)
	if err != nil {
		return api.Order{}, err
	}
	out := api.Order{
		ID: o.ID.String(), Name: o.Name, Tenant: string(o.Tenant), Kind: o.Kind.String(), Module: module(spec.Module), Count: spec.Count,
		State: o.State.String(), Labels: labels(&spec), Schedule: o.Schedule, Timezone: o.Zone, Created: *when(o.Created), Changed: *when(o.Changed), Open: o.Open,
		Made: o.Made, Succeeded: o.Succeeded, Failed: o.Failed, Killed: o.Killed, Skipped: o.Skipped, Refused: o.Refused, Missed: o.Missed,
	}
	if o.Kind == ledger.OrderCron {
		out.Overlap, out.CatchUp = o.Overlap.String(), o.CatchUp.String()
	}
	if next := coming(o, time.Now(), 1); len(next) > 0 {
		out.Next = &next[0]
	}
	for _, r := range o.Runs {
		run := api.Run{At: *when(r.At), Result: r.Code.String(), State: r.State.String(), Ended: when(r.Ended)}
		if r.Code != ledger.CodeOK {
			run.State = ""
		} else if run.Job = r.Job.String(); r.Ended == 0 {
			j, err := ledger.FindJob(tx, r.Job)
			if err != nil {
				return out, err
			}
			run.State = j.State.String()
		}
		out.Runs = append(out.Runs, run)
	}
	return out, nil
}

// coming returns the next times of an order behind now; none for one that makes no jobs
// by the clock.
func coming(o *ledger.Order, now time.Time, count int) (list []time.Time) {
	if o.Kind != ledger.OrderCron || o.State != ledger.OrderActive {
		return nil
	}
	schedule, err := calendar.Parse(o.Schedule)
	if err != nil {
		return nil // It is of a later version.
	}
	zone, err := calendar.Zone(o.Zone)
	if err != nil {
		return nil
	}
	for at := schedule.Next(now, zone); !at.IsZero() && len(list) < count; at = schedule.Next(at, zone) {
		list = append(list, at.UTC())
	}
	return list
}

// seats lists the places of a daemon, as many as a page has.
func seats(tx ledger.Tx, id ledger.OrderID) (out []api.Seat, err error) {
	list, err := ledger.Seats(tx, id, "", api.PageMax)
	for _, s := range list {
		seat := api.Seat{Node: string(s.Node), Open: s.Open, Jobs: s.Number, Since: when(s.Began), NotBefore: when(s.NotBefore)}
		if s.Job != (ledger.JobID{}) {
			seat.Job = s.Job.String()
		}
		out = append(out, seat)
	}
	return out, err
}

// whyOrder says when an order runs next, and what spoke against its last run.
func (s *server) whyOrder(ctx context.Context, q *orderPath) (*answer[api.Why], error) {
	id, err := parseJob(q.ID)
	if err != nil {
		return nil, err
	}
	out := api.Why{Job: q.ID}
	_, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		o, err := who(ctx).order(tx, ledger.OrderID(id))
		if err == nil {
			out.State, out.Text = o.State.String(), explainOrder(&o, time.Now())
		}
		if err == nil && o.Kind == ledger.OrderDaemon && o.State == ledger.OrderActive {
			out.FreeAt, err = resting(tx, o.ID)
		}
		return err
	})
	return &answer[api.Why]{out}, err
}

// resting returns when the first of a daemon's nodes without a job gets one again; nil
// when each has one.
func resting(tx ledger.Tx, id ledger.OrderID) (first *time.Time, err error) {
	list, err := ledger.Seats(tx, id, "", api.PageMax)
	for _, s := range list {
		if at := when(s.NotBefore); !s.Open && (first == nil || at.Before(*first)) {
			first = at
		}
	}
	return first, err
}

func explainOrder(o *ledger.Order, now time.Time) (text string) {
	switch {
	case o.State == ledger.OrderEnded:
		return "the order has ended: it makes no jobs any more"
	case o.State == ledger.OrderPaused:
		return "the order is paused: resume it to have it make jobs again"
	case o.Kind == ledger.OrderDaemon:
		text = fmt.Sprintf("it makes a job for each node that meets its constraints: %d have one; a job that has ended is made again after a wait", o.Open)
	default:
		text = "this node cannot read its schedule or its time zone"
		if next := coming(o, now, 1); len(next) > 0 {
			text = "the next run is at " + next[0].Format(time.RFC3339)
		}
	}
	if o.Open > 0 && o.Kind == ledger.OrderCron {
		text += fmt.Sprintf("; %d of its jobs have not ended", o.Open)
	}
	if n := len(o.Runs); n > 0 && o.Runs[n-1].Code != ledger.CodeOK {
		r := o.Runs[n-1]
		text += fmt.Sprintf("; the run of %s made no job (%s): %s", r.At, r.Code, r.Code.Help())
	}
	return text
}
