package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// progressAfter is how long a compile may take before a terminal shows it.
	progressAfter = 300 * time.Millisecond
	// progressPlainAfter is the same for a pipe or a file, which get one line.
	progressPlainAfter = 2 * time.Second
	progressEvery      = 100 * time.Millisecond
)

// progress tells that a module is being compiled for the first time.
type progress struct {
	w        io.Writer
	terminal bool
	name     string
	now      func() time.Time
	// ticks replaces the clock in tests.
	ticks <-chan time.Time

	begin   sync.Once
	stopped chan struct{}
	done    sync.WaitGroup
}

func newProgress(w io.Writer, terminal bool, name string) *progress {
	return &progress{w: w, terminal: terminal, name: name, now: time.Now, stopped: make(chan struct{})}
}

// compiling is called when a compile starts that should take about estimate,
// or an unknown time when that is zero.
func (p *progress) compiling(estimate time.Duration) {
	p.begin.Do(func() {
		start := p.now()
		p.done.Go(func() { p.show(start, estimate) })
	})
}

// stop ends the display and waits for it. It is called once.
func (p *progress) stop() {
	close(p.stopped)
	p.done.Wait()
}

func (p *progress) show(start time.Time, estimate time.Duration) {
	ticks := p.ticks
	if ticks == nil {
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		ticks = t.C
	}
	shown := false
	for {
		select {
		case <-p.stopped:
			if shown && p.terminal {
				fmt.Fprint(p.w, clearLine)
			}
			return
		case now := <-ticks:
			elapsed := now.Sub(start)
			switch {
			case p.terminal && elapsed >= progressAfter:
				fmt.Fprintf(p.w, "\r\x1b[Kdugnad: compiling %s for the first time: %.1f s%s", p.name, elapsed.Seconds(), about(estimate, " of about "))
				shown = true
			case !p.terminal && !shown && elapsed >= progressPlainAfter:
				fmt.Fprintf(p.w, "dugnad: compiling %s for the first time%s\n", p.name, about(estimate, ", which takes about "))
				shown = true
			}
		}
	}
}

// about is prefix and the estimate in whole seconds, or nothing when there is
// no estimate of a second or more.
func about(estimate time.Duration, prefix string) string {
	if estimate < time.Second {
		return ""
	}
	return fmt.Sprintf("%s%.0f s", prefix, estimate.Seconds())
}
