package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/certificate"
	"github.com/dugnad/dugnad/node/client"
)

// tellInterval is the time between two lines about how an array goes.
const tellInterval = 5 * time.Second

// driver submits jobs and waits for them.
type driver struct {
	config
	node   *client.Client
	errOut io.Writer
	module string
	// id is that of the array.
	id string
	// until, when it is not nil, has jobs run on until it is closed; beyond counts those
	// that were begun for that.
	until  <-chan struct{}
	beyond int

	mu sync.Mutex
	// succeeded counts the jobs, or tasks of the array, that have.
	succeeded int
	took      []time.Duration
	// failed counts the jobs that have not succeeded, first is why the first one
	// has not.
	failed int
	first  error
}

// open connects to the node and pushes the module, if the scenario needs one.
func open(ctx context.Context, c config, errOut io.Writer) (*driver, error) {
	d := &driver{config: c, errOut: errOut}
	if c.scenario == scenarioIdle {
		return d, nil
	}
	module, err := os.ReadFile(c.module)
	if err != nil {
		return nil, fmt.Errorf("-module: %w", err)
	}
	url, pinned, err := certificate.Split(c.url)
	if err != nil {
		return nil, fmt.Errorf("-api: %w", err)
	}
	if d.node, err = client.Open(client.Config{URL: url, TLS: pinned, Token: os.Getenv("DUGNAD_TOKEN")}); err != nil {
		return nil, fmt.Errorf("-api: %w", err)
	}
	m, err := d.node.PushModule(ctx, bytes.NewReader(module))
	if err != nil {
		d.close()
		return nil, fmt.Errorf("push module: %w", err)
	}
	d.module = m.Module
	return d, nil
}

func (d *driver) close() {
	if d.node != nil {
		d.node.Close()
	}
}

// play plays the scenario.
func (d *driver) play(ctx context.Context, r *report) error {
	switch d.scenario {
	case scenarioRun:
		d.concurrency = 1
		return d.jobs(ctx, true)
	case scenarioJobs:
		r.Concurrency = d.concurrency
		return d.jobs(ctx, false)
	case scenarioArray:
		return d.array(ctx)
	case scenarioFlood:
		r.Concurrency = d.concurrency
		return d.flood(ctx, r)
	default:
		r.Count = 0
		return idle(ctx, d.span)
	}
}

// jobs submits jobs of one task each, some at a time, and waits for each; with
// output it reads that, too. One that fails holds none of the others up.
func (d *driver) jobs(ctx context.Context, output bool) error {
	next := make(chan struct{})
	var running sync.WaitGroup
	for range d.concurrency {
		running.Go(func() {
			for range next {
				begin := time.Now()
				d.note(d.job(ctx, output), time.Since(begin))
				if d.rest > 0 {
					_ = idle(ctx, d.rest) // The end of ctx is told below.
				}
			}
		})
	}
	for i := 0; (i < d.count || d.more()) && ctx.Err() == nil; i++ {
		select {
		case next <- struct{}{}:
			d.beyond = max(d.beyond, i+1-d.count)
		case <-ctx.Done():
		}
	}
	close(next)
	running.Wait()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%d of %d succeeded: %w", d.succeeded, d.count, ctx.Err())
	case d.failed > 0:
		return fmt.Errorf("%d of %d failed, the first one: %w", d.failed, d.count, d.first)
	}
	return nil
}

// more reports whether jobs are to run on beyond those that were counted.
func (d *driver) more() bool {
	if d.until == nil {
		return false
	}
	select {
	case <-d.until:
		return false
	default:
		return true
	}
}

// note takes down how a job went.
func (d *driver) note(err error, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.succeeded++
		d.took = append(d.took, took)
		return
	}
	if d.failed++; d.first == nil {
		d.first = err
	}
}

func (d *driver) job(ctx context.Context, output bool) error {
	s, err := d.node.Submit(ctx, fmt.Appendf(nil, "module: %s\n", d.module), "")
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	j, err := d.node.Wait(ctx, s.ID, client.Fresh{Index: s.Index})
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if j.State != api.JobSucceeded {
		return fmt.Errorf("job %s is %s", j.ID, j.State)
	}
	if !output {
		return nil
	}
	body, err := d.node.Output(ctx, s.ID, 0, "stdout")
	if err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	_, err = io.Copy(io.Discard, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("read output: %w", err)
	}
	return nil
}

// array submits one job of many tasks, says how it goes, and checks that each of
// its tasks is accounted for.
func (d *driver) array(ctx context.Context) error {
	s, err := d.node.Submit(ctx, fmt.Appendf(nil, "module: %s\ncount: %d\n", d.module, d.count), "")
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	d.id = s.ID
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { d.tell(ctx) })
	j, err := d.node.Wait(ctx, s.ID, client.Fresh{Index: s.Index})
	cancel()
	telling.Wait()
	d.succeeded = int(j.Tasks.Succeeded)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if j.State != api.JobSucceeded || d.succeeded != d.count {
		return fmt.Errorf("job %s is %s: of its %d tasks %d have succeeded, %d have failed", j.ID, j.State, d.count, d.succeeded, j.Tasks.Failed)
	}
	return nil
}

// tell says how the array goes until ctx ends.
func (d *driver) tell(ctx context.Context) {
	ticker := time.NewTicker(tellInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now, err := d.node.Job(ctx, d.id, client.Fresh{}); err == nil {
				fmt.Fprintf(d.errOut, "%d of %d tasks have ended\n", now.Tasks.Ended(), now.Count)
			}
		}
	}
}

// readOutputs reads what the array's tasks wrote to stdout.
func (d *driver) readOutputs(ctx context.Context) (n int64, digest string, err error) {
	body, err := d.node.Outputs(ctx, d.id, "stdout", 0, uint32(d.count))
	if err != nil {
		return 0, "", fmt.Errorf("read outputs: %w", err)
	}
	sum := sha256.New()
	n, err = io.Copy(sum, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return 0, "", fmt.Errorf("read outputs: %w", err)
	}
	return n, hex.EncodeToString(sum.Sum(nil)), nil
}
