package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/p2p"
)

// TestOutcast: a node that was expelled before it has joined the ledger does not wait
// for anybody, and its folder is no place for a new grid.
func TestOutcast(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	first := testConfig(filepath.Join(dir, "first"))
	first.Found = true
	founder := openNode(ctx, t, first)
	second := testConfig(filepath.Join(dir, "second"))
	joinNetworkOnly(ctx, t, second, invite(ctx, t, founder))
	key, err := p2p.LoadIdentity(second.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := founder.Host().Expel(key.NodeID()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(ctx, second); !errors.Is(err, p2p.ErrExpelled) || ctx.Err() != nil {
			t.Errorf("an expelled node opens: %v", err)
		}
	}
	for _, name := range []string{"node.key", "membership"} {
		if err := os.Remove(filepath.Join(second.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	second.Found = true
	if _, err := Open(ctx, second); !errors.Is(err, ErrNeverJoined) {
		t.Errorf("a grid is founded in a folder that has left another: %v", err)
	}
	if p2p.Joined(second.Dir) {
		t.Error("there is a grid's key")
	}
}
