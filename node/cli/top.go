package cli

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/control"
)

const (
	// topInterval is how often dugnad top looks, topIntervalLeast the least that may be
	// asked for.
	topInterval      = time.Second
	topIntervalLeast = 100 * time.Millisecond
	// topTimeout bounds one look.
	topTimeout = 10 * time.Second
)

// topSample is what is seen at a moment.
type topSample interface {
	page(now time.Time) *topPage
}

// topFlags are those of dugnad top.
type topFlags struct {
	where      gridFlags
	grid, json bool
	interval   time.Duration
	count      uint
}

func (a *app) topCommand() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what runs for whom, on this node or in the grid",
		Long: "Shows what the node on this machine runs for whom, what that takes, what waits and\n" +
			"the worker processes, again and again; with --grid, or with --api, all nodes and jobs\n" +
			"of the grid. Press h for the keys.\n\n" +
			"Where stdout is no terminal it prints once, with --json an object in a line for each\n" +
			"look. FUEL/S of a node is about: processor time by how fast the machine burns fuel.\n" +
			"That of the grid counts attempts when they end.",
		Args: noOther,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.interval < topIntervalLeast {
				return usageError("--interval is %s, at least %s", f.interval, topIntervalLeast)
			}
			return explainGrid(a.top(cmd.Context(), &f), f.where, a.Environ)
		},
	}
	fs := cmd.Flags()
	f.where.register(fs)
	fs.BoolVar(&f.grid, "grid", false, "show the grid's nodes and jobs instead of this node's")
	fs.BoolVar(&f.json, "json", false, "print a JSON object for each look")
	fs.DurationVar(&f.interval, "interval", topInterval, "how often to look")
	fs.UintVar(&f.count, "count", 0, "how many looks to print (default 1, with --json without end)")
	return cmd
}

func (a *app) top(ctx context.Context, f *topFlags) error {
	look, end, err := a.topSource(f)
	if err != nil {
		return err
	}
	defer end()
	bounded := func(ctx context.Context) (topSample, error) {
		ctx, cancel := context.WithTimeout(ctx, topTimeout)
		defer cancel()
		return look(ctx)
	}
	// The first look has no rates; without it there is nothing to show either.
	first, err := bounded(ctx)
	if err != nil {
		return err
	}
	if f.json || f.count > 0 || !isTerminal(a.Out, a.Environ) {
		return a.topPlain(ctx, f, bounded)
	}
	return a.topLive(ctx, f.interval, first, bounded)
}

// topSource returns what looks once, and what ends it.
func (a *app) topSource(f *topFlags) (look func(ctx context.Context) (topSample, error), end func(), err error) {
	if f.grid || f.where.api != "" {
		c, err := f.where.client(a)
		if err != nil {
			return nil, nil, err
		}
		s := gridSource{grid: grid{app: a, client: c, now: time.Now}}
		return s.look, c.Close, nil
	}
	dir, err := nodeDir(f.where.dir, a.Environ)
	if err != nil {
		return nil, nil, err
	}
	s := nodeSource{client: control.NewClient(dir)}
	return s.look, func() {}, nil
}

// topPlain prints looks one after another, each an interval after the one before, and
// the first an interval after one that nobody sees.
func (a *app) topPlain(ctx context.Context, f *topFlags, look func(ctx context.Context) (topSample, error)) error {
	most := f.count
	if most == 0 && !f.json {
		most = 1
	}
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for n := uint(0); most == 0 || n < most; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s, err := look(ctx)
		if err == nil && f.json {
			err = a.writeJSON(s)
		} else if err == nil {
			err = a.printPage(s.page(time.Now()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printPage prints a page as it is, however wide.
func (a *app) printPage(p *topPage) error {
	text := ""
	for _, fact := range p.facts {
		text += topClean(fact) + "\n"
	}
	for i := range p.tables {
		t := &p.tables[i]
		header, lines := t.layout(t.sorted(t.sort, false), -1, math.MaxInt32)
		text += "\n" + header + "\n"
		if len(lines) == 0 {
			text += t.none + "\n"
		}
		for _, line := range lines {
			text += line + "\n"
		}
	}
	_, err := fmt.Fprint(a.Out, text)
	return err
}

// topLook is what a look has found.
type topLook struct {
	sample topSample
	err    error
}

// topLive shows looks on the terminal until a key quits, or ctx ends.
func (a *app) topLive(ctx context.Context, interval time.Duration, first topSample, look func(ctx context.Context) (topSample, error)) (err error) {
	screen, err := openScreen(a.In, a.Out, a.Environ)
	if err != nil {
		return err
	}
	defer func() {
		if closed := screen.close(); err == nil {
			err = closed
		}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT)
	defer signal.Stop(signals)
	looking, stop := context.WithCancel(ctx)
	looks := make(chan topLook)
	var looker sync.WaitGroup
	looker.Go(func() { lookAgainAndAgain(looking, interval, look, looks) })
	defer looker.Wait()
	defer stop()

	m := &topModel{}
	m.show(first.page(time.Now()), nil)
	for {
		if err := screen.draw(m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case l := <-looks:
			if l.err != nil {
				m.show(nil, inner(l.err))
			} else {
				m.show(l.sample.page(time.Now()), nil)
			}
		case in, open := <-screen.keys:
			if !open || screen.press(m, in) {
				return nil
			}
		case <-signals:
			screen.refresh()
		}
	}
}

// lookAgainAndAgain looks once in an interval until ctx ends.
func lookAgainAndAgain(ctx context.Context, interval time.Duration, look func(ctx context.Context) (topSample, error), looks chan<- topLook) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s, err := look(ctx)
		select {
		case looks <- topLook{s, err}:
		case <-ctx.Done():
			return
		}
	}
}
