package placement

import (
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// ErrParams is returned by Params.Validate for values that make no sense.
var ErrParams = errors.New("placement parameters are not valid")

// Policy is what the pack score prefers.
type Policy uint8

// The policies.
const (
	// Dense fills nodes up (best fit), which keeps room for large tasks and lets
	// other nodes sleep.
	Dense Policy = iota
	// Loose prefers empty nodes, which shortens the work and loses less with one
	// node.
	Loose

	policies
)

// Weights are the factors of the scores, each 0 to WeightMax.
type Weights struct {
	Pack, Local, Wait, Trust, Spread uint32
}

// WeightMax bounds each weight, so that no sum overflows.
const WeightMax = 1 << 20

// PastNanosMax bounds half-lives, so that a new leader need not read more than some
// weeks of accounts.
const PastNanosMax = int64(7 * 24 * time.Hour)

// Params are the policy's settings. The zero value is not valid: begin with
// Default.
type Params struct {
	Policy  Policy
	Weights Weights
	// SampleSize is how many nodes are scored for a placement; zero is all that
	// fit.
	SampleSize int
	// LookMax bounds the nodes that are visited for a shape of jobs, or for a job
	// that accepts none of those which its shape has found. PassLooksMax bounds
	// all of these visits in a pass: once it is reached, each shape and each such
	// job visits SampleSize nodes. Neither holds when SampleSize is zero.
	LookMax, PassLooksMax int
	// ReasonLooksMax bounds the nodes that are looked at for reasons in a pass: up
	// to 2048 for each job that differs from the others, and 128 once the bound is
	// reached. Zero is no bound.
	ReasonLooksMax int
	// PlacementsMax bounds a pass, JobPlacementsMax what a job gets in a pass,
	// RoundPlacementsMax what it gets before it is the next one's turn.
	PlacementsMax, JobPlacementsMax, RoundPlacementsMax int
	// AgeNanos is the window within which jobs of a tenant count as equally old.
	AgeNanos int64
	// PastNanos is the half-life of past use: what a tenant had so long ago counts
	// half. RecentNanos is that of what it had just now, which counts as if it still
	// had it, so that tasks which are over before the next pass are not free. They are at most PastNanosMax.
	PastNanos, RecentNanos int64
	// PastMax bounds what past use does: a tenant counts as if it had at most
	// PastMax+1 times what it has. Zero is no past.
	PastMax uint32
	// Grain bounds how far a placement lets a tenant get ahead of others that wait:
	// by this part of what it would have if all shared by weight, or by one slot.
	Grain uint32
	// PreemptAfterNanos is how long a job waits before leases of lower bands give way to
	// it: short tasks end by themselves meanwhile. PreemptionsMax bounds the tasks of a
	// pass for which room is made, zero is none, and PreemptLooksMax how often a node is
	// looked at for that.
	PreemptAfterNanos               int64
	PreemptionsMax, PreemptLooksMax int
	// TasksMin and TasksMax bound the tasks of a placement; a range may have
	// fewer than TasksMin. TasksMax is at most ledger.LeaseTasksMax.
	TasksMin, TasksMax uint32
	// SlotsMax bounds the slots of a placement.
	SlotsMax uint32
	// Stages is how many times over a job's tasks are shared out before shares
	// are down to one: the larger, the smaller the first shares.
	Stages uint32
	// WorkNanosMin and WorkNanosMax bound how long one slot is expected to be
	// occupied by a placement, as far as single tasks allow.
	WorkNanosMin, WorkNanosMax int64
	// TaskNanos is the duration of tasks of which nothing is known.
	TaskNanos int64
	// LeaseNanosMin and LeaseNanosMax bound leases; the latter is at most
	// ledger.SpanMax.
	LeaseNanosMin, LeaseNanosMax int64
	// OfferAgeNanosMax is how old an offer may be.
	OfferAgeNanosMax int64
	// AvoidNanosMax is how long tasks that may go to other nodes, which are full, wait
	// for these before they go back to one that failed them; those that were lost wait
	// for others that may come as well.
	AvoidNanosMax int64
	// TimeoutNanos is how long a task may take whose job does not say it.
	TimeoutNanos int64
	// WaitNanosMax is the expected wait that scores nothing, FetchBytesMax the
	// size of a module from which not to hold it does.
	WaitNanosMax  int64
	FetchBytesMax uint64
}

// Default returns the parameters of a grid whose owner has set nothing.
func Default() Params {
	const ms, second = int64(1e6), int64(1e9)
	return Params{
		Policy:             Dense,
		Weights:            Weights{Pack: 10, Local: 10, Wait: 6, Trust: 8, Spread: 40},
		SampleSize:         64,
		LookMax:            8192,
		PassLooksMax:       1 << 20,
		ReasonLooksMax:     1 << 18,
		PlacementsMax:      4096,
		JobPlacementsMax:   256,
		RoundPlacementsMax: 1,
		AgeNanos:           10 * second,
		PastNanos:          4 * 3600 * second,
		RecentNanos:        60 * second,
		PastMax:            3,
		Grain:              4,
		PreemptAfterNanos:  2 * second,
		PreemptionsMax:     64,
		PreemptLooksMax:    4096,
		TasksMin:           1,
		TasksMax:           10_000,
		SlotsMax:           64,
		Stages:             4,
		WorkNanosMin:       500 * ms,
		WorkNanosMax:       120 * second,
		TaskNanos:          second,
		LeaseNanosMin:      30 * second,
		LeaseNanosMax:      3600 * second,
		OfferAgeNanosMax:   15 * second,
		AvoidNanosMax:      10 * second,
		TimeoutNanos:       3600 * second,
		WaitNanosMax:       10 * second,
		FetchBytesMax:      8 << 20,
	}
}

// Validate returns an ErrParams that names the first value out of bounds.
func (p Params) Validate() error {
	w := p.Weights
	for _, check := range []struct {
		bad  bool
		what string
	}{
		{p.Policy >= policies, "Policy is unknown"},
		{max(w.Pack, w.Local, w.Wait, w.Trust, w.Spread) > WeightMax, "a weight is above WeightMax"},
		{p.SampleSize < 0, "SampleSize is negative"},
		{p.SampleSize > 0 && p.LookMax < p.SampleSize, "LookMax is below SampleSize"},
		{p.SampleSize > 0 && p.PassLooksMax < p.LookMax, "PassLooksMax is below LookMax"},
		{p.ReasonLooksMax < 0, "ReasonLooksMax is negative"},
		{p.PlacementsMax < 1, "PlacementsMax is below 1"},
		{p.JobPlacementsMax < 1, "JobPlacementsMax is below 1"},
		{p.RoundPlacementsMax < 1, "RoundPlacementsMax is below 1"},
		{p.AgeNanos < 1, "AgeNanos is below 1"},
		{
			min(p.PastNanos, p.RecentNanos) < 1 || max(p.PastNanos, p.RecentNanos) > PastNanosMax,
			"PastNanos or RecentNanos is not 1 to PastNanosMax",
		},
		{p.PastMax > PastMaxTop, "PastMax is above PastMaxTop"},
		{p.Grain < 1, "Grain is below 1"},
		{p.PreemptAfterNanos < 0, "PreemptAfterNanos is negative"},
		{min(p.PreemptionsMax, p.PreemptLooksMax) < 0, "PreemptionsMax or PreemptLooksMax is negative"},
		{
			p.TasksMin < 1 || p.TasksMax < p.TasksMin || p.TasksMax > ledger.LeaseTasksMax,
			"TasksMin and TasksMax are not 1 ≤ min ≤ max ≤ ledger.LeaseTasksMax",
		},
		{p.SlotsMax < 1, "SlotsMax is below 1"},
		{p.Stages < 1, "Stages is below 1"},
		{p.WorkNanosMin < 0 || p.WorkNanosMax < p.WorkNanosMin, "WorkNanosMin and WorkNanosMax are not 0 ≤ min ≤ max"},
		{p.TaskNanos < 1, "TaskNanos is below 1"},
		{
			p.LeaseNanosMin < 1 || p.LeaseNanosMax < p.LeaseNanosMin || p.LeaseNanosMax > int64(ledger.SpanMax),
			"LeaseNanosMin and LeaseNanosMax are not 1 ≤ min ≤ max ≤ ledger.SpanMax",
		},
		{p.OfferAgeNanosMax < 1, "OfferAgeNanosMax is below 1"},
		{p.AvoidNanosMax < 0, "AvoidNanosMax is negative"},
		{p.TimeoutNanos < 1, "TimeoutNanos is below 1"},
		{p.WaitNanosMax < 1, "WaitNanosMax is below 1"},
		{p.FetchBytesMax < 1, "FetchBytesMax is below 1"},
	} {
		if check.bad {
			return fmt.Errorf("%w: %s", ErrParams, check.what)
		}
	}
	return nil
}
