package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// topJobsMax bounds the jobs that are looked at.
const topJobsMax = api.PageMax

// gridSource looks at the grid through a node's API.
type gridSource struct {
	grid
	last *gridSample
}

// gridSample is what the grid does, as its ledger knows it.
type gridSample struct {
	At    time.Time  `json:"at"`
	Nodes []api.Node `json:"nodes"`
	Jobs  []api.Job  `json:"jobs"`
	// More says that there are more jobs than were looked at.
	More bool `json:"more,omitempty"`
	// FuelRates is fuel per second by job, of attempts that have ended since the look
	// before; nil without one.
	FuelRates map[string]float64 `json:"fuel_rates,omitempty"`
}

func (s *gridSource) look(ctx context.Context) (topSample, error) {
	out := &gridSample{At: s.now().UTC()}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := s.client.Jobs(ctx, api.JobActive, client.Page{Limit: topJobsMax})
	if err != nil {
		return nil, err
	}
	out.Nodes, out.Jobs, out.More = nodes.Nodes, jobs.Jobs, jobs.Next != ""
	if s.last != nil {
		out.FuelRates = fuelRates(s.last, out)
	}
	s.last = out
	return out, nil
}

// fuelRates compares two looks.
func fuelRates(was, is *gridSample) map[string]float64 {
	rates, before := map[string]float64{}, map[string]uint64{}
	for i := range was.Jobs {
		before[was.Jobs[i].ID] = was.Jobs[i].Usage.Fuel
	}
	seconds := is.At.Sub(was.At).Seconds()
	for i := range is.Jobs {
		j := &is.Jobs[i]
		if fuel := j.Usage.Fuel; seconds > 0 && fuel > before[j.ID] {
			rates[j.ID] = float64(fuel-before[j.ID]) / seconds
		}
	}
	return rates
}

func (s *gridSample) page(now time.Time) *topPage {
	return &topPage{facts: s.facts(now), tables: []topTable{s.nodes(now), s.running(now), s.waiting(now)}}
}

func (s *gridSample) facts(now time.Time) []string {
	var up int
	var has, taken api.Resources
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.State == "up" || n.State == "draining" {
			has.Slots += n.Capacity.Slots
			has.MemoryBytes += n.Capacity.MemoryBytes
			has.FuelRate += n.Capacity.FuelRate
			taken.Slots += n.Reserved.Slots
			taken.MemoryBytes += n.Reserved.MemoryBytes
		}
		if n.State == "up" {
			up++
		}
	}
	var waiting uint64
	oldest := time.Duration(0)
	for i := range s.Jobs {
		if j := &s.Jobs[i]; j.Tasks.Queued > 0 {
			waiting += uint64(j.Tasks.Queued)
			oldest = max(oldest, now.Sub(queuedAt(j)))
		}
	}
	more := ""
	if s.More {
		more = "+"
	}
	facts := []string{
		fmt.Sprintf("nodes %d/%d up", up, len(s.Nodes)), fmt.Sprintf("slots %d/%d reserved", taken.Slots, has.Slots),
		"memory " + partBytes(taken.MemoryBytes, has.MemoryBytes) + " reserved", "fuel " + s.fuel(has.FuelRate),
		fmt.Sprintf("active jobs %d%s", len(s.Jobs), more), fmt.Sprintf("waiting tasks %d%s", waiting, more),
	}
	if waiting > 0 {
		facts = append(facts, "oldest "+roughly(max(oldest, 0)))
	}
	return facts
}

func (s *gridSample) fuel(has uint64) string {
	if s.FuelRates == nil {
		return fuelAmount(has) + "/s given"
	}
	sum := 0.0
	for _, rate := range s.FuelRates {
		sum += rate
	}
	return fmt.Sprintf("%s of %s/s", fuelAmount(uint64(sum)), fuelAmount(has))
}

// queuedAt is since when a job waits.
func queuedAt(j *api.Job) time.Time {
	if j.Queued != nil {
		return *j.Queued
	}
	return j.Created
}

func (s *gridSample) nodes(now time.Time) topTable {
	t := topTable{
		columns: []topColumn{
			{title: "NODE"},
			{title: "NAME", flex: true, drop: 1},
			{title: "STATE"},
			{title: "SLOTS", right: true},
			{title: "MEMORY", right: true, drop: 4},
			{title: "FUEL/S", right: true, drop: 5},
			{title: "LEASES", right: true, drop: 6},
			{title: "ROLE", drop: 7},
		},
		none: "no node runs tasks", sort: 3,
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		t.rows = append(t.rows, []topCell{
			{text: shortID(n.ID)},
			{text: orDash(n.Name)},
			{text: stateText(n.State, n.Until, now)},
			topNumber(n.Reserved.Slots, fmt.Sprintf("%d/%d", n.Reserved.Slots, n.Capacity.Slots)),
			topNumber(n.Reserved.MemoryBytes, partBytes(n.Reserved.MemoryBytes, n.Capacity.MemoryBytes)),
			topNumber(n.Capacity.FuelRate, fuelAmount(n.Capacity.FuelRate)),
			topCount(n.Leases),
			{text: orDash(nodeRoles(n))},
		})
	}
	return t
}

func (s *gridSample) running(now time.Time) topTable {
	t := topTable{
		columns: []topColumn{
			{title: "JOB"},
			{title: "NAME", flex: true, drop: 1},
			{title: "TENANT", flex: true, drop: 2},
			{title: "RUN", right: true},
			{title: "WAIT", right: true, drop: 4},
			{title: "ENDED", right: true, drop: 6},
			{title: "FUEL/S", right: true},
			{title: "TIME", right: true, drop: 3},
		},
		none: "no job is active", sort: 3,
	}
	for i := range s.Jobs {
		j := &s.Jobs[i]
		fuel := topCell{text: "-"}
		if s.FuelRates != nil {
			fuel = topNumber(s.FuelRates[j.ID], fuelAmount(uint64(s.FuelRates[j.ID])))
		}
		running, age := j.Tasks.Leased+j.Tasks.Running, now.Sub(j.Created)
		t.rows = append(t.rows, []topCell{
			{text: shortID(j.ID)},
			{text: orDash(j.Name)},
			{text: j.Tenant},
			topCount(running), topCount(j.Tasks.Queued),
			topNumber(j.Tasks.Ended(), fmt.Sprintf("%d/%d", j.Tasks.Ended(), j.Count)), fuel, topAge(age),
		})
	}
	return t
}

// waiting sums up the queue by tenant and priority.
func (s *gridSample) waiting(now time.Time) topTable {
	type key struct {
		tenant string
		band   uint8
	}
	sums := map[key]*topQueue{}
	t := queueTable()
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if j.Tasks.Queued == 0 {
			continue
		}
		k := key{j.Tenant, j.Band}
		if sums[k] == nil {
			sums[k] = &topQueue{tenant: j.Tenant, band: j.Band, more: s.More}
		}
		sums[k].jobs++
		sums[k].tasks += uint64(j.Tasks.Queued)
		sums[k].oldest = max(sums[k].oldest, now.Sub(queuedAt(j)))
	}
	for _, q := range sums {
		t.rows = append(t.rows, q.row())
	}
	return t
}
