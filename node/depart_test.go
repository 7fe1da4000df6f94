package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// awaitState waits until a node's own copy of the ledger has it in a state.
func awaitState(ctx context.Context, t *testing.T, n *Node, want ledger.NodeState) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var is ledger.Node
		_, err := n.book.View(func(tx ledger.Tx) (err error) {
			is, err = ledger.FindNode(tx, n.self())
			return err
		})
		if err == nil && is.State == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the node is %s, want %s: %v", is.State, want, err)
		}
	}
}

// setState proposes a state for as long as it takes until there is a leader.
func setState(ctx context.Context, t *testing.T, n *Node, state ledger.NodeState) {
	t.Helper()
	if r, _, err := n.book.Do(ctx, &ledger.SetNodeState{Node: n.self(), State: state}); err != nil || r.Code != ledger.CodeOK {
		t.Fatalf("%+v, %v", r, err)
	}
	awaitState(ctx, t, n, state)
}

// TestDepart: a node that has departed is away until it is opened again, and so is
// one that was cut short; one that an operator has drained drains on.
func TestDepart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := testConfig(filepath.Join(t.TempDir(), "node"))
	c.Found = true
	n := openNode(ctx, t, c)
	for _, tt := range []struct {
		name           string
		before         func(n *Node)
		departed, back ledger.NodeState
	}{
		{"in good order", func(*Node) {}, ledger.NodeUnreachable, ledger.NodeUp},
		{"cut short", func(n *Node) {
			// As announceDeparture leaves it.
			if err := os.WriteFile(n.departingMark(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			setState(ctx, t, n, ledger.NodeDraining)
		}, ledger.NodeDraining, ledger.NodeUp},
		{"drained by an operator", func(n *Node) { setState(ctx, t, n, ledger.NodeDraining) }, ledger.NodeDraining, ledger.NodeDraining},
	} {
		awaitState(ctx, t, n, ledger.NodeUp)
		setState(ctx, t, n, ledger.NodeUp) // there is a leader
		if err := n.Answer(ctx); err != nil {
			t.Errorf("%s: it does not answer: %v", tt.name, err)
		}
		tt.before(n)
		if err := n.Depart(ctx); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		awaitState(ctx, t, n, tt.departed)
		ended, stop := context.WithCancel(ctx)
		stop()
		if err := n.Answer(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: its loops have ended, and it answers: %v", tt.name, err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = openNode(ctx, t, c)
		awaitState(ctx, t, n, tt.back)
		awaitNoMark(ctx, t, n)
	}
}

// awaitNoMark waits until the node has forgotten that it had left.
func awaitNoMark(ctx context.Context, t *testing.T, n *Node) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n.departing() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the mark of its departure stays")
		}
	}
}
