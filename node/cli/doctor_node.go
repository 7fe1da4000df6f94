package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger/store"
	"github.com/dugnad/dugnad/node/book"
	"github.com/dugnad/dugnad/node/control"
)

const (
	// clockWell is how far clocks may be apart, clockMost how far before leases of a
	// node run out while it holds them: half of one.
	clockWell = time.Second
	clockMost = 5 * time.Second
)

// checkNode judges what a node says of itself.
func checkNode(s *control.Status) (checks []check) {
	if s.Expelled != nil {
		checks = append(checks, found("member", checkFailed, "this node was expelled at "+clock(*s.Expelled),
			"no member speaks with it", "ask an admin for a new invitation, and start it with dugnad up --join"))
	}
	switch {
	case s.Ledger.Problem != "":
		checks = append(checks, found("ledger", checkFailed, s.Ledger.Problem, "this node's copy of the ledger stands still", "free disk if it is full; if its files are damaged, join again with a new folder"))
	case s.Ledger.Leader == "":
		checks = append(checks, found("ledger", checkFailed, fmt.Sprintf("no leader is known, at index %d", s.Ledger.Applied),
			"nothing can be submitted or placed until most voters meet again; what runs goes on", "start the other voters, and look whether this node is connected: dugnad status; if they are gone for good, see dugnad ledger recover --help"))
	default:
		checks = append(checks, fine("ledger", "at index %d, %s leads", s.Ledger.Applied, s.Ledger.Leader))
	}
	return checks
}

// checkupChecks says what a checkup means; limits of the system are below root.
func checkupChecks(c control.Checkup, root string) []check {
	checks := []check{checkClock(c.Peers), checkVersions(c.Version, c.Peers), checkBook(c.Book), checkAccounts(c.Accounts)}
	if c.Slots > 0 && c.MemoryBytes > 0 {
		checks = append(checks, checkMemory(root, c.MemoryBytes))
	}
	return checks
}

// checkClock compares this node's clock with those of its peers: most are right.
func checkClock(peers []control.Peer) check {
	const name, setIt = "clock", "have the machine set its clock by NTP: timedatectl set-ntp true"
	var offsets []time.Duration
	var worst *control.Peer
	distance := func(p *control.Peer) float64 { return max(math.Abs(p.OffsetSeconds)-p.ErrorSeconds, 0) }
	for i := range peers {
		p := &peers[i]
		if p.Problem != "" {
			continue
		}
		// What cannot be told from no difference is none.
		offsets = append(offsets, time.Duration(math.Copysign(distance(p), p.OffsetSeconds)*float64(time.Second)))
		if worst == nil || distance(p) > distance(worst) {
			worst = p
		}
	}
	if len(offsets) == 0 {
		return skipped(name, "no other member has told its time")
	}
	slices.Sort(offsets)
	middle := offsets[len(offsets)/2]
	detail := fmt.Sprintf("this node's clock is %s that of others, of whom %d answered", aheadOf(-middle), len(offsets))
	switch {
	case middle.Abs() > clockMost:
		return found(name, checkFailed, detail, "what this node submits is refused, and its leases run out while it holds them", setIt)
	case middle.Abs() > clockWell:
		return found(name, checkWeak, detail, "leases run out early or late, and times in events are wrong", setIt)
	case distance(worst) > clockWell.Seconds():
		return found(name, checkWeak, fmt.Sprintf("the clock of %s is %s this node's and others'", peerName(worst), aheadOf(time.Duration(worst.OffsetSeconds*float64(time.Second)))),
			"that node's leases run out early or late", "tell its operator to have the machine set its clock by NTP")
	}
	return fine(name, "%s", detail)
}

// aheadOf says how one clock stands to another.
func aheadOf(d time.Duration) string {
	switch {
	case d.Abs() < time.Millisecond:
		return "the same as"
	case d < 0:
		return d.Abs().Round(time.Millisecond).String() + " behind"
	}
	return d.Round(time.Millisecond).String() + " ahead of"
}

// peerName is what a member calls itself, and its id.
func peerName(p *control.Peer) string {
	if p.Name == "" {
		return p.Node
	}
	return p.Name + " (" + p.Node + ")"
}

// checkVersions compares this node's version with those of its peers.
func checkVersions(own string, peers []control.Peer) check {
	const name = "versions"
	count, silent := map[string]int{own: 1}, 0
	for i := range peers {
		if peers[i].Version == "" {
			silent++
			continue
		}
		count[peers[i].Version]++
	}
	var list []string
	for _, v := range sortedKeys(count) {
		list = append(list, fmt.Sprintf("%s on %s", v, plural(uint64(count[v]), "node")))
	}
	detail := strings.Join(list, ", ") + "; this node has " + own
	switch {
	case len(peers) == 0:
		return skipped(name, "no other member is connected; this node has %s", own)
	case len(count) > 1:
		return found(name, checkWeak, detail, "what only the newer ones know stops the ledger of the older ones when somebody asks for it", "update all nodes to the same version, one after the other")
	case silent > 0:
		return found(name, checkWeak, fmt.Sprintf("%s; unknown on %s: %s", detail, plural(uint64(silent), "node"), firstProblem(peers)), "they may be too old or too busy to answer", "try again, and look at these nodes")
	}
	return fine(name, "%s", detail)
}

func firstProblem(peers []control.Peer) string {
	for i := range peers {
		if peers[i].Problem != "" {
			return peerName(&peers[i]) + ": " + peers[i].Problem
		}
	}
	return "no reason is known"
}

// checkBook judges what the node has found in its ledger.
func checkBook(b control.Book) check {
	if b.Problem != "" {
		return found("book", checkFailed, fmt.Sprintf("at index %d: %s", b.Index, b.Problem),
			"this node's copy of the ledger contradicts itself, and what it says cannot be relied on", bookAdvice)
	}
	return fine("book", "all that is stored fits together at index %d, read in %.2f s", b.Index, b.Seconds)
}

// bookAdvice is what to do about a ledger that is wrong.
const bookAdvice = "run dugnad doctor on another node: if that one is well, stop this node and join again with a new folder; if it is not, keep a dugnad backup and report this"

// checkAccounts judges the sums of the tenants' accounts.
func checkAccounts(list []control.Account) check {
	const name = "accounts"
	var fuel uint64
	for _, a := range list {
		if a.FuelDays > a.Fuel {
			return found(name, checkFailed, fmt.Sprintf("the days of tenant %s sum up to %d fuel, altogether it has used %d", a.Tenant, a.FuelDays, a.Fuel),
				"what this node says of costs is wrong", bookAdvice)
		}
		fuel += a.Fuel
	}
	return fine(name, "the days of %s sum up, %s fuel altogether", plural(uint64(len(list)), "tenant"), fuelAmount(fuel))
}

// checkStopped checks the ledger of a node that does not run.
func checkStopped(ctx context.Context, dir string) []check {
	if has, err := book.Exists(dir); err != nil || !has {
		return nil
	}
	began := time.Now()
	report, err := book.Check(ctx, dir, slog.New(slog.DiscardHandler))
	disk := checkDisk(dir)
	switch {
	case errors.Is(err, store.ErrLocked):
		return append(disk, skipped("book", "%v", err))
	case err != nil:
		return append(disk, found("book", checkFailed, explainLedger(err, dir).Error(), "the node cannot start with this ledger, or what it says cannot be relied on", bookAdvice))
	}
	return append(disk, checkBook(control.Book{Index: report.Index, Seconds: time.Since(began).Seconds()}))
}
