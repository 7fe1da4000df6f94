package measure

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/dugnad/dugnad/runtime/meter/bench/report"
)

// Plan is what one process start measures.
type Plan struct {
	// Start numbers the process; it also turns the order of the workloads.
	Start int
	// Rounds is how often Plain and Metered are run in turn, OthersRounds in
	// how many of those rounds the other engines have a turn, too.
	Rounds, OthersRounds int
	// Engines begin with Plain and Metered.
	Engines []Engine
}

// ErrDiffers is wrapped by the errors of Run when a result is not that of the
// first engine.
var ErrDiffers = errors.New("result differs")

// Run measures workloads one after the other. Sample gets each run, note a
// sentence for each engine that does not take a workload.
func (p *Plan) Run(workloads []*Ready, sample func(report.Sample) error, note func(string) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range workloads {
		w := workloads[(i+p.Start*7)%len(workloads)]
		if err := p.one(w, sample, note); err != nil {
			return fmt.Errorf("measure %s: %w", w.Name, err)
		}
	}
	return nil
}

// entry is an engine that has taken the workload.
type entry struct {
	variant string
	job     Job
}

func (p *Plan) one(w *Ready, sample func(report.Sample) error, note func(string) error) (err error) {
	var entries []entry
	defer func() {
		for _, e := range entries {
			err = errors.Join(err, e.job.Close())
		}
	}()
	want := ""
	for i, engine := range p.Engines {
		if engine.Variant() == report.Bare && w.Begin != nil {
			continue // Plain is bare already.
		}
		job, err := engine.Open(w)
		if err == nil {
			entries = append(entries, entry{engine.Variant(), job})
			err = warm(job, i == 0, &want)
		}
		switch {
		case err == nil:
		case i < 2 || errors.Is(err, ErrDiffers):
			return fmt.Errorf("%s: %w", engine.Variant(), err)
		default:
			if err := note(fmt.Sprintf("%s does not run on %s: %.300s.", w.Name, engine.Variant(), err.Error())); err != nil {
				return err
			}
			if job != nil {
				entries = entries[:len(entries)-1]
				if err := job.Close(); err != nil {
					return err
				}
			}
		}
	}
	return p.rounds(w, entries, sample)
}

// warm runs a job once, so that its memory and code are there, and compares
// the result.
func warm(job Job, first bool, want *string) error {
	got, _, err := job.Do()
	if err != nil {
		return err
	}
	if first {
		*want = got
	} else if got != *want {
		return fmt.Errorf("%w: %.200q, not %.200q", ErrDiffers, got, *want)
	}
	return nil
}

// rounds runs the first two engines in turn, the one and the other first, and
// the rest behind them. What is compared lies side by side in time, so that a
// machine that becomes slower for a while slows both.
func (p *Plan) rounds(w *Ready, entries []entry, sample func(report.Sample) error) error {
	for round := range p.Rounds {
		turn := append([]entry(nil), entries...)
		if round%2 == 1 {
			turn[0], turn[1] = turn[1], turn[0]
		}
		if round >= p.OthersRounds {
			turn = turn[:2]
		}
		runtime.GC()
		for _, e := range turn {
			s := report.Sample{Subject: w.Name, Variant: e.variant, Start: p.Start, Round: round}
			var err error
			s.Nanos, err = timed(func() (err error) {
				_, s.Burnt, err = e.job.Do()
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", e.variant, err)
			}
			if err := sample(s); err != nil {
				return err
			}
		}
	}
	return nil
}
