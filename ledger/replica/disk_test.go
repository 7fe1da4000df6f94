package replica_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/disk"
	"github.com/dugnad/dugnad/ledger/store"
)

// onDisk keeps the members of a cluster in Badger.
func onDisk(t testing.TB, sync bool) func(id string) (replica.Store, replica.RaftLog, func() error, error) {
	dir := t.TempDir()
	return func(id string) (replica.Store, replica.RaftLog, func() error, error) {
		config := store.Default(filepath.Join(dir, id, "store"))
		config.SyncLog, config.DiskReserveBytes = sync, 0
		s, err := store.Open(context.Background(), config)
		if err != nil {
			return nil, nil, nil, err
		}
		d := disk.Store{Store: s}
		return d, d.Raft(), s.Close, nil
	}
}

func TestOnDisk(t *testing.T) {
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Open: onDisk(t, true), Configure: func(c *replica.Config) { c.VotersMax = 3 }})
	list := c.Found(4, 3)
	for i, r := range list {
		add(t, r, uint64(i), 1, "k")
	}
	for i := range list {
		c.Stop(i)
	}
	for i := range list {
		c.Open(i)
	}
	for i := range list {
		if sum, _ := add(t, c.Running(i), uint64(i), 2, "k"); sum != uint64(5+i) {
			t.Errorf("sum is %d", sum)
		}
	}
}

func TestLinearizableOnDisk(t *testing.T) {
	seed := uint64(3)
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	linearizable(t, seed, func(c *ledgertest.ClusterConfig) { c.Open = onDisk(t, false) })
}
