package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
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
	// barMin and barMax bound the cells of the bar; where there is room for fewer
	// there is none.
	barMin, barMax = 5, 30
	// columnsUnknown is taken for the width of a terminal that does not tell it.
	columnsUnknown = 80
)

// await waits for a job and shows how it goes meanwhile.
type await struct {
	client   *client.Client
	id       string
	w        io.Writer
	terminal bool
	// plain says that lines are wanted where there is no terminal.
	plain bool
	// columns is how wide the terminal is now, 0 for not known.
	columns func() int
	// ticks replaces the clock in tests.
	ticks <-chan time.Time

	pace  pace
	shown string
}

func (a *app) await(c *client.Client, id string, plain bool) *await {
	return &await{
		client: c, id: id, w: a.Err, terminal: isTerminal(a.Err, a.Environ), plain: plain,
		columns: func() int { return columns(a.Err, a.Environ) },
	}
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
	if p.terminal {
		text := awaitBar(j, rate, p.columns())
		fmt.Fprint(p.w, clearLine, text)
		p.shown = text
		return
	}
	if text := fmt.Sprintf("dugnad: job %s: %s", j.ID, awaitText(j, rate)); text != p.shown {
		fmt.Fprintln(p.w, text)
		p.shown = text
	}
}

func (p *await) clear() {
	if p.terminal && p.shown != "" {
		fmt.Fprint(p.w, clearLine)
	}
}

// awaitBar says on a line of a terminal how far a job is, with a bar as wide as there
// is room for.
func awaitBar(j *api.Job, rate float64, columns int) string {
	const frame = len("dugnad: ") + len("[] ")
	text := awaitText(j, rate)
	if columns == 0 {
		columns = columnsUnknown
	}
	// The last columns stay empty: for ^C, and for terminals that go on on the next
	// line behind the last one.
	room := max(columns-len("^C")-1, 0)
	cells := min(room-frame-len(text), barMax)
	if cells < barMin {
		return text[:min(len(text), room)]
	}
	full := int(uint64(cells) * uint64(j.Tasks.Ended()) / uint64(max(j.Count, 1)))
	return fmt.Sprintf("dugnad: [%s%s] %s", strings.Repeat("#", full), strings.Repeat("-", cells-full), text)
}

// awaitText says how far a job is; rate is in tasks per second. It is ASCII.
func awaitText(j *api.Job, rate float64) string {
	var b strings.Builder
	ended := j.Tasks.Ended()
	fmt.Fprintf(&b, "%d of %s", ended, plural(uint64(j.Count), "task"))
	if rate > 0 && ended < j.Count {
		left := time.Duration(float64(j.Count-ended) / rate * float64(time.Second))
		fmt.Fprintf(&b, ", %s/s, about %s left", perSecond(rate), roughly(left+time.Second))
	}
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
	return b.String()
}

// perSecond shows a rate with about two digits.
func perSecond(rate float64) string {
	if rate >= 10 {
		return strconv.FormatFloat(rate, 'f', 0, 64)
	}
	return strconv.FormatFloat(rate, 'g', 2, 64)
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
