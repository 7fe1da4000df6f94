package httpd

import (
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/lint"
)

// retryAfter is when it may help to ask again after what passes by itself.
const retryAfter = 1

// problems gives errors their codes; the first that fits counts.
var problems = []struct {
	err  error
	code api.Code
	help string
}{
	{ledger.ErrNotFound, api.CodeNotFound, "check the name; finished jobs are forgotten after a week"},
	{replica.ErrNoLeader, api.CodeNoLeader, "most voters of the ledger cannot be reached: try again, and look at dugnad status"},
	{replica.ErrOverloaded, api.CodeOverloaded, "try again"},
	{replica.ErrUncertain, api.CodeUncertain, "it may have been accepted: ask again with the same idempotency key"},
	{replica.ErrNoRoom, api.CodeNoRoom, "the disks of most voters are full: make room"},
	{replica.ErrRefused, api.CodeNotAccepted, "set this node's clock, or the leader's, or bring both to one version; or ask another node"},
	{replica.ErrTooLarge, api.CodeTooLarge, "put large parts into objects"},
	{replica.ErrClosed, api.CodeStopping, "the node is stopping: ask another one"},
	{replica.ErrStopped, api.CodeInternal, "this node's ledger has stopped: look at its log, and ask another node"},
	{content.ErrNoHolder, api.CodeNotHeld, "no node that has it can be reached"},
	{content.ErrTooLarge, api.CodeTooLarge, "put it in several objects"},
	{content.ErrFull, api.CodeNoRoom, "this node keeps no more objects: ask another one, or let it with dugnad up --offer-disk"},
	{content.ErrDiskFull, api.CodeNoRoom, "make room on this node's disk, or ask another node"},
	{content.ErrQuota, api.CodeNoRoom, "wait until jobs that name the tenant's objects are forgotten"},
	{content.ErrPins, api.CodeNoRoom, "ask another node"},
	{context.DeadlineExceeded, api.CodeUncertain, "try again"},
	// Whoever asked has gone, or hears that the node is going.
	{context.Canceled, api.CodeStopping, "the node is stopping: ask another one"},
}

// problem turns an error into a problem; nil stays nil.
func problem(err error) error {
	var known *api.Problem
	if err == nil || errors.As(err, &known) {
		return err
	}
	var refused *lint.Refusal
	if errors.As(err, &refused) {
		return api.NewProblem(api.CodeRefused, err.Error(), refused.Help)
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			out := api.NewProblem(p.code, err.Error(), p.help)
			if out.Status == 503 {
				out.RetryAfter = retryAfter
			}
			return out
		}
	}
	return api.NewProblem(api.CodeInternal, err.Error(), "")
}

// refusal is what the ledger does not accept.
func refusal(r ledger.Result) *api.Problem {
	detail := r.Code.String()
	switch {
	case r.What != "" && r.Max > 0 && r.Min == r.Max:
		detail = fmt.Sprintf("%s is %d, it must be %d", r.What, r.Have, r.Max)
	case r.What != "" && (r.Max > 0 || r.Min > 0):
		detail = fmt.Sprintf("%s is %d, from %d to %d", r.What, r.Have, r.Min, r.Max)
	case r.What != "":
		detail = fmt.Sprintf("%s: %s", r.Code, r.What)
	}
	return api.NewProblem(api.Code(r.Code.String()), detail, r.Help())
}
