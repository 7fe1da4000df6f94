// Package inspection says what lint and the meter make of a module, for people.
package inspection

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
)

// pageBytes is the size of a page of linear memory.
const pageBytes = 64 << 10

// Of checks a module and meters it. A module that lint refuses gives a
// *lint.Refusal.
func Of(module []byte) (*lint.Report, *meter.Result, error) {
	report, err := lint.Check(module, lint.Default())
	if err != nil {
		return nil, nil, err
	}
	result, err := meter.Rewrite(module)
	if err != nil {
		return nil, nil, err
	}
	return &report, &result, nil
}

// Facts is what there is to tell of a module and what Of returned for it.
func Facts(module []byte, report *lint.Report, result *meter.Result) (api.Inspection, error) {
	out := api.Inspection{
		Module: fmt.Sprintf("sha256:%x", sha256.Sum256(module)), Bytes: len(module),
		Functions: report.Functions, Loops: report.Loops, Unrolled: result.Unrolled, Straightened: result.Straightened,
		Blocks: report.Blocks, Instructions: report.Instructions,
		Charges: result.Charges, Checks: result.Checks,
		MeteredBytes: len(result.Module), Growth: float64(len(result.Module)) / float64(len(module)),
		StartFuel: result.StartFuel, MeterVersion: meter.Version, LintVersion: lint.Version,
		MemoryBytes:  uint64(report.MemoryPages) * pageBytes,
		CompileNanos: report.CompileCost.Nanoseconds(), CompileBytes: report.CompileBytes,
		Costliest: report.CostliestFunction,
	}
	if report.MemoryBounded {
		out.MemoryBytesMax = uint64(report.MemoryPagesMax) * pageBytes
	}
	var err error
	out.Classes, err = classShares(module)
	return out, err
}

func classShares(module []byte) ([]api.ClassShare, error) {
	counts, err := meter.Mix(module)
	if err != nil {
		return nil, err
	}
	shares := []api.ClassShare{}
	for i, c := range meter.Classes() {
		if counts[i] > 0 {
			shares = append(shares, api.ClassShare{Class: c.String(), Fuel: c.Fuel(), Instructions: counts[i]})
		}
	}
	together := func(c api.ClassShare) uint64 { return c.Fuel * uint64(c.Instructions) }
	slices.SortStableFunc(shares, func(x, y api.ClassShare) int { return cmp.Compare(together(y), together(x)) })
	return shares, nil
}
