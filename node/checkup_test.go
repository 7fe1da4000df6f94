package node

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestCheckup: a node compares version and clock with its peers, and reads its ledger.
func TestCheckup(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
	defer cancel()
	list, _ := grid(ctx, t, 1)
	late := testConfig(filepath.Join(t.TempDir(), "late"))
	late.Invitation, late.Version, late.Host.Name = invite(ctx, t, list[0]), "other", "late"
	late.now = func() time.Time { return time.Now().Add(-time.Hour) }
	other := openNode(ctx, t, late)
	c, err := list[0].Checkup(ctx)
	if err != nil || len(c.Peers) != 1 || c.Book.Problem != "" || c.Book.Index == 0 || c.More != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	// How long the answer takes is no measure: half of that is how far it may be wrong.
	if p := c.Peers[0]; p.Version != "other" || p.Name != "late" || p.Problem != "" || p.OffsetSeconds > -3600+p.ErrorSeconds+1 || p.OffsetSeconds < -3600-p.ErrorSeconds-1 {
		t.Errorf("peer %+v", p)
	}
	if c, err := other.Checkup(ctx); err != nil || len(c.Peers) != 1 || c.Peers[0].OffsetSeconds < 3500 || len(c.Accounts) == 0 {
		t.Errorf("the other way: %+v, %v", c, err)
	}
	other.checking.Lock()
	defer other.checking.Unlock()
	if _, err := other.Checkup(ctx); !errors.Is(err, errCheckup) {
		t.Errorf("a second one: %v", err)
	}
}
