package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/control"
)

const (
	// outsideTimeout bounds the questions to the node, dial-backs included.
	outsideTimeout = time.Minute
	// defaultPort is where a node listens when nothing else is said.
	defaultPort = "4610"
)

// outside is what others see of the node that runs here.
type outside struct {
	Node string `json:"node"`
	// Reach is what the node has found out by itself.
	Reach control.Reach `json:"reach"`
	// DialBack is what another member found out just now, nil when none was asked.
	DialBack *control.DialBack `json:"dial_back,omitempty"`
}

// lookOutside asks the node that runs on the folder how others see it, and adds what
// that means to checks. None of it keeps modules from running.
func (a *app) lookOutside(ctx context.Context, flag string, checks *[]check) *outside {
	add := func(name, state, format string, args ...any) {
		*checks = append(*checks, check{name, state, fmt.Sprintf(format, args...)})
	}
	dir, err := nodeDir(flag, a.Environ)
	if err != nil {
		add("node", checkSkipped, "%v", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	c := control.NewClient(dir)
	s, err := c.Status(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		add("node", checkSkipped, "%v", explainNotRunning(err, dir))
		return nil
	case err != nil:
		add("node", checkWeak, "%v", err)
		return nil
	}
	add("node", checkOK, "%s is up in grid %s as %s", s.Node, s.Grid, s.Role)
	out := &outside{Node: s.Node, Reach: s.Reach}
	if !slices.ContainsFunc(s.Members, func(m control.Member) bool { return m.Connected }) {
		add("seen by others", checkSkipped, "no other member is connected that could dial back")
		return out
	}
	d, err := c.DialBack(ctx)
	if err != nil {
		add("seen by others", checkSkipped, "no member has dialled back, try again: %v", err)
		return out
	}
	out.DialBack = &d
	*checks = append(*checks, outsideChecks(s, d)...)
	return out
}

// outsideChecks says what a dial-back means.
func outsideChecks(s control.Status, d control.DialBack) []check {
	checks := []check{{"seen by others", checkOK, fmt.Sprintf("%s sees this node at %s", d.By, d.Observed)}}
	var reached, failed bool
	for _, at := range d.Attempts {
		c := check{"address", checkOK, at.Address + ": reached"}
		switch {
		case at.Problem == "":
			reached = true
		case strings.HasPrefix(at.Problem, notTried):
			c.State, c.Detail = checkSkipped, at.Address+": "+at.Problem
		default:
			failed = true
			c.State, c.Detail = checkWeak, at.Address+": "+at.Problem
		}
		checks = append(checks, c)
	}
	return append(checks, reachability(s, reached, failed))
}

// notTried is what the problem of an address begins with that nobody has dialled.
const notTried = "not tried"

// reachability sums up, with what to do.
func reachability(s control.Status, reached, failed bool) check {
	advice := fmt.Sprintf("open UDP and TCP port %s in the firewall, and forward it on the router or let it do UPnP; "+
		"name a forwarded address with --announce", portOf(s.Address))
	relayed := strings.Join(s.Reach.Relayed, " ")
	c := check{Name: "reachable", State: checkWeak}
	switch {
	case s.Reach.Public == "public":
		c.State, c.Detail = checkOK, "public: from everywhere"
	case reached && s.Reach.Public == "private":
		c.State, c.Detail = checkOK, "private: by the member that was asked, not from everywhere: for that, "+advice
	case reached:
		c.State, c.Detail = checkOK, "by the member that was asked; whether from everywhere is unknown"
	case relayed != "":
		c.Detail = fmt.Sprintf("%s: only through relays, which is slower, at %s: %s", s.Reach.Public, relayed, advice)
	case failed:
		c.Detail = fmt.Sprintf("%s: by nobody that this node has not dialled first: %s", s.Reach.Public, advice)
	default:
		c.Detail = fmt.Sprintf("%s: no address could be tried: %s", s.Reach.Public, advice)
	}
	return c
}

// portOf returns the first port of a node's address.
func portOf(address string) string {
	parts := strings.FieldsFunc(address, func(c rune) bool { return c == '/' || c == ',' })
	for i, p := range parts[:max(len(parts)-1, 0)] {
		if p == "udp" || p == "tcp" {
			return parts[i+1]
		}
	}
	return defaultPort
}
