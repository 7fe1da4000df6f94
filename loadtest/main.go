// Command loadtest drives a grid that runs, through its public interface alone,
// and prints what it has measured as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// config is what the flags say.
type config struct {
	url, module, scenario string
	count, concurrency    int
	tasks, rate           int
	submissions           int
	timeout, span, rest   time.Duration
	outputs               bool
	pids                  []int
}

// The scenarios.
const (
	scenarioRun   = "run"
	scenarioJobs  = "jobs"
	scenarioArray = "array"
	scenarioIdle  = "idle"
	scenarioFlood = "flood"
)

// Exit codes beside 0: a scenario in which something failed, and flags that make no
// sense.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := start(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// start does what the arguments say and returns the exit code.
func start(ctx context.Context, args []string, out, errOut io.Writer) int {
	c, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errOut, "loadtest:", err)
		return exitUsage
	}
	if err := run(ctx, c, out, errOut); err != nil {
		fmt.Fprintln(errOut, "loadtest:", err)
		return exitFailed
	}
	return 0
}

// parse reads the flags; help goes to errOut.
func parse(args []string, errOut io.Writer) (c config, err error) {
	f := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	f.Usage = func() {} // the error says enough; -help comes below
	f.SetOutput(io.Discard)
	f.StringVar(&c.url, "api", "http://127.0.0.1:4611", "address of a node's API")
	f.StringVar(&c.module, "module", "", "WebAssembly `file` to run")
	f.StringVar(&c.scenario, "scenario", scenarioRun, "run: one job after another, from submission to output; jobs: jobs of one task, several at a time; array: one job of many tasks; idle: nothing for -span, with -pids; flood: run, half of it while the tenant of the token in "+environFlood+" submits all that it can, or -submissions")
	f.IntVar(&c.count, "count", 200, "jobs, or tasks of the array")
	f.IntVar(&c.concurrency, "concurrency", 10, "jobs at the same time; of a flood, submissions")
	f.IntVar(&c.rate, "rate", 0, "submissions per second of a flood, at most; 0 is all that it can")
	f.IntVar(&c.submissions, "submissions", 0, "submissions of a flood: jobs are run until they were made, also more than half of -count; 0 floods as long as that half takes")
	f.IntVar(&c.tasks, "tasks", 1, "tasks of each job of a flood")
	f.DurationVar(&c.timeout, "timeout", 10*time.Minute, "bound of the whole scenario")
	f.DurationVar(&c.rest, "rest", 0, "time without a job after each one of a run or a flood")
	f.DurationVar(&c.span, "span", time.Minute, "how long the scenario idle takes")
	f.BoolVar(&c.outputs, "outputs", false, "after an array, read what all tasks wrote to stdout")
	pids := f.String("pids", "", "processes to measure meanwhile: their `ids`, with commas between (Linux)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(errOut)
			f.PrintDefaults()
		}
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("%q is no flag: the flags are in -help", f.Arg(0))
	}
	if c.pids, err = parsePIDs(*pids); err != nil {
		return c, err
	}
	return c, c.validate()
}

// validate returns the first flag that cannot be used.
func (c *config) validate() error {
	all := []string{scenarioRun, scenarioJobs, scenarioArray, scenarioIdle, scenarioFlood}
	switch idle := c.scenario == scenarioIdle; {
	case !slices.Contains(all, c.scenario):
		return fmt.Errorf("-scenario: there is no %q, only %s", c.scenario, strings.Join(all, ", "))
	case !idle && c.module == "":
		return fmt.Errorf("-module: scenario %s needs a WebAssembly file to run", c.scenario)
	case idle && len(c.pids) == 0:
		return errors.New("-pids: scenario idle needs the processes to measure")
	case c.count < 1:
		return fmt.Errorf("-count: %d, from 1", c.count)
	case c.concurrency < 1:
		return fmt.Errorf("-concurrency: %d, from 1", c.concurrency)
	case c.rate < 0:
		return fmt.Errorf("-rate: %d, from 0", c.rate)
	case c.submissions < 0:
		return fmt.Errorf("-submissions: %d, from 0", c.submissions)
	case c.submissions > 0 && c.scenario != scenarioFlood:
		return fmt.Errorf("-submissions: scenario %s has none, only %s", c.scenario, scenarioFlood)
	case c.tasks < 1:
		return fmt.Errorf("-tasks: %d, from 1", c.tasks)
	case c.scenario == scenarioFlood && os.Getenv(environFlood) == "":
		return fmt.Errorf("%s: scenario %s needs the token of another tenant", environFlood, c.scenario)
	case c.scenario == scenarioFlood && c.count < 2:
		return fmt.Errorf("-count: %d, from 2: half of them are before the flood", c.count)
	case c.timeout <= 0:
		return fmt.Errorf("-timeout: %v, more than 0", c.timeout)
	case c.span <= 0:
		return fmt.Errorf("-span: %v, more than 0", c.span)
	case c.rest < 0:
		return fmt.Errorf("-rest: %v, from 0", c.rest)
	case c.outputs && c.scenario != scenarioArray:
		return fmt.Errorf("-outputs: scenario %s has none that are read in the end, only %s", c.scenario, scenarioArray)
	}
	return nil
}

// run plays a scenario and prints what was measured, also when something failed.
func run(ctx context.Context, c config, out, errOut io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	d, err := open(ctx, c, errOut)
	if err != nil {
		return err
	}
	defer d.close()
	r := report{Scenario: c.scenario, Count: c.count}
	if r.Processes, err = watch(c.pids); err != nil {
		return err
	}
	begin := time.Now()
	err = d.play(ctx, &r)
	took := time.Since(begin)
	for i := range r.Processes {
		err = errors.Join(err, r.Processes[i].end(took))
	}
	r.finish(d, took)
	if c.outputs && err == nil {
		r.OutputBytes, r.OutputSHA256, err = d.readOutputs(ctx)
	}
	return errors.Join(r.write(out), err)
}
