package jobspec

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/quantity"
	"github.com/dugnad/dugnad/runtime/task"
)

// bound is the range of a number of a job.
type bound struct {
	field     string
	low, high uint64
	get       func(*Job) uint64
	// text writes a value of the field.
	text func(uint64) string
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func span(n uint64) string { return quantity.FormatDuration(time.Duration(min(n, math.MaxInt64))) }

// bounds lists every number of a job. Negative times are large numbers.
func bounds() []bound {
	most := task.Max()
	spanMax := uint64(SpanMax)
	return []bound{
		{"count", 1, ledger.CountMax, func(j *Job) uint64 { return j.Count }, count},
		{"seed", 0, math.MaxUint64, func(j *Job) uint64 { return j.Seed }, count},
		{"priority", 0, ledger.BandTop, func(j *Job) uint64 { return j.Priority }, count},
		{"limits.fuel", 1, most.Fuel, func(j *Job) uint64 { return uint64(j.Limits.Fuel) }, quantity.FormatFuel},
		{"limits.memory", 1, most.MemoryBytes, func(j *Job) uint64 { return uint64(j.Limits.Memory) }, quantity.FormatBytes},
		{"limits.timeout", 1, uint64(most.Timeout), func(j *Job) uint64 { return uint64(j.Limits.Timeout) }, span},
		{"limits.output", 1, most.OutputBytes, func(j *Job) uint64 { return uint64(j.Limits.Output) }, quantity.FormatBytes},
		{"limits.scratch", 1, most.ScratchBytes, func(j *Job) uint64 { return uint64(j.Limits.Scratch) }, quantity.FormatBytes},
		{"limits.scratch_files", 1, most.ScratchFiles, func(j *Job) uint64 { return j.Limits.ScratchFiles }, count},
		{"limits.stack", 1, most.StackBytes, func(j *Job) uint64 { return uint64(j.Limits.Stack) }, quantity.FormatBytes},
		{"limits.open_files", 1, most.OpenFiles, func(j *Job) uint64 { return j.Limits.OpenFiles }, count},
		{"retry.attempts", 1, ledger.AttemptsMax, func(j *Job) uint64 { return j.Retry.Attempts }, count},
		{"retry.losses", 0, ledger.AttemptsMax, func(j *Job) uint64 { return j.Retry.Losses }, count},
		{"retry.backoff", 0, spanMax, func(j *Job) uint64 { return uint64(j.Retry.Backoff) }, span},
		{"retry.backoff_max", 0, spanMax, func(j *Job) uint64 { return uint64(j.Retry.BackoffMax) }, span},
		{"retry.loss_grace", 0, spanMax, func(j *Job) uint64 { return uint64(j.Retry.LossGrace) }, span},
		{"retention", uint64(ledger.RetentionMinNanos), uint64(ledger.RetentionMaxNanos), func(j *Job) uint64 { return uint64(j.Retention) }, span},
		{"deadlines.queue", 0, spanMax, func(j *Job) uint64 { return uint64(j.Deadlines.Queue) }, span},
		{"deadlines.total", 0, spanMax, func(j *Job) uint64 { return uint64(j.Deadlines.Total) }, span},
	}
}

// boundOf returns the range of a field, which must be a number.
func boundOf(field string) bound {
	for _, b := range bounds() {
		if b.field == field {
			return b
		}
	}
	panic("jobspec: the number " + field + " has no range")
}

// check reports a number outside of its range.
func (b *bound) check(c *checker, j *Job) {
	switch n := b.get(j); {
	case n < b.low:
		c.add(b.field, fmt.Sprintf("is %s, at least %s", b.text(n), b.text(b.low)), "raise it")
	case n > b.high:
		c.add(b.field, fmt.Sprintf("is %s, at most %s", b.text(n), b.text(b.high)), "lower it")
	}
}
