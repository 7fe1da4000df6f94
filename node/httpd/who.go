package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
)

// asker is who asks, and what they may.
type asker struct {
	// Tenant is whose jobs these are.
	Tenant ledger.TenantID
	// Command is the one of warrant's that is held; Modules are the only modules, as
	// sha256:HEX, nil is any.
	Command string
	Modules []string
	// Operator says that it is the node's operator, who may everything.
	Operator bool
	// IDs are the delegations that a token consists of, Until is its end; none and zero
	// without one.
	IDs   [][32]byte
	Until time.Time
	// scraper says that it is somebody who may read the metrics alone.
	scraper bool
	// grant is what a token gives, nil without one; session is a browser's.
	grant   *warrant.Grant
	session *session
}

type askerKey struct{}

func withAsker(ctx context.Context, a *asker) context.Context {
	return context.WithValue(ctx, askerKey{}, a)
}

// who returns who asks: the handlers' only source of a tenant. Where nobody was found
// it is somebody who may nothing.
func who(ctx context.Context) *asker {
	if a, ok := ctx.Value(askerKey{}).(*asker); ok {
		return a
	}
	return &asker{}
}

// any reports whether the asker holds one of the commands.
func (a *asker) any(commands []string) bool {
	g := warrant.Grant{Command: a.Command}
	return a.Command != "" && slices.ContainsFunc(commands, g.Allows)
}

// module returns a problem when a token is not for a module.
func (a *asker) module(id ledger.ModuleID) error {
	if a.Modules == nil || slices.Contains(a.Modules, module(id)) {
		return nil
	}
	return api.NewProblem(api.CodeTokenNarrower, fmt.Sprintf("the token is not for module %s", module(id)), "use a token that names it, or none in particular: see dugnad tenant token --show")
}

// live returns a problem when the asker's token was revoked, or is over by now. Streams
// look again with each part.
func (a *asker) live(tx ledger.Tx) error {
	if a.session != nil && !a.session.lasts(time.Now()) {
		return sessionOver()
	}
	if !a.Until.IsZero() && time.Now().After(a.Until) {
		return api.NewProblem(api.CodeTokenExpired, "the token was good until "+a.Until.UTC().Format(time.RFC3339), helpExpired)
	}
	for _, id := range a.IDs {
		revoked, err := ledger.Revoked(tx, id)
		if err != nil {
			return err
		}
		if revoked {
			return api.NewProblem(api.CodeTokenRevoked, "the token, or one that it was made of, was revoked", "ask an admin of the grid for another one")
		}
	}
	return nil
}

const (
	helpExpired = "ask whoever gave it to you for another one, and look at this machine's clock"
	helpToken   = "set DUGNAD_TOKEN or --token-file to a tenant's token, which dugnad tenant create makes on the founder's node; for a browser type dugnad web"
)

// tokenProblems gives the errors of package warrant their codes; the first that fits
// counts.
var tokenProblems = []struct {
	err  error
	code api.Code
	help string
}{
	{warrant.ErrFull, api.CodeOverloaded, "wait a moment, or ask another node"},
	{warrant.ErrExpired, api.CodeTokenExpired, helpExpired},
	{warrant.ErrReplayed, api.CodeTokenReplayed, "make another proof for each request; look at this machine's clock"},
	{warrant.ErrOtherCall, api.CodeTokenOtherCall, "make the proof for the host, method and path of the request"},
	{warrant.ErrOtherGrid, api.CodeTokenOtherGrid, "use a token of this grid"},
	{warrant.ErrMalformed, api.CodeTokenInvalid, "copy the token again, whole"},
	{warrant.ErrWidened, api.CodeTokenInvalid, "a token can only be narrowed"},
	{warrant.ErrCondition, api.CodeTokenInvalid, "use a token that this version has made"},
	{warrant.ErrForged, api.CodeTokenInvalid, "use the token as it was given to you"},
}

func tokenProblem(err error) *api.Problem {
	for _, p := range tokenProblems {
		if errors.Is(err, p.err) {
			out := api.NewProblem(p.code, "the token is refused: "+err.Error(), p.help)
			if out.Status == http.StatusServiceUnavailable {
				out.RetryAfter = retryAfter
			}
			return out
		}
	}
	return api.NewProblem(api.CodeTokenInvalid, "the token is refused", "use the token as it was given to you")
}

// permit says who may do an operation: anybody, an operator alone, or who holds one of
// the commands.
type permit struct {
	anybody  bool
	operator bool
	commands []string
}

var (
	mayRead   = permit{commands: []string{warrant.Read, warrant.Run}}
	mayRun    = permit{commands: []string{warrant.Run}}
	mayChange = permit{commands: []string{warrant.All}}
	mayRule   = permit{operator: true}
	mayBegin  = permit{anybody: true}
)

// permits has every operation of the interface. Whoever adds one says here who may.
var permits = map[string]permit{
	submitJob: mayRun, "cancel-job": mayRun, "push-module": mayRun, "put-object": mayRun,
	"plan-job": mayRead, "list-jobs": mayRead, "show-job": mayRead, "explain-job": mayRead, "watch-job": mayRead, "job-schema": mayRead,
	"list-tasks": mayRead, "map-tasks": mayRead, "show-task": mayRead, "follow-task": mayRead, "get-output": mayRead, "get-outputs": mayRead, "get-object": mayRead,
	"list-orders": mayRead, "show-order": mayRead, "explain-order": mayRead,
	"list-modules": mayRead, "show-module": mayRead, "inspect-module": mayRead,
	"open-session": mayRead, "begin-session": mayBegin, "show-session": mayRead, "end-session": mayRead,
	"list-nodes": mayRead, "show-node": mayRead, "list-leases": mayRead,
	"list-secrets": mayRead, "list-custodians": mayRead, "put-secret": mayChange, "drop-secret": mayChange,
	"end-order": mayChange, "pause-order": mayChange, "resume-order": mayChange,
	// A tenant sees itself, and what bounds it is the operator's.
	"list-tenants": mayRead, "show-tenant": mayRead, "get-quota": mayRead, "show-usage": mayRead, "show-shares": mayRead,
	"create-tenant": mayRule, "set-quota": mayRule, "change-quota": mayRule, "change-capabilities": mayRule,
	// Modules belong to nobody, and nodes to their operators.
	"remove-module": mayRule, "drain-node": mayRule, "resume-node": mayRule,
}

// permitted is the middleware that lets an operation be done by who may.
func (s *server) permitted(c huma.Context, next func(huma.Context)) {
	if p := refused(who(c.Context()), c.Operation().OperationID); p != nil {
		s.refusals.WithLabelValues(string(p.Code)).Inc()
		s.fail(c, p)
		return
	}
	next(c)
}

// refused returns why an asker may not do an operation; nil when they may. What is not
// in the table may nobody but the operator.
func refused(a *asker, operation string) *api.Problem {
	p, known := permits[operation]
	switch {
	case p.anybody, a.Operator, a.any(p.commands):
		return nil
	case p.operator, !known:
		return api.NewProblem(api.CodeOperatorOnly, "only the node's operator may do this", "ask through the socket in the node's folder, on its machine: leave out --api and the token")
	}
	return api.NewProblem(
		api.CodeTokenNarrower, fmt.Sprintf("the token is for %s, this needs %s", a.Command, p.commands[0]),
		"use the token that this one was made of: see dugnad tenant token --show",
	)
}
