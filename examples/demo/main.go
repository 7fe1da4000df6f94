// Command demo shows what Dugnad does, and checks it. It runs the example guests
// through dugnad run; then it founds a grid of three nodes, which are processes on
// this machine, has the grid count the words of this repository's sources, kills
// one of the nodes meanwhile, and has a second job add up what the tasks of the
// first have counted. Each result is compared with the same computed here, without
// a sandbox. It exits with 1 when one is wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// demoTime bounds the whole demo. It is no measure of speed.
const demoTime = 20 * time.Minute

var errLate = fmt.Errorf("the demo has not ended within %s", demoTime)

// demo says what is shown.
type demo struct {
	dugnad, guests, text, only, when string
}

func main() {
	d := demo{}
	flag.StringVar(&d.dugnad, "dugnad", "bin/dugnad", "the program to show")
	flag.StringVar(&d.guests, "guests", "bin/examples", "the folder of the compiled examples")
	flag.StringVar(&d.text, "text", ".", "the folder whose *.md and *.go files are counted")
	flag.StringVar(&d.only, "only", "", "show only this part: run or grid")
	flag.StringVar(&d.when, "kill", killOutcome, "when a node is killed: at its first lease, or when it has reported an outcome and a third of the tasks have ended")
	flag.Parse()
	if err := d.main(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println("All results are as they must be.")
}

// main shows the parts, until they are over, somebody interrupts them, or it is
// late. A second interrupt ends this process at once, and with it the others.
func (d demo) main() error {
	late, cancel := context.WithTimeoutCause(context.Background(), demoTime, errLate)
	defer cancel()
	ctx, stop := signal.NotifyContext(late, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	for _, part := range []struct {
		name string
		show func(context.Context) error
	}{
		{"run", d.runs},
		{"grid", d.grid},
	} {
		if d.only != "" && d.only != part.name {
			continue
		}
		if err := part.show(ctx); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("stopped: %w", context.Cause(ctx))
			}
			return err
		}
	}
	return nil
}
