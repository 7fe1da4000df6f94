package ledger_test

import (
	"errors"
	"testing"

	"github.com/dugnad/dugnad/ledger"
)

func TestAdmit(t *testing.T) {
	const now = 1000 * ledger.Time(24*3600) * second
	at := func(now ledger.Time) []byte {
		return ledger.Encode(ledger.Envelope{Seq: 7, Now: now, Body: &ledger.Tick{}})
	}
	sound := at(now)
	unknown := append([]byte(nil), sound...)
	unknown[1] = 200
	newer := append([]byte(nil), sound...)
	newer[0] = 2
	for name, c := range map[string]struct {
		command []byte
		want    error
	}{
		"sound":                      {sound, nil},
		"ahead, as far as may be":    {at(now + ledger.ClockAheadMax), nil},
		"too far ahead":              {at(now + ledger.ClockAheadMax + 1), ledger.ErrClock},
		"behind, as far as may be":   {at(now - ledger.ClockBehindMax), nil},
		"too far behind":             {at(now - ledger.ClockBehindMax - 1), ledger.ErrClock},
		"no time":                    {at(0), ledger.ErrClock},
		"beyond the end of time":     {at(ledger.TimeMax + 1), ledger.ErrClock},
		"nothing":                    {nil, ledger.ErrMalformed},
		"short":                      {sound[:len(sound)-1], ledger.ErrMalformed},
		"long":                       {append(sound[:len(sound):len(sound)], 0), ledger.ErrMalformed},
		"too long":                   {append(sound[:len(sound):len(sound)], make([]byte, ledger.CommandBytesMax)...), ledger.ErrMalformed},
		"a number from the future":   {unknown, ledger.ErrUnknownCommand},
		"a version from the future":  {newer, ledger.ErrUnknownCommand},
		"a version before the first": {append([]byte{0}, sound[1:]...), ledger.ErrUnknownCommand},
	} {
		e, err := ledger.Admit(c.command, now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, tick := e.Body.(*ledger.Tick); tick != (c.want == nil) {
			t.Errorf("%s: the envelope is %+v", name, e)
		}
	}
}

// TestNotedTwice notes the same reasons again: nothing is written, and At says
// since when they hold.
func TestNotedTwice(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: plainSpec(1)})
	note := ledger.Note{
		Job: jobNumber(1), Nodes: 9, Sampled: 5, FreeAt: 70 * second,
		Reasons: []ledger.Reason{{What: "label", Detail: "zone=north", Nodes: 4}, {What: "full-memory", Nodes: 5, Need: 200, Have: 100}},
	}
	first := d.now
	d.do(&ledger.NoteReasons{Notes: []ledger.Note{note}})
	d.now += second
	if n, _ := d.written(&ledger.NoteReasons{Notes: []ledger.Note{note}}); n != 0 {
		t.Errorf("%d keys are written for reasons that are known", n)
	}
	r, err := ledger.FindReasons(d.Memory, jobNumber(1))
	if err != nil || r.At != first || r.FreeAt != note.FreeAt || r.Nodes != 9 || r.Sampled != 5 || len(r.List) != 2 || r.List[1] != note.Reasons[1] {
		t.Errorf("reasons are %+v, %v", r, err)
	}
	note.FreeAt += second
	d.do(&ledger.NoteReasons{Notes: []ledger.Note{note}})
	if r, _ := ledger.FindReasons(d.Memory, jobNumber(1)); r.At != d.now || r.FreeAt != note.FreeAt {
		t.Errorf("reasons are %+v", r)
	}
	note.Reasons = nil
	for range 2 {
		d.do(&ledger.NoteReasons{Notes: []ledger.Note{note}})
	}
	if _, err := ledger.FindReasons(d.Memory, jobNumber(1)); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("reasons that were cleared: %v", err)
	}
	note.Reasons = []ledger.Reason{{What: "label", Detail: string(make([]byte, ledger.DetailBytesMax+1))}}
	if r := d.try(&ledger.NoteReasons{Notes: []ledger.Note{note}}); r.Items[0].Code != ledger.CodeInvalid {
		t.Errorf("a detail that is too long: %s", r.Items[0].Code)
	}
}

// TestStalePlanHeeds places tasks that have failed on a node by a plan that is
// older than the failure.
func TestStalePlanHeeds(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2")
	spec := plainSpec(10)
	spec.Retry.BackoffNanos, spec.Retry.BackoffMaxNanos = 0, 0
	d.do(&ledger.Submit{Job: jobNumber(1), Spec: spec})
	plan := ledger.Placement{Job: jobNumber(1), Start: 0, Count: 4, Slots: 1, Node: "n1", Expiry: 60 * second, Heed: true}
	place := func(p ledger.Placement) ledger.Code {
		return d.try(&ledger.Place{Placements: []ledger.Placement{p}}).Items[0].Code
	}
	if code := place(plan); code != ledger.CodeOK {
		t.Fatal(code)
	}
	d.do(&ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{{First: 0, Count: 4, State: ledger.TaskFailed}}}}})
	if code := place(plan); code != ledger.CodeAvoided {
		t.Errorf("back on the node that failed them: %s", code)
	}
	plan.Heed = false
	if code := place(plan); code != ledger.CodeOK {
		t.Errorf("on purpose: %s", code)
	}
	d.check()
}
