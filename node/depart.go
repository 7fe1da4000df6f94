package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
)

const (
	// departTimeout bounds each command to the ledger of a node that goes.
	departTimeout = 3 * time.Second
	// departingName marks the data folder of a node that drains itself because it
	// goes: one that ends in the middle of it is up again when it comes back, unlike
	// one that an operator has drained.
	departingName = "departing"
)

// Depart is what a node does before Close so that nobody has to miss it: it takes
// no more leases, hands back what has not begun, lets what runs end until ctx ends,
// hands back the rest, tells the ledger that it is away, and hands leadership over.
// The ledger knows it as draining, then as unreachable, until it is opened again;
// one that an operator has drained stays so. The node can only be closed then.
//
// An error says what could not be done; the grid finds it out by itself, as after a
// loss of power, and what has ended is in the executor's journal.
func (n *Node) Depart(ctx context.Context) error {
	n.stopEnrolling()
	<-n.enrolled
	var errs []error
	told, err := n.announceDeparture()
	if n.steward.State().Withheld != "" {
		// What is frozen does not end by itself.
		over, cancel := context.WithCancel(ctx)
		cancel()
		ctx = over
	}
	if n.executor != nil {
		errs = append(errs, err, n.executor.Drain(ctx), n.awaitNoLease())
	}
	// An offer after this would say that the node is back.
	n.cancel()
	n.running.Wait()
	errs = append(errs, n.publisher.Close())
	if told {
		errs = append(errs, n.announceAbsence())
	}
	if s := n.book.Status(); s.Leads {
		if err := n.book.Resign(); err != nil {
			errs = append(errs, err)
		} else if !n.book.Status().Leads {
			n.log.Info("leadership is handed over")
		}
	}
	return errors.Join(errs...)
}

// Busy returns how many slots the tasks of this node use now.
func (n *Node) Busy() uint32 {
	if n.executor == nil {
		return 0
	}
	slots, _ := n.executor.Running()
	return slots
}

func (n *Node) departingMark() string { return filepath.Join(n.config.Dir, departingName) }

// departing reports whether the node has drained itself and was not back since.
func (n *Node) departing() bool {
	_, err := os.Stat(n.departingMark())
	return err == nil
}

// forgetDeparture removes the mark.
func (n *Node) forgetDeparture() error {
	if err := os.Remove(n.departingMark()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// announceDeparture drains a node that is up, and waits until its own replica has
// every lease that was granted before. told says that it did.
func (n *Node) announceDeparture() (told bool, err error) {
	var state ledger.NodeState
	if _, err = n.book.View(func(tx ledger.Tx) error {
		is, err := ledger.FindNode(tx, n.self())
		state = is.State
		return err
	}); errors.Is(err, ledger.ErrNotFound) || err == nil && state != ledger.NodeUp {
		return false, nil
	}
	if err == nil {
		err = os.WriteFile(n.departingMark(), nil, 0o600)
	}
	if err == nil {
		err = n.setOwnState(ledger.NodeDraining)
	}
	if err != nil {
		return false, fmt.Errorf("say that this node goes: %w", err)
	}
	return true, nil
}

// announceAbsence tells the ledger that the node does not answer from now on.
func (n *Node) announceAbsence() error {
	if err := n.setOwnState(ledger.NodeUnreachable); err != nil {
		return fmt.Errorf("say that this node is away: %w", err)
	}
	return n.forgetDeparture()
}

func (n *Node) setOwnState(state ledger.NodeState) error {
	ctx, cancel := context.WithTimeout(context.Background(), departTimeout)
	defer cancel()
	r, index, err := n.book.Do(ctx, &ledger.SetNodeState{Node: n.self(), State: state})
	switch {
	case err != nil:
		return err
	case r.Code != ledger.CodeOK:
		return fmt.Errorf("%s: %s", r.Code, r.What)
	}
	return n.book.Wait(ctx, index)
}

// errNone ends a watch.
var errNone = errors.New("none is left")

// awaitNoLease returns when the ledger knows no lease of this node: one that was
// granted while it began to drain is refused a moment later.
func (n *Node) awaitNoLease() error {
	ctx, cancel := context.WithTimeout(context.Background(), departTimeout)
	defer cancel()
	look := func() (uint64, error) {
		return n.book.View(func(tx ledger.Tx) error {
			is, err := ledger.FindNode(tx, n.self())
			if errors.Is(err, ledger.ErrNotFound) || err == nil && is.Leases == 0 {
				err = errNone
			}
			return err
		})
	}
	for {
		index, err := look()
		if err == nil {
			err = n.book.Watch(ctx, ledger.LeasePrefix(n.self()), index, func(uint64, []replica.Change) error {
				_, err := look()
				return err
			})
		}
		switch {
		case errors.Is(err, errNone):
			return nil
		case errors.Is(err, replica.ErrTooOld):
		default:
			return fmt.Errorf("hand back leases: %w", err)
		}
	}
}
