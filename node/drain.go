package node

import (
	"context"
	"errors"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
)

// errMoved ends a watch of the node's own record: it has changed.
var errMoved = errors.New("the node's record has changed")

// drainRetry is the wait before the node's own record is looked at again when that
// did not succeed.
const drainRetry = time.Second

// drainer does what the ledger says of a node that drains with a deadline.
type drainer struct {
	node *Node
	// back says that what had not begun was handed back, until what the ledger said
	// then, cut that the deadline has passed and the rest was as well.
	back, cut bool
	until     ledger.Time
}

// keepDrain hands back what this node has leased as soon as the ledger says that it
// drains with a deadline, the rest when that has passed, and takes leases again when
// it is resumed. The ledger keeps the deadline: whoever has set it may be gone, and
// this process may be another one by then. It returns when ctx ends.
func (n *Node) keepDrain(ctx context.Context) {
	d := drainer{node: n}
	for ctx.Err() == nil {
		var is ledger.Node
		index, err := n.book.View(func(tx ledger.Tx) (err error) {
			is, err = ledger.FindNode(tx, n.self())
			return err
		})
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			n.log.Warn("this node does not know whether it drains", "err", err)
		} else {
			d.heed(&is)
		}
		d.await(ctx, index, err)
	}
}

// heed does what the record asks for now.
func (d *drainer) heed(is *ledger.Node) {
	n := d.node
	switch wanted := is.State == ledger.NodeDraining && is.Until > 0; {
	case !wanted && d.back && is.State == ledger.NodeUp:
		n.log.Info("this node takes tasks again")
		*d = drainer{node: n}
		n.executor.Resume()
		return
	case !wanted:
		// One that drains without a deadline any more lets what runs end.
		d.until = 0
		return
	}
	if !d.back || d.until != is.Until {
		n.log.Info("this node drains", "until", time.Unix(0, int64(is.Until)).UTC())
	}
	d.cut = d.cut && d.until == is.Until
	if !d.back {
		n.executor.HandBack()
	}
	d.back, d.until = true, is.Until
	if d.cut || d.left() > 0 {
		return
	}
	d.cut = true
	over, cancel := context.WithCancel(context.Background())
	cancel()
	slots, _ := n.executor.Running()
	n.log.Info("the deadline of the drain has passed", "slots_running", slots)
	if err := n.executor.Drain(over); err != nil {
		n.log.Warn("not all could be handed back yet", "err", err)
	}
}

// left is the time to the deadline.
func (d *drainer) left() time.Duration {
	return time.Unix(0, int64(d.until)).Sub(d.node.config.now())
}

// await returns when there may be something to do: the record has changed behind
// index, the deadline has passed, or ctx ends.
func (d *drainer) await(ctx context.Context, index uint64, failed error) {
	n := d.node
	if failed != nil && !errors.Is(failed, ledger.ErrNotFound) {
		wait, cancel := context.WithTimeout(ctx, drainRetry)
		defer cancel()
		<-wait.Done()
		return
	}
	if d.until > 0 && !d.cut {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.left())
		defer cancel()
	}
	err := n.book.Watch(ctx, ledger.NodePrefix(n.self()), index, func(_ uint64, changes []replica.Change) error {
		if len(changes) > 0 {
			return errMoved
		}
		return nil
	})
	if errors.Is(err, replica.ErrClosed) {
		<-ctx.Done()
	}
}
