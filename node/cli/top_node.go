package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/dugnad/dugnad/node/control"
)

// nodeSource looks at the node on this machine.
type nodeSource struct {
	client *control.Client
	last   *control.Activity
}

// nodeSample is what a node does, and Rates since the look before, nil without one.
type nodeSample struct {
	control.Activity
	Rates *nodeRates `json:"rates,omitempty"`
}

// nodeRates are per second. Fuel, and that of jobs by their ids, is about: the
// processor time of the tenants' workers by what a core burns. Workers are the cores
// that each keeps busy, by its process.
type nodeRates struct {
	Seconds  float64            `json:"seconds"`
	Cores    float64            `json:"cores"`
	Fuel     float64            `json:"fuel"`
	Received float64            `json:"received_bytes"`
	Sent     float64            `json:"sent_bytes"`
	Jobs     map[string]float64 `json:"jobs"`
	Workers  map[int]float64    `json:"workers"`
}

func (s *nodeSource) look(ctx context.Context) (topSample, error) {
	is, err := s.client.Activity(ctx)
	if err != nil {
		return nil, err
	}
	out := &nodeSample{Activity: is}
	if s.last != nil && is.At.After(s.last.At) {
		out.Rates = ratesOf(s.last, &is)
	}
	s.last = &is
	return out, nil
}

// ratesOf compares two looks at a node.
func ratesOf(was, is *control.Activity) *nodeRates {
	r := &nodeRates{Seconds: is.At.Sub(was.At).Seconds(), Jobs: map[string]float64{}, Workers: map[int]float64{}}
	// What has begun anew between the two counts from nothing.
	since := func(was, is float64) float64 {
		if is < was {
			was = 0
		}
		return (is - was) / r.Seconds
	}
	r.Received = since(float64(was.ReceivedBytes), float64(is.ReceivedBytes))
	r.Sent = since(float64(was.SentBytes), float64(is.SentBytes))
	before := map[int]float64{}
	for _, w := range was.Workers {
		before[w.PID] = w.CPUSeconds
	}
	cores, shares := map[string]float64{}, map[string]float64{}
	for _, w := range is.Workers {
		busy := since(before[w.PID], w.CPUSeconds)
		r.Workers[w.PID] = busy
		r.Cores += busy
		cores[w.Tenant] += busy
	}
	r.Fuel = r.Cores * float64(is.CoreFuelRate)
	for i := range is.Jobs {
		shares[is.Jobs[i].Tenant] += jobShare(&is.Jobs[i])
	}
	for i := range is.Jobs {
		j := &is.Jobs[i]
		if all := shares[j.Tenant]; all > 0 {
			r.Jobs[j.Job] = cores[j.Tenant] * jobShare(j) / all * float64(is.CoreFuelRate)
		}
	}
	return r
}

// jobShare is the part of its tenant's worker that a job is taken to use.
func jobShare(j *control.JobActivity) float64 { return float64(j.Running) * float64(j.Slots) }

func (s *nodeSample) page(now time.Time) *topPage {
	return &topPage{facts: s.facts(now), tables: []topTable{s.jobs(now), s.queues(now), s.workers()}}
}

func (s *nodeSample) facts(now time.Time) []string {
	name := shortID(s.Node)
	if s.Name != "" {
		name = s.Name + " " + name
	}
	leader := shortID(s.Leader)
	switch s.Leader {
	case "":
		leader = "none"
	case s.Node:
		leader = "this node"
	}
	facts := []string{
		"node " + name, "state " + stateText(s.State, s.Until, now), "leader " + leader,
		fmt.Sprintf("members %d/%d connected", s.Connected, s.Members),
	}
	if s.Slots > 0 {
		var resident uint64
		for _, w := range s.Workers {
			resident += w.MemoryBytes
		}
		facts = append(facts, fmt.Sprintf("slots %d/%d", s.SlotsUsed, s.Slots), "fuel "+s.fuel(), "memory "+partBytes(resident, s.MemoryBytes))
	}
	facts = append(facts, "disk "+partBytes(s.DiskBytesUsed, s.DiskBytes))
	if r := s.Rates; r != nil {
		facts = append(facts, fmt.Sprintf("in %s/s", smallBytes(r.Received)), fmt.Sprintf("out %s/s", smallBytes(r.Sent)))
	}
	return facts
}

