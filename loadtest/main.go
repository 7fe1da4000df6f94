// Command loadtest drives a grid that runs, through its public interface alone,
// and prints what it has measured as JSON.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// config is what the flags say.
type config struct {
	url, module, scenario string
	count, concurrency    int
	timeout, span         time.Duration
	outputs               bool
	pids                  []int
}

func main() {
	var c config
	flag.StringVar(&c.url, "api", "http://127.0.0.1:4611", "address of a node's API")
	flag.StringVar(&c.module, "module", "", "WebAssembly file to run")
	flag.StringVar(&c.scenario, "scenario", "run", "run: one job after another, from submission to output; jobs: jobs of one task, several at a time; array: one job of many tasks; idle: nothing for -span, with -pids")
	flag.IntVar(&c.count, "count", 200, "jobs, or tasks of the array")
	flag.IntVar(&c.concurrency, "concurrency", 10, "jobs at the same time")
	flag.DurationVar(&c.timeout, "timeout", 10*time.Minute, "bound of the whole scenario")
	flag.DurationVar(&c.span, "span", time.Minute, "how long the scenario idle takes")
	flag.BoolVar(&c.outputs, "outputs", false, "after an array, read what all tasks wrote to stdout")
	pids := flag.String("pids", "", "processes to measure meanwhile: their ids, with commas between (Linux)")
	flag.Parse()
	var err error
	if c.pids, err = parsePIDs(*pids); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

// report is what a scenario has measured; times are in milliseconds.
type report struct {
	Scenario    string  `json:"scenario"`
	Count       int     `json:"count"`
	Concurrency int     `json:"concurrency,omitempty"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
	P50         float64 `json:"p50_ms,omitempty"`
	P90         float64 `json:"p90_ms,omitempty"`
	P99         float64 `json:"p99_ms,omitempty"`
	Max         float64 `json:"max_ms,omitempty"`
	Failed      int64   `json:"failed"`
	// OutputBytes is what the tasks of an array wrote, OutputSHA256 the digest of
	// all of it in the order of the tasks.
	OutputBytes  int64     `json:"output_bytes,omitempty"`
	OutputSHA256 string    `json:"output_sha256,omitempty"`
	Processes    []process `json:"processes,omitempty"`
}

var errScenario = errors.New("there is no such scenario")

func run(ctx context.Context, c config, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r := report{Scenario: c.scenario, Count: c.count}
	d, err := open(ctx, c)
	if err != nil {
		return err
	}
	defer d.close()
	if r.Processes, err = watch(c.pids); err != nil {
		return err
	}
	begin := time.Now()
	if err := d.play(ctx, &r); err != nil {
		return err
	}
	took := time.Since(begin)
	r.Seconds, r.Failed = took.Seconds(), d.failed.Load()
	r.PerSecond = float64(r.Count) / r.Seconds
	r.quantiles(d.took)
	for i := range r.Processes {
		if err := r.Processes[i].end(took); err != nil {
			return err
		}
	}
	if c.outputs && c.scenario == "array" {
		if r.OutputBytes, r.OutputSHA256, err = d.readOutputs(ctx); err != nil {
			return err
		}
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return err
	}
	if r.Failed > 0 {
		return fmt.Errorf("%d of %d failed", r.Failed, c.count)
	}
	return nil
}

// open connects to the node and pushes the module, if the scenario needs one.
func open(ctx context.Context, c config) (*driver, error) {
	d := &driver{config: c}
	if c.scenario == "idle" {
		return d, nil
	}
	module, err := os.ReadFile(c.module)
	if err != nil {
		return nil, err
	}
	if d.node, err = client.Open(client.Config{URL: c.url}); err != nil {
		return nil, err
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
	case "run":
		d.concurrency = 1
		return d.jobs(ctx, true)
	case "jobs":
		r.Concurrency = d.concurrency
		return d.jobs(ctx, false)
	case "array":
		return d.array(ctx)
	case "idle":
		r.Count = 0
		return idle(ctx, d.span)
	}
	return fmt.Errorf("%w: %s", errScenario, d.scenario)
}

func (r *report) quantiles(took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(int(q*float64(len(took))), len(took)-1)].Microseconds()) / 1000
	}
	r.P50, r.P90, r.P99, r.Max = at(0.5), at(0.9), at(0.99), at(1)
}

// driver submits jobs and waits for them.
type driver struct {
	config
	node   *client.Client
	module string
	// id is that of the array.
	id     string
	failed atomic.Int64

	mu   sync.Mutex
	took []time.Duration
}

// jobs submits jobs of one task each, some at a time, and waits for each; with
// output it reads that, too.
func (d *driver) jobs(ctx context.Context, output bool) error {
	next := make(chan int)
	var running sync.WaitGroup
	var first atomic.Pointer[error]
	for range d.concurrency {
		running.Go(func() {
			for range next {
				if err := d.job(ctx, output); err != nil {
					d.failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	for i := range d.count {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	running.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

func (d *driver) job(ctx context.Context, output bool) error {
	begin := time.Now()
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
	if output {
		body, err := d.node.Output(ctx, s.ID, 0, "stdout")
		if err != nil {
			return fmt.Errorf("read output: %w", err)
		}
		_, err = io.Copy(io.Discard, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("read output: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.took = append(d.took, time.Since(begin))
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
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	done := make(chan error, 1)
	var j api.Job
	go func() {
		var err error
		j, err = d.node.Wait(ctx, s.ID, client.Fresh{Index: s.Index})
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err == nil && (j.State != api.JobSucceeded || j.Tasks.Succeeded != uint32(d.count)) {
				err = fmt.Errorf("job %s is %s, with %+v", j.ID, j.State, j.Tasks)
			}
			return err
		case <-ticker.C:
			if now, err := d.node.Job(ctx, s.ID, client.Fresh{}); err == nil {
				fmt.Fprintf(os.Stderr, "%d of %d tasks have ended\n", now.Tasks.Ended(), now.Count)
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
