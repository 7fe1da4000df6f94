package replica

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// engine is the member's Raft instance. Every member has one; in most of them
// it waits, without a configuration, to be made a voter.
type engine struct {
	replica   *Replica
	snapshots *snapshots

	// changing is held while one instance takes the place of another, before mu.
	changing sync.Mutex
	mu       sync.RWMutex
	current  *instance
}

func (e *engine) config() *raft.Config {
	c, own := raft.DefaultConfig(), &e.replica.config
	c.LocalID = raft.ServerID(own.ID)
	c.HeartbeatTimeout, c.ElectionTimeout = own.HeartbeatTimeout, own.HeartbeatTimeout
	c.LeaderLeaseTimeout, c.CommitTimeout = own.LeaseTimeout, own.CommitTimeout
	c.MaxAppendEntries = own.AppendEntriesMax
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = own.SnapshotInterval, own.SnapshotEntries, own.TrailingEntries
	c.NoSnapshotRestoreOnStart = true
	c.NoLegacyTelemetry = true
	c.ShutdownOnRemove = false
	c.Logger = newRaftLog(e.replica.log)
	return c
}

// start makes an instance, after it has written a first configuration if that
// is not nil.
func (e *engine) start(bootstrap *raft.Configuration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.replica
	if r.ctx.Err() != nil {
		return ErrClosed
	}
	config := e.config()
	i := &instance{layer: newStreamLayer(r), ending: make(chan struct{}), gone: make(chan struct{})}
	i.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addressBook{r.book}, Logger: config.Logger, Stream: i.layer, MaxPool: poolMax, Timeout: r.config.RPCTimeout,
	})
	var err error
	if bootstrap != nil {
		err = raft.BootstrapCluster(config, r.config.RaftLog, r.config.RaftLog, e.snapshots, i.trans, *bootstrap)
	}
	started := make(chan struct{})
	guarded := guardedLog{r.config.RaftLog, r.stall, e.snapshots.last, new(cut), r.fault, started, i.ending}
	if err == nil {
		i.Raft, err = raft.NewRaft(config, applier{r.fsm, i.ending}, guarded, guarded, e.snapshots, raftTransport{i.trans})
	}
	if err != nil {
		_ = i.layer.Close()
		return errors.Join(fmt.Errorf("start raft: %w", err), i.trans.Close())
	}
	close(started)
	observed := make(chan raft.Observation, 64)
	i.RegisterObserver(raft.NewObserver(observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	}))
	e.current = i
	i.watching.Go(func() { e.watch(i, observed) })
	return nil
}

// stop ends the instance and waits for it.
func (e *engine) stop() {
	e.mu.Lock()
	i := e.current
	e.current = nil
	e.mu.Unlock()
	if i != nil {
		i.shutdown()
		i.watching.Wait()
	}
}

// halt ends the instance and leaves it in its place.
func (e *engine) halt() {
	if i := e.get(); i != nil {
		i.shutdown()
	}
}

// found starts again with a first configuration.
func (e *engine) found(bootstrap raft.Configuration) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.stop()
	err := e.start(&bootstrap)
	if err != nil {
		err = errors.Join(err, e.start(nil))
	}
	return err
}

// ensure starts an instance where an earlier start has failed.
func (e *engine) ensure() {
	if e.get() != nil || e.replica.unusable() != nil {
		return
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	if e.get() != nil {
		return
	}
	if err := e.start(nil); err != nil && !errors.Is(err, ErrClosed) {
		e.replica.log.Error("raft does not start, trying again", "err", err)
	}
}

// reset makes the member a stranger to Raft again, if it is still needed: log and
// snapshot go, term and vote stay, so that it never votes twice. After an error
// all is as it was, or ensure goes on.
func (e *engine) reset(needed func() bool) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if !needed() {
		return nil
	}
	e.stop()
	return errors.Join(e.forget(), e.start(nil))
}

// forget deletes log and snapshot.
func (e *engine) forget() error {
	log := e.replica.config.RaftLog
	first, err := log.FirstIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if last > 0 {
		if err := log.DeleteRange(first, last); err != nil {
			return fmt.Errorf("delete log: %w", err)
		}
	}
	return e.snapshots.forget()
}

// get returns the instance, nil when there is none.
func (e *engine) get() *instance {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.current
}

// leader returns the leader that Raft knows.
func (e *engine) leader() (id, address string) {
	instance := e.get()
	if instance == nil {
		return "", ""
	}
	a, i := instance.LeaderWithID()
	return string(i), string(a)
}

// leads reports whether this member is the leader, as far as it knows.
func (e *engine) leads() bool {
	instance := e.get()
	return instance != nil && instance.State() == raft.Leader
}

// alone reports whether this member is the only voter.
func (e *engine) alone() bool {
	servers, _ := e.configuration()
	own, voters := false, 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
			own = own || string(s.ID) == e.replica.config.ID
		}
	}
	return own && voters == 1
}

// configuration returns Raft's latest configuration, committed or not.
func (e *engine) configuration() (servers []raft.Server, index uint64) {
	instance := e.get()
	if instance == nil {
		return nil, 0
	}
	f := instance.GetConfiguration()
	if f.Error() != nil {
		return nil, 0
	}
	return f.Configuration().Servers, f.Index()
}

// offer hands a connection of Raft's protocol to the instance.
func (e *engine) offer(c *conn) bool {
	i := e.get()
	return i != nil && i.layer.offer(c)
}

// watch follows the changes of leadership.
func (e *engine) watch(i *instance, observed <-chan raft.Observation) {
	r := e.replica
	led := uint64(0)
	if e.alone() {
		e.campaign(i) // nobody else could lead
	}
	for {
		if term := i.CurrentTerm(); i.State() == raft.Leader && term != led {
			led = term
			r.metrics.elections.Inc()
			r.log.Info("this member leads now", "term", term)
			i.watching.Go(func() { r.lead(i, term) })
		}
		r.metrics.term.Set(float64(i.CurrentTerm()))
		r.noteLeader()
		r.changed.signal()
		select {
		case <-i.ending:
			return
		case <-i.LeaderCh():
		case <-observed:
		}
	}
}

// campaign makes the instance a candidate at once.
func (e *engine) campaign(i *instance) {
	var response raft.TimeoutNowResponse
	own := &e.replica.config
	request := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(own.ID), Addr: []byte(own.Address),
	}}
	if err := i.trans.TimeoutNow(raft.ServerID(own.ID), raft.ServerAddress(own.Address), &request, &response); err != nil {
		e.replica.log.Debug("asking for votes did not work", "err", err)
	}
}
