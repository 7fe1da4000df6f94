package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

const (
	// awaitEvery is how often a terminal shows how a job goes, awaitPlainEvery the
	// same for a pipe or a file, which get lines.
	awaitEvery      = 500 * time.Millisecond
	awaitPlainEvery = 10 * time.Second
	// paceSpan is the time over which the rate is measured.
	paceSpan = 30 * time.Second
	barCells = 30
)

// await waits for a job and shows how it goes meanwhile.
type await struct {
	client   *client.Client
	id       string
	w        io.Writer
	terminal bool
	// plain says that lines are wanted where there is no terminal.
	plain bool
	// ticks replaces the clock in tests.
	ticks <-chan time.Time

	pace  pace
	shown string
}

func (a *app) await(c *client.Client, id string, plain bool) *await {
	return &await{client: c, id: id, w: a.Err, terminal: isTerminal(a.Err, a.Environ), plain: plain}
}

// run returns the job when it has ended, or ctx ends.
func (p *await) run(ctx context.Context, f client.Fresh) (api.Job, error) {
	type end struct {
		job api.Job
		err error
	}
	ended := make(chan end, 1)
	go func() {
		j, err := p.client.Wait(ctx, p.id, f)
		ended <- end{j, err}
	}()
	ticks, stop := p.clock()
	defer stop()
	for {
		select {
		case e := <-ended:
			p.clear()
			return e.job, e.err
		case now := <-ticks:
			// What is wrong is told by Wait.
			if j, err := p.client.Job(ctx, p.id, f); err == nil {
				p.show(&j, now)
			}
		}
	}
}

// clock returns when to look, which is never when nobody wants to see it.
func (p *await) clock() (ticks <-chan time.Time, stop func()) {
	switch {
	case p.ticks != nil:
		return p.ticks, func() {}
	case p.terminal:
		t := time.NewTicker(awaitEvery)
		return t.C, t.Stop
	case p.plain:
		t := time.NewTicker(awaitPlainEvery)
		return t.C, t.Stop
	}
	return nil, func() {}
}

func (p *await) show(j *api.Job, now time.Time) {
	rate := p.pace.add(now, j.Tasks.Ended())
	switch text := awaitText(j, p.terminal, rate); {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.shown = text
	case text != p.shown:
		fmt.Fprintln(p.w, text)
		p.shown = text
	}
}

func (p *await) clear() {
	if p.terminal && p.shown != "" {
		fmt.Fprint(p.w, clearLine)
	}
}

// awaitText says in a line how far a job is; rate is in tasks per second.
func awaitText(j *api.Job, bar bool, rate float64) string {
	var b strings.Builder
	ended := j.Tasks.Ended()
	fmt.Fprintf(&b, "dugnad: job %s: ", j.ID)
	if bar {
		full := int(uint64(barCells) * uint64(ended) / uint64(max(j.Count, 1)))
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", full), strings.Repeat("-", barCells-full))
	}
	fmt.Fprintf(&b, "%d of %s", ended, plural(uint64(j.Count), "task"))
	if bad := ended - j.Tasks.Succeeded; bad > 0 {
		fmt.Fprintf(&b, ", %d not well", bad)
	}
	switch busy := j.Tasks.Running + j.Tasks.Leased; {
	case j.State == api.JobWaiting:
		b.WriteString(", waiting for other jobs")
	case busy == 0 && j.Tasks.Queued > 0:
		fmt.Fprintf(&b, ", %d queued: see dugnad job why", j.Tasks.Queued)
	case busy > 0:
		fmt.Fprintf(&b, ", %d running", busy)
	}
	if rate > 0 && ended < j.Count {
		left := time.Duration(float64(j.Count-ended) / rate * float64(time.Second))
		fmt.Fprintf(&b, ", %.3g/s, about %s left", rate, roughly(left+time.Second))
	}
	return b.String()
}

// pace measures how many tasks end per second.
type pace struct{ seen []sample }

type sample struct {
	at    time.Time
	ended uint32
}

// add notes how many have ended by now, and returns the rate; 0 is not known.
func (p *pace) add(now time.Time, ended uint32) float64 {
	p.seen = append(p.seen, sample{now, ended})
	for len(p.seen) > 2 && now.Sub(p.seen[0].at) > paceSpan {
		p.seen = p.seen[1:]
	}
	first := p.seen[0]
	if span := now.Sub(first.at); span > 0 && ended > first.ended {
		return float64(ended-first.ended) / span.Seconds()
	}
	return 0
}
