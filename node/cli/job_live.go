package cli

import (
	"context"
	"fmt"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// live prints what a task writes as it comes, until it has ended. What is not output is
// said on stderr.
func (l *logs) live(ctx context.Context, index uint32) error {
	attempts := 0
	return l.client.Logs(ctx, l.id, index, client.LogQuery{}, func(e api.Log) error {
		switch e.Kind {
		case api.LogOutput:
			w := l.out
			if e.Stream == "stderr" {
				w = l.errs
			}
			if _, err := w.Write(e.Data()); err != nil {
				return fmt.Errorf("printing a task's output: %w", err)
			}
		case api.LogAttempt:
			if attempts++; attempts > 1 {
				l.say("task %d begins anew, on node %s", index, printable(e.Node))
			}
		case api.LogLeftOut:
			l.say("%s of %s are left out here", plural(e.Bytes, "byte"), printable(e.Stream))
		case api.LogDelayed:
			l.say("output of task %d is delayed: %s", index, printable(e.Reason))
		}
		return nil
	})
}
