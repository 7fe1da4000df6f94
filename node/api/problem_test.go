package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// TestStatuses: every code has the status that a client without knowledge of codes
// can do something with.
func TestStatuses(t *testing.T) {
	for code, want := range map[Code]int{
		CodeInvalid: 422, CodeNotFound: 404, CodeTooLarge: 413, CodeRefused: 422, CodeNoLeader: 503, CodeOverloaded: 503,
		CodeUncertain: 504, CodeNoRoom: 507, CodeNotHeld: 404, CodeStopping: 503, CodeInternal: 500,
		CodeUnauthorized: 401, CodeTokenInvalid: 401, CodeTokenRevoked: 401, CodeTokenNarrower: 403, CodeOperatorOnly: 403, CodeHostUnknown: 421,
		"job_exists": 409, "quota_jobs": 429, "something_new": 422,
	} {
		p := NewProblem(code, "detail", "help")
		if p.Status != want || p.GetStatus() != want || p.Title != http.StatusText(want) {
			t.Errorf("%s: %+v, want status %d", code, p, want)
		}
	}
}

// TestProblemText: an error shows all mistakes, each with place and remedy, and
// comes back from the wire as it was.
func TestProblemText(t *testing.T) {
	for _, tt := range []struct {
		p    *Problem
		want string
	}{
		{NewProblem(CodeNotFound, "", ""), "Not Found"},
		{NewProblem(CodeNotFound, "there is no job", "see job ls"), "there is no job: see job ls"},
		{
			&Problem{Status: 422, Code: CodeInvalid, Detail: "bad", Errors: []Mistake{{Line: 3, Column: 1, Message: "m", Help: "h"}, {Message: "n"}}},
			"bad\n  line 3: m: h\n  n",
		},
	} {
		if got := tt.p.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		text, err := json.Marshal(tt.p)
		back := &Problem{}
		if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(back, tt.p) {
			t.Errorf("%s is read as %+v, %v", text, back, err)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestJobCounts: what has ended is counted as the interface's states say.
func TestJobCounts(t *testing.T) {
	all := Tasks{Waiting: 1, Queued: 2, Leased: 4, Running: 8, Unreachable: 16, Succeeded: 32, Failed: 64, Killed: 128, Refused: 256}
	if n := all.Ended(); n != 32+64+128+256 {
		t.Errorf("%d have ended", n)
	}
	for state, final := range map[string]bool{
		JobWaiting: false, JobActive: false, JobStopping: false, JobSucceeded: true, JobFailed: true, JobKilled: true,
	} {
		if j := (&Job{State: state}); j.Final() != final {
			t.Errorf("%s: final is %t", state, j.Final())
		}
	}
}
