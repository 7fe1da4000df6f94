package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dugnad/dugnad/runtime/meter/bench/measure"
	"github.com/dugnad/dugnad/runtime/meter/bench/report"
)

// runParent fetches the programs, measures what does not need to be repeated,
// starts the processes and writes the report.
func (c *config) runParent(ctx context.Context) error {
	begin, load := time.Now(), newLoad()
	for _, dir := range []string{c.programs(), c.code()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	r := &report.Report{Date: begin.Format(time.DateOnly), Cores: runtime.NumCPU()}
	r.Machine, r.Commit, r.Load = machine(), c.commit(ctx), load.average()
	ready, err := c.fetch(ctx, r)
	if err != nil {
		return err
	}
	if err := c.static(ctx, ready, r); err != nil {
		return err
	}
	if err := c.processes(ctx, begin, r); err != nil {
		return err
	}
	if err := c.late(ctx, r); err != nil {
		return err
	}
	r.Others = load.others()
	return c.write(r, time.Since(begin))
}

func (c *config) programs() string { return filepath.Join(c.dir, "programs") }
func (c *config) code() string     { return filepath.Join(c.dir, "code") }

// workloads are those that were asked for.
func (c *config) workloads() ([]measure.Workload, error) {
	all := append(measure.Kernels(), measure.Programs()...)
	if len(c.only) == 0 {
		return all, nil
	}
	var names []string
	var out []measure.Workload
	for _, w := range all {
		names = append(names, w.Name)
		if slices.Contains(c.only, w.Name) {
			out = append(out, w)
		}
	}
	for _, name := range c.only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("-only names %q, which is none of %s", name, strings.Join(names, ", "))
		}
	}
	return out, nil
}

// fetch makes every workload ready whose module can be had.
func (c *config) fetch(ctx context.Context, r *report.Report) ([]*measure.Ready, error) {
	workloads, err := c.workloads()
	if err != nil {
		return nil, err
	}
	var out []*measure.Ready
	for _, w := range workloads {
		ready, err := measure.Prepare(ctx, w, c.repository, c.programs())
		if errors.Is(err, measure.ErrAbsent) && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "without %s: %v\n", w.Name, err)
			r.Notes = append(r.Notes, w.Name+" was not at hand.")
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, ready)
	}
	if len(out) == 0 {
		return nil, errors.New("there is nothing to measure")
	}
	return out, nil
}

// static measures rewriting and compiling.
func (c *config) static(ctx context.Context, ready []*measure.Ready, r *report.Report) error {
	budget := 2 * time.Second
	if c.quick {
		budget = 200 * time.Millisecond
	}
	for _, w := range ready {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := budget
		if w.Kind != measure.Program {
			b /= 10
		}
		fmt.Fprintf(os.Stderr, "compile %s\n", w.Name)
		m, err := measure.Static(w, b)
		if err != nil {
			return err
		}
		r.Modules = append(r.Modules, m)
	}
	return nil
}

// processes starts this program again and again, each time with another number.
// It stops early when the budget would not hold one more.
func (c *config) processes(ctx context.Context, begin time.Time, r *report.Report) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	longest := time.Duration(0)
	for start := range c.starts {
		if start > 0 && time.Since(begin)+longest > c.budget {
			fmt.Fprintf(os.Stderr, "%d of %d processes: the budget of %s holds no more\n", start, c.starts, c.budget)
			break
		}
		from := time.Now()
		args := []string{"-child", strconv.Itoa(start), "-repository", c.repository, "-dir", c.dir, "-only", strings.Join(c.only, ",")}
		if c.quick {
			args = append(args, "-quick")
		}
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Stderr = os.Stderr
		if err := gather(cmd, r); err != nil {
			return fmt.Errorf("process %d: %w", start, err)
		}
		took := time.Since(from)
		longest = max(longest, took)
		fmt.Fprintf(os.Stderr, "process %d of %d took %s\n", start+1, c.starts, took.Round(time.Second))
	}
	return nil
}

// message is a line of what a child writes.
type message struct {
	Sample *report.Sample `json:"sample,omitempty"`
	Note   string         `json:"note,omitempty"`
}

// gather runs a child and keeps what it writes.
func gather(cmd *exec.Cmd, r *report.Report) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var bad error
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			bad = errors.Join(bad, fmt.Errorf("line %.100q: %w", lines.Bytes(), err))
			continue
		}
		if m.Sample != nil {
			r.Samples = append(r.Samples, *m.Sample)
		}
		if m.Note != "" && !slices.Contains(r.Notes, m.Note) {
			r.Notes = append(r.Notes, m.Note)
		}
	}
	return errors.Join(bad, cmd.Wait())
}

// late runs the benchmark of runtime/worker that tells how late deadlines are
// met.
func (c *config) late(ctx context.Context, r *report.Report) error {
	if len(c.only) > 0 {
		return nil
	}
	times := "5x"
	if c.quick {
		times = "1x"
	}
	fmt.Fprintln(os.Stderr, "deadlines")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Deadline$", "-benchtime", times, "./runtime/worker")
	cmd.Dir = c.repository
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchmark of deadlines: %w: %s", err, out)
	}
	r.Late, err = report.ParseLate(string(out))
	return err
}

// write prints the report and puts it into the file.
func (c *config) write(r *report.Report, took time.Duration) error {
	section := r.Markdown()
	fmt.Println(section)
	fmt.Fprintf(os.Stderr, "took %s\n", took.Round(time.Second))
	if c.file == "" {
		return nil
	}
	name := filepath.Join(c.repository, c.file)
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	replaced, err := report.Splice(string(text), section)
	if err != nil {
		return fmt.Errorf("write to %s: %w", c.file, err)
	}
	return os.WriteFile(name, []byte(replaced), 0o644)
}
