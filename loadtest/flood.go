package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// environFlood has the token of the tenant that floods.
const environFlood = "LOADTEST_FLOOD_TOKEN"

// floodPatience is how long a flooding client repeats a call: hardly, as it has others.
const floodPatience = time.Millisecond

// floodReport is what the tenant that floods has done.
type floodReport struct {
	// Submitted are the submissions, Accepted those that the grid has taken; Refused
	// counts the others by the problem's code.
	Submitted int            `json:"submitted"`
	Accepted  int            `json:"accepted"`
	Refused   map[string]int `json:"refused"`
	// Lost counts those of which no answer came.
	Lost    int     `json:"lost"`
	Seconds float64 `json:"seconds"`
}

// latency is how long jobs have taken, in milliseconds.
type latency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func latencyOf(took []time.Duration) latency {
	slices.Sort(took)
	return latency{quantile(took, 50), quantile(took, 90), quantile(took, 99), quantile(took, 100)}
}

// flood runs jobs one after another, half of them alone and half, or more, while another
// tenant submits as many as it can or as it is told to, heeding no refusal.
func (d *driver) flood(ctx context.Context, r *report) error {
	c, err := client.Open(client.Config{URL: d.url, Token: os.Getenv(environFlood), Patience: floodPatience})
	if err != nil {
		return fmt.Errorf("%s: %w", environFlood, err)
	}
	defer c.Close()
	whole := d.count
	d.concurrency, d.count = 1, whole/2
	if err := d.jobs(ctx, true); err != nil {
		return fmt.Errorf("before the flood: %w", err)
	}
	before := latencyOf(d.took)
	d.took, d.count = nil, whole-whole/2
	f := &flooder{client: c, file: fmt.Appendf(nil, "module: %s\ncount: %d\n", d.module, d.tasks), refused: map[string]int{}, most: d.submissions}
	began := time.Now()
	err = d.under(ctx, f, r.Concurrency)
	r.Count, d.count = whole+d.beyond, whole
	r.Before, r.Flood = &before, f.report(time.Since(began))
	if before.P99 > 0 {
		r.Ratio = latencyOf(slices.Clone(d.took)).P99 / before.P99
	}
	return err
}

// under runs jobs while a flooder submits so many at a time.
func (d *driver) under(ctx context.Context, f *flooder, concurrency int) error {
	if d.rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(d.rate))
		defer ticker.Stop()
		f.turn = ticker.C
	}
	flooding, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		f.play(flooding, concurrency)
	}()
	if d.submissions > 0 {
		d.until = over
	}
	err := d.jobs(ctx, true)
	stop()
	<-over
	return err
}

// flooder submits jobs until it is told to stop.
type flooder struct {
	client *client.Client
	file   []byte
	// turn has an element for each submission; nil is for all that can be made.
	turn <-chan time.Time
	// most is how many submissions there are; 0 is no bound.
	most int

	mu             sync.Mutex
	begun          int
	accepted, lost int
	refused        map[string]int
}

// play submits jobs, so many at a time, until it is told to stop or has made all.
func (f *flooder) play(ctx context.Context, concurrency int) {
	var running sync.WaitGroup
	for range concurrency {
		running.Go(func() { f.run(ctx) })
	}
	running.Wait()
}

func (f *flooder) run(ctx context.Context) {
	for f.begins() && f.waits(ctx) {
		_, err := f.client.Submit(ctx, f.file, "")
		if ctx.Err() == nil {
			f.note(err)
		}
	}
}

// begins reports whether one more submission is to be made.
func (f *flooder) begins() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	return f.most == 0 || f.begun <= f.most
}

// waits waits for the next submission, and reports whether there is one.
func (f *flooder) waits(ctx context.Context) bool {
	if f.turn == nil {
		return ctx.Err() == nil
	}
	select {
	case <-f.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *flooder) note(err error) {
	var p *api.Problem
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.accepted++
	case errors.As(err, &p):
		f.refused[string(p.Code)]++
	default:
		f.lost++
	}
}

func (f *flooder) report(took time.Duration) *floodReport {
	r := &floodReport{Accepted: f.accepted, Refused: f.refused, Lost: f.lost, Seconds: took.Seconds()}
	r.Submitted = r.Accepted + r.Lost
	for n := range maps.Values(f.refused) {
		r.Submitted += n
	}
	return r
}