// fuel says what is burnt of what is given.
func (s *nodeSample) fuel() string {
	now := "-"
	if s.Rates != nil {
		now = fuelAmount(uint64(s.Rates.Fuel))
	}
	if s.FuelRate == 0 {
		return "rate is not known yet"
	}
	return fmt.Sprintf("about %s of %s/s", now, fuelAmount(s.FuelRate))
}

// stateText says what a node's state is, and until when.
func stateText(state string, until *time.Time, now time.Time) string {
	switch {
	case state == "":
		return "runs no tasks"
	case until == nil:
		return state
	case until.After(now):
		return state + " for " + roughly(until.Sub(now))
	}
	return state + ", time is up"
}

// smallBytes gives an amount of bytes in the unit that fits.
func smallBytes(n float64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%.0f B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", n/(1<<10))
	}
	return roundBytes(uint64(n))
}

func (s *nodeSample) jobs(now time.Time) topTable {
	t := topTable{
		columns: []topColumn{
			{title: "JOB"},
			{title: "NAME", flex: true, drop: 1},
			{title: "TENANT", flex: true, drop: 2},
			{title: "RUN", right: true},
			{title: "LEFT", right: true, drop: 6},
			{title: "ENDED", right: true, drop: 7},
			{title: "FUEL/S", right: true},
			{title: "MEM MAX", right: true, drop: 4},
			{title: "TIME", right: true, drop: 3},
		},
		none: "no task runs here", sort: 6,
	}
	for i := range s.Jobs {
		j := &s.Jobs[i]
		fuel := topCell{text: "-"}
		if s.Rates != nil {
			rate := s.Rates.Jobs[j.Job]
			fuel = topNumber(rate, fuelAmount(uint64(rate)))
		}
		memory := j.MemoryBytes * uint64(j.Running)
		age := now.Sub(j.Since)
		t.rows = append(t.rows, []topCell{
			{text: shortID(j.Job)},
			{text: orDash(j.Name)},
			{text: j.Tenant},
			topCount(j.Running), topCount(j.Left),
			topCount(j.Ended), fuel, topNumber(memory, roundBytes(memory)),
			topAge(age),
		})
	}
	return t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// topQueue is what waits of a tenant in a band.
type topQueue struct {
	tenant string
	band   uint8
	jobs   int
	tasks  uint64
	more   bool
	oldest time.Duration
}

func queueTable() topTable {
	return topTable{
		columns: []topColumn{
			{title: "QUEUE OF", flex: true},
			{title: "PRIORITY", right: true, drop: 2},
			{title: "JOBS", right: true},
			{title: "TASKS", right: true, drop: 1},
			{title: "OLDEST", right: true},
		},
		none: "nothing waits in the grid", sort: 4,
	}
}

func (q *topQueue) row() []topCell {
	more := ""
	if q.more {
		more = "+"
	}
	return []topCell{
		{text: q.tenant},
		topNumber(uint64(q.band), strconv.Itoa(int(q.band))), topNumber(q.jobs, strconv.Itoa(q.jobs)+more),
		topNumber(q.tasks, strconv.FormatUint(q.tasks, 10)+more), topAge(q.oldest),
	}
}

func (s *nodeSample) queues(now time.Time) topTable {
	t := queueTable()
	for _, q := range s.Queues {
		sum := topQueue{tenant: q.Tenant, band: q.Band, jobs: q.Jobs, tasks: q.Tasks, more: q.More, oldest: now.Sub(q.Oldest)}
		t.rows = append(t.rows, sum.row())
	}
	return t
}

func (s *nodeSample) workers() topTable {
	t := topTable{
		columns: []topColumn{
			{title: "WORKER"},
			{title: "TENANT", flex: true},
			{title: "SERIES", right: true, drop: 2},
			{title: "CPU", right: true},
			{title: "MEMORY", right: true},
		},
		none: "no worker process is up", sort: 3,
	}
	for _, w := range s.Workers {
		cpu := topCell{text: "-"}
		if s.Rates != nil {
			busy := s.Rates.Workers[w.PID]
			cpu = topNumber(busy, fmt.Sprintf("%.0f%%", busy*100))
		}
		t.rows = append(t.rows, []topCell{
			{text: strconv.Itoa(w.PID)},
			{text: w.Tenant},
			topCount(w.Tasks), cpu,
			topNumber(w.MemoryBytes, roundBytes(w.MemoryBytes)),
		})
	}
	return t
}
