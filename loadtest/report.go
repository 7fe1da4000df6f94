package main

import (
	"encoding/json"
	"io"
	"slices"
	"time"
)

// report is what a scenario has measured; times are in milliseconds.
type report struct {
	Scenario    string  `json:"scenario"`
	Count       int     `json:"count"`
	Concurrency int     `json:"concurrency,omitempty"`
	Seconds     float64 `json:"seconds"`
	// PerSecond counts what has succeeded.
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms,omitempty"`
	P90       float64 `json:"p90_ms,omitempty"`
	P99       float64 `json:"p99_ms,omitempty"`
	Max       float64 `json:"max_ms,omitempty"`
	// Failed are the jobs, or tasks of the array, that did not succeed, for whatever
	// reason; those that were not begun are among them.
	Failed int `json:"failed"`
	// Before is how long jobs took before the flood, Ratio their P99 during it by that
	// before: the other times of a flood are of those during it.
	Before *latency     `json:"before,omitempty"`
	Ratio  float64      `json:"p99_ratio,omitempty"`
	Flood  *floodReport `json:"flood,omitempty"`
	// OutputBytes is what the tasks of an array wrote, OutputSHA256 the digest of
	// all of it in the order of the tasks.
	OutputBytes  int64     `json:"output_bytes,omitempty"`
	OutputSHA256 string    `json:"output_sha256,omitempty"`
	Processes    []process `json:"processes,omitempty"`
}

// finish fills in what a driver has done in some time.
func (r *report) finish(d *driver, took time.Duration) {
	r.Seconds, r.Failed = took.Seconds(), r.Count-d.succeeded
	r.PerSecond = float64(d.succeeded) / r.Seconds
	slices.Sort(d.took)
	r.P50, r.P90 = quantile(d.took, 50), quantile(d.took, 90)
	r.P99, r.Max = quantile(d.took, 99), quantile(d.took, 100)
}

// quantile returns the shortest of sorted times that at least so many percent of
// them do not exceed, in milliseconds; 0 when there are none.
func quantile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := max((percent*len(sorted)+99)/100, 1)
	return float64(sorted[rank-1].Microseconds()) / 1000
}

// write prints the report.
func (r *report) write(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
