package ledgertest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/hashicorp/raft"
)

// ClusterConfig says how a Cluster is made.
type ClusterConfig struct {
	// Seed drives the network's delays.
	Seed uint64
	// Machine is the state machine; nil is the Toy.
	Machine replica.Machine
	// Configure changes a member's configuration before it is opened.
	Configure func(*replica.Config)
	// Open gives the stores of a member, each time that it starts, and a
	// function that closes them. nil keeps them in memory.
	Open func(id string) (replica.Store, replica.RaftLog, func() error, error)
}

// Cluster is a grid in one process, on an in-memory network. Its members are
// named m0, m1 …, which is also where they listen.
type Cluster struct {
	Network *Network

	t      testing.TB
	config ClusterConfig
	dir    string

	mu      sync.Mutex
	members map[string]*member
}

// member is what stays of a member while it does not run.
type member struct {
	replica *replica.Replica
	store   *MemoryStore
	log     *raft.InmemStore
	close   func() error
	// storeDisk and logDisk have the faults of what it keeps, in memory or not.
	storeDisk, logDisk Disk
}

// Deadline is how long a test waits for what must happen.
const Deadline = 60 * time.Second

// NewCluster returns a cluster without members. All are closed at the end of
// the test.
func NewCluster(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	if config.Machine == nil {
		config.Machine = Toy{}
	}
	c := &Cluster{Network: NewNetwork(config.Seed), t: t, config: config, dir: t.TempDir(), members: map[string]*member{}}
	t.Cleanup(c.Close)
	return c
}

// Name returns the name of member i.
func Name(i int) string { return fmt.Sprintf("m%d", i) }

// Quick sets timings for tests: an election takes some hundred milliseconds.
func Quick(c *replica.Config) {
	c.HeartbeatTimeout, c.LeaseTimeout, c.CommitTimeout = 200*time.Millisecond, 100*time.Millisecond, 10*time.Millisecond
	c.RPCTimeout, c.HealInterval = 2*time.Second, 20*time.Millisecond
	c.StableAfter, c.DeadAfter = 50*time.Millisecond, time.Second
}

// Config returns member i's configuration, with new or kept stores.
func (c *Cluster) Config(i int) (replica.Config, func() error, error) {
	id := Name(i)
	config := replica.Default()
	Quick(&config)
	config.ID, config.Address, config.Dir = id, id, filepath.Join(c.dir, id)
	config.Machine = c.config.Machine
	config.Dial = c.Network.Dial(id)
	closeStores := func() error { return nil }
	m := c.member(id)
	if c.config.Open != nil {
		var err error
		if config.Store, config.RaftLog, closeStores, err = c.config.Open(id); err != nil {
			return config, nil, err
		}
	} else {
		config.Store, config.RaftLog = m.store, m.log
	}
	config.Store, config.RaftLog = diskStore{config.Store, &m.storeDisk}, diskLog{config.RaftLog, &m.logDisk}
	if c.config.Configure != nil {
		c.config.Configure(&config)
	}
	return config, closeStores, nil
}

func (c *Cluster) member(id string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[id]
	if m == nil {
		m = &member{store: NewMemoryStore(), log: raft.NewInmemStore()}
		c.members[id] = m
	}
	return m
}

// Store returns member i's store in memory.
func (c *Cluster) Store(i int) *MemoryStore { return c.member(Name(i)).store }

// Log returns member i's Raft log in memory.
func (c *Cluster) Log(i int) *raft.InmemStore { return c.member(Name(i)).log }

// StoreDisk returns the disk on which member i has its store.
func (c *Cluster) StoreDisk(i int) *Disk { return &c.member(Name(i)).storeDisk }

// LogDisk returns the disk on which member i has its Raft log.
func (c *Cluster) LogDisk(i int) *Disk { return &c.member(Name(i)).logDisk }

// Open starts member i, for the first time or again.
func (c *Cluster) Open(i int) *replica.Replica {
	c.t.Helper()
	r, err := c.TryOpen(i)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// TryOpen is Open that returns its error.
func (c *Cluster) TryOpen(i int) (*replica.Replica, error) {
	config, closeStores, err := c.Config(i)
	if err != nil {
		return nil, err
	}
	if config.Listener == nil {
		if config.Listener, err = c.Network.Listen(config.Address); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	r, err := replica.Open(ctx, config)
	if err != nil {
		_ = closeStores()
		return nil, err
	}
	m := c.member(config.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	m.replica, m.close = r, closeStores
	return r, nil
}

// Found opens member 0 and n-1 others, and waits until voters of them vote, and
// each of those knows it: see "What Raft's library cannot do" in replica/DESIGN.md.
func (c *Cluster) Found(n, voters int) []*replica.Replica {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	list := make([]*replica.Replica, n)
	for i := range list {
		list[i] = c.Open(i)
	}
	if err := list[0].Found(ctx); err != nil {
		c.t.Fatal(err)
	}
	founder := list[0].Members()[0].Address
	var joining sync.WaitGroup
	for _, r := range list[1:] {
		joining.Go(func() {
			if err := r.Join(ctx, []string{founder}); err != nil {
				c.t.Error(err)
			}
		})
	}
	joining.Wait()
	c.Until("voters are chosen, and know it", func() bool {
		for _, r := range list {
			if (r == list[0] || r.Status().Voter) && c.Voters(r) != voters {
				return false
			}
		}
		return c.Voters(list[0]) == voters
	})
	return list
}

// Voters counts the voters that r knows.
func (c *Cluster) Voters(r *replica.Replica) int {
	n := 0
	for _, m := range r.Members() {
		if m.Voter {
			n++
		}
	}
	return n
}

// Stop closes member i; its stores stay.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	m := c.member(Name(i))
	c.mu.Lock()
	r, closeStores := m.replica, m.close
	m.replica = nil
	c.mu.Unlock()
	if r == nil {
		return
	}
	if err := r.Close(); err != nil {
		c.t.Error(err)
	}
	if err := closeStores(); err != nil {
		c.t.Error(err)
	}
}

// Running returns member i, nil when it does not run.
func (c *Cluster) Running(i int) *replica.Replica {
	m := c.member(Name(i))
	c.mu.Lock()
	defer c.mu.Unlock()
	return m.replica
}

// Leader returns the number of a member among n that leads, as it says; it
// waits for one.
func (c *Cluster) Leader(n int) int {
	c.t.Helper()
	leader := -1
	c.Until("a member leads", func() bool {
		for i := range n {
			if r := c.Running(i); r != nil && r.Status().Leads {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// Until waits until done, and fails the test when that takes too long.
func (c *Cluster) Until(what string, done func() bool) {
	c.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(Deadline)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			c.mu.Lock()
			for id, m := range c.members {
				if m.replica != nil {
					c.t.Logf("%s: %+v, members %+v", id, m.replica.Status(), m.replica.Members())
				}
			}
			c.mu.Unlock()
			c.t.Fatalf("waited %v until %s", Deadline, what)
		}
	}
}

// Close closes all members.
func (c *Cluster) Close() {
	c.Network.Heal()
	c.mu.Lock()
	n := len(c.members)
	c.mu.Unlock()
	var closing sync.WaitGroup
	for i := range n {
		closing.Go(func() { c.Stop(i) })
	}
	closing.Wait()
}
