package placement

import (
	"errors"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

// TestParamsValidate: the defaults are valid, the zero value is not, and each
// value out of bounds is named.
func TestParamsValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Params{}).Validate(); !errors.Is(err, ErrParams) {
		t.Errorf("zero value: %v", err)
	}
	all := Default()
	all.SampleSize, all.LookMax, all.PassLooksMax, all.ReasonLooksMax = 0, 0, 0, 0
	if err := all.Validate(); err != nil {
		t.Errorf("no sampling: %v", err)
	}
	for what, spoil := range map[string]func(*Params){
		"Policy":             func(p *Params) { p.Policy = policies },
		"WeightMax":          func(p *Params) { p.Weights.Trust = WeightMax + 1 },
		"SampleSize":         func(p *Params) { p.SampleSize = -1 },
		"LookMax":            func(p *Params) { p.LookMax = p.SampleSize - 1 },
		"PassLooksMax":       func(p *Params) { p.PassLooksMax = p.LookMax - 1 },
		"ReasonLooksMax":     func(p *Params) { p.ReasonLooksMax = -1 },
		"PlacementsMax":      func(p *Params) { p.PlacementsMax = 0 },
		"JobPlacementsMax":   func(p *Params) { p.JobPlacementsMax = 0 },
		"RoundPlacementsMax": func(p *Params) { p.RoundPlacementsMax = 0 },
		"AgeNanos":           func(p *Params) { p.AgeNanos = 0 },
		"PastNanos":          func(p *Params) { p.PastNanos = PastNanosMax + 1 },
		"RecentNanos":        func(p *Params) { p.RecentNanos = 0 },
		"PastMaxTop":         func(p *Params) { p.PastMax = PastMaxTop + 1 },
		"Grain":              func(p *Params) { p.Grain = 0 },
		"PreemptAfterNanos":  func(p *Params) { p.PreemptAfterNanos = -1 },
		"PreemptionsMax":     func(p *Params) { p.PreemptionsMax = -1 },
		"PreemptLooksMax":    func(p *Params) { p.PreemptLooksMax = -1 },
		"TasksMin":           func(p *Params) { p.TasksMin = p.TasksMax + 1 },
		"TasksMax":           func(p *Params) { p.TasksMax = ledger.LeaseTasksMax + 1 },
		"SlotsMax":           func(p *Params) { p.SlotsMax = 0 },
		"Stages":             func(p *Params) { p.Stages = 0 },
		"WorkNanosMin":       func(p *Params) { p.WorkNanosMin = p.WorkNanosMax + 1 },
		"TaskNanos":          func(p *Params) { p.TaskNanos = 0 },
		"LeaseNanosMin":      func(p *Params) { p.LeaseNanosMin = 0 },
		"LeaseNanosMax":      func(p *Params) { p.LeaseNanosMax = int64(ledger.SpanMax) + 1 },
		"OfferAgeNanosMax":   func(p *Params) { p.OfferAgeNanosMax = 0 },
		"AvoidNanosMax":      func(p *Params) { p.AvoidNanosMax = -1 },
		"TimeoutNanos":       func(p *Params) { p.TimeoutNanos = 0 },
		"WaitNanosMax":       func(p *Params) { p.WaitNanosMax = 0 },
		"FetchBytesMax":      func(p *Params) { p.FetchBytesMax = 0 },
	} {
		p := Default()
		spoil(&p)
		if err := p.Validate(); !errors.Is(err, ErrParams) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s out of bounds: %v", what, err)
		}
	}
}
