package main

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/dugnad/dugnad/runtime/meter/bench/cranelift"
	"github.com/dugnad/dugnad/runtime/meter/bench/measure"
	"github.com/dugnad/dugnad/runtime/meter/bench/report"
)

// runChild is one start of a process: it measures and writes messages.
func (c *config) runChild() error {
	workloads, err := c.workloads()
	if err != nil {
		return err
	}
	var kernels, programs []*measure.Ready
	for _, w := range workloads {
		ready, err := measure.Again(w, c.repository, c.programs())
		if errors.Is(err, os.ErrNotExist) {
			continue // The parent has said that it is not at hand.
		}
		if err != nil {
			return err
		}
		if w.Kind == measure.Program {
			programs = append(programs, ready)
		} else {
			kernels = append(kernels, ready)
		}
	}
	out := json.NewEncoder(os.Stdout)
	sample := func(s report.Sample) error { return out.Encode(message{Sample: &s}) }
	note := func(text string) error { return out.Encode(message{Note: text}) }
	plan := measure.Plan{Start: c.child, Rounds: c.kernelRounds, OthersRounds: (c.kernelRounds + 1) / 2, Engines: c.engines()}
	if err := plan.Run(kernels, sample, note); err != nil {
		return err
	}
	plan.Rounds, plan.OthersRounds = c.programRounds, 1
	return plan.Run(programs, sample, note)
}

// engines are all the columns, Plain and Metered first.
func (c *config) engines() []measure.Engine {
	bare := func(column string) measure.Bare { return measure.Bare{Column: column, CodeDir: c.code()} }
	plain, metered := bare(report.Plain), bare(report.Metered)
	metered.Metered = true
	only, interruptible := bare(report.Bare), bare(report.Interruptible)
	interruptible.Interruptible = true
	engines := []measure.Engine{&measure.Sandboxed{Bare: plain}, &measure.Sandboxed{Bare: metered}, &only, &interruptible}
	for _, column := range []string{report.Cranelift, report.Fuel, report.Epochs} {
		engines = append(engines, &cranelift.Engine{Column: column, CodeDir: c.code()})
	}
	return engines
}
