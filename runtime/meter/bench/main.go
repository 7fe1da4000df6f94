// Command bench measures what metering costs, kernel by kernel and program by
// program, beside other ways to interrupt a guest, and writes the table into
// BENCHMARKS.md. `make bench-meter` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	// repository is its folder; the report goes to file in it, "" means to
	// nowhere but stdout. dir keeps programs and machine code.
	repository, file, dir string
	// only names the subjects to measure, all if it is empty.
	only []string
	// quick measures a few rounds of one start.
	quick bool
	// budget is the time after which no further process is started.
	budget time.Duration
	starts int
	// child is the number of the start that this process is, or -1.
	child int
	// rounds, for kernels and for programs.
	kernelRounds, programRounds int
}

func run(ctx context.Context, args []string) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.child >= 0 {
		return c.runChild()
	}
	return c.runParent(ctx)
}

func parse(args []string) (*config, error) {
	c := &config{}
	only := ""
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&c.repository, "repository", ".", "the folder of the repository")
	f.StringVar(&c.file, "write", "BENCHMARKS.md", "the file, in the repository, that has the table; empty: print it only")
	f.StringVar(&c.dir, "dir", "bin/bench-meter", "the folder that keeps programs and machine code")
	f.StringVar(&only, "only", "", "names of what to measure, apart by commas; nothing is written then, unless -write is given")
	f.BoolVar(&c.quick, "quick", false, "one start with few rounds, for a look; nothing is written, unless -write is given")
	f.DurationVar(&c.budget, "budget", 13*time.Minute, "the time after which no further process is started")
	f.IntVar(&c.starts, "starts", 7, "how many processes to start")
	f.IntVar(&c.child, "child", -1, "for the program's own use")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q is not understood: there are only flags", f.Arg(0))
	}
	if c.starts < 1 || c.starts > 100 {
		return nil, fmt.Errorf("starts are %d, from 1 to 100", c.starts)
	}
	if only != "" {
		c.only = strings.Split(only, ",")
	}
	c.kernelRounds, c.programRounds = 7, 3
	if c.quick {
		c.starts, c.kernelRounds, c.programRounds = 1, 3, 1
	}
	asked := false
	f.Visit(func(f *flag.Flag) { asked = asked || f.Name == "write" })
	if (c.quick || len(c.only) > 0) && !asked {
		c.file = ""
	}
	var err error
	if c.repository, err = filepath.Abs(c.repository); err != nil {
		return nil, err
	}
	c.dir, err = filepath.Abs(c.dir)
	return c, err
}
