package node

import (
	"context"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

// Answer asks the node's own loops, one after the other, and its copy of the
// ledger. It returns nil when each has answered, and says which has not when ctx
// ends before.
func (n *Node) Answer(ctx context.Context) error {
	for _, loop := range []struct {
		name  string
		asked chan<- struct{}
	}{{"the watch over offers", n.watching}, {"the keeper of the offer", n.keeping}} {
		if loop.asked == nil {
			continue
		}
		select {
		case loop.asked <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", loop.name, context.Cause(ctx))
		}
	}
	if s := n.scheduler.Load(); s != nil {
		if err := s.Answer(ctx); err != nil {
			return err
		}
	}
	if n.executor != nil {
		if err := n.executor.Answer(ctx); err != nil {
			return err
		}
	}
	// A replica that has stopped for good serves nothing any more, whatever answers.
	if err := n.book.Err(); err != nil {
		return err
	}
	_, err := n.book.View(func(ledger.Tx) error { return nil })
	return err
}
