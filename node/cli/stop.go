package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/dugnad/dugnad/node"
)

const (
	// stopTimeout is how long tasks that run may go on when the node is told to stop,
	// unless --stop-timeout says otherwise.
	stopTimeout = 30 * time.Second
	// stopEvery is how often is said what a node that stops waits for.
	stopEvery = 5 * time.Second
)

// stopNode ends a node in good order. patience is for the tasks that run. What the
// grid could not be told is no error: it finds that out.
func stopNode(n *node.Node, patience time.Duration, log *slog.Logger) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log.Info(stopText(n.Busy(), patience) + "; another signal stops at once")
	departed := make(chan error, 1)
	go func() { departed <- n.Depart(ctx) }()
	ticker := time.NewTicker(stopEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-departed:
			if err != nil {
				log.Warn("the grid could not be told everything, and will find out", "err", err)
			}
			err = n.Close()
			log.Info("stopped", "after", time.Since(began).Round(time.Millisecond))
			return err
		case now := <-ticker.C:
			log.Info(stopText(n.Busy(), patience-now.Sub(began)))
		}
	}
}

// stopText says what a node that stops waits for.
func stopText(busy uint32, left time.Duration) string {
	switch {
	case busy == 0:
		return "stopping: waiting for the ledger"
	case left <= 0:
		return "stopping: ending the tasks that run"
	}
	return fmt.Sprintf("stopping: tasks run on %s, for up to %s more", plural(uint64(busy), "slot"), roughly(left+time.Second))
}

// serviceStatus says in a line how a node is.
func serviceStatus(n *node.Node) string {
	s := n.Status()
	place := "follows"
	switch {
	case s.Ledger.Problem != "":
		place = "cannot write its ledger: " + s.Ledger.Problem
	case s.Ledger.Leads:
		place = "leads"
	case s.Ledger.Leader == "":
		place = "knows no leader"
	}
	connected := 0
	for _, m := range s.Members {
		if m.Connected {
			connected++
		}
	}
	return fmt.Sprintf("%s in grid %s, %s, %d of %s connected, %s busy",
		s.Role, s.Grid, place, connected, plural(uint64(len(s.Members)), "other member"), plural(uint64(n.Busy()), "slot"))
}
