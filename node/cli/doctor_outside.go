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
	// Checkup is what the node has found out about its ledger and its peers.
	Checkup control.Checkup `json:"checkup"`
}

// lookOutside asks the node that runs on the folder how others see it, and adds what
// that means to checks. None of it keeps modules from running.
func (a *app) lookOutside(ctx context.Context, flag string, checks *[]check) *outside {
	add := func(c ...check) { *checks = append(*checks, c...) }
	dir, err := nodeDir(flag, a.Environ)
	if err != nil {
		add(skipped("node", "%v", err))
		return nil
	}
	c := control.NewClient(dir)
	asking, cancel := context.WithTimeout(ctx, outsideTimeout)
	s, err := c.Status(asking)
	cancel()
	switch {
	case errors.Is(err, control.ErrNotRunning):
		add(skipped("node", "%v", explainNotRunning(err, dir)))
		add(checkStopped(ctx, dir)...)
		return nil
	case err != nil:
		add(found("node", checkFailed, err.Error(), "the node on "+dir+" is there and does not answer", "look at its log, and start it again"))
		return nil
	}
	add(fine("node", "%s is up in grid %s as %s", s.Node, s.Grid, s.Role))
	add(checkNode(&s)...)
	out := &outside{Node: s.Node, Reach: s.Reach}
	add(lookBack(ctx, c, s, out)...)
	if out.Checkup, err = c.Checkup(ctx); err != nil {
		add(skipped("checkup", "%v", err))
		return out
	}
	add(checkupChecks(out.Checkup, "/")...)
	add(checkDisk(dir)...)
	return out
}

// lookBack has another member dial the node back.
func lookBack(ctx context.Context, c *control.Client, s control.Status, out *outside) []check {
	if !slices.ContainsFunc(s.Members, func(m control.Member) bool { return m.Connected }) {
		return []check{skipped("seen by others", "no other member is connected that could dial back")}
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	d, err := c.DialBack(ctx)
	if err != nil {
		return []check{skipped("seen by others", "no member has dialled back, try again: %v", err)}
	}
	out.DialBack = &d
	return outsideChecks(s, d)
}

// outsideChecks says what a dial-back means.
func outsideChecks(s control.Status, d control.DialBack) []check {
	checks := []check{fine("seen by others", "%s sees this node at %s", d.By, d.Observed)}
	var reached, failed bool
	for _, at := range d.Attempts {
		c := fine("address", "%s: reached", at.Address)
		switch {
		case at.Problem == "":
			reached = true
		case strings.HasPrefix(at.Problem, notTried):
			c.State, c.Detail = checkSkipped, at.Address+": "+at.Problem
		default:
			failed = true
			c = found("address", checkWeak, at.Address+": "+at.Problem, "nobody reaches this node at that address", reachAdvice(s))
		}
		checks = append(checks, c)
	}
	return append(checks, reachability(s, reached, failed))
}

// notTried is what the problem of an address begins with that nobody has dialled.
const notTried = "not tried"

// reachAdvice is what to do for a node that cannot be reached.
func reachAdvice(s control.Status) string {
	return fmt.Sprintf("open UDP and TCP port %s in the firewall, and forward it on the router or let it do UPnP; "+
		"name a forwarded address with --announce", portOf(s.Address))
}

// reachability sums up, with what to do.
func reachability(s control.Status, reached, failed bool) check {
	const name = "reachable"
	advice, relayed := reachAdvice(s), strings.Join(s.Reach.Relayed, " ")
	switch {
	case s.Reach.Public == "public":
		return fine(name, "public: from everywhere")
	case reached && s.Reach.Public == "private":
		return fine(name, "private: by the member that was asked, not from everywhere: for that, %s", advice)
	case reached:
		return fine(name, "by the member that was asked; whether from everywhere is unknown")
	case relayed != "":
		return found(name, checkWeak, fmt.Sprintf("%s: only through relays, at %s", s.Reach.Public, relayed), "what others send goes by way of a third node, which is slower", advice)
	case failed:
		return found(name, checkWeak, s.Reach.Public+": by nobody that this node has not dialled first", "members behind routers of their own do not find this node", advice)
	}
	return found(name, checkWeak, s.Reach.Public+": no address could be tried", "it is not known whether anybody reaches this node", advice)
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
