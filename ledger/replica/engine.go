package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// engine is the member's Raft instance. Every member has one; in most of them
// it waits, without a configuration, to be made a voter.
type engine struct {
	replica   *Replica
	snapshots *snapshots

	mu      sync.RWMutex
	current *instance
}

// instance is Raft from one start to its end.
type instance struct {
	*raft.Raft
	trans *raft.NetworkTransport
	layer *streamLayer
	// ending is closed when the end begins, gone when it is over: a future that
	// has no answer then never gets one.
	ending, gone chan struct{}
	once         sync.Once
	watching     sync.WaitGroup
}

// await waits for a future. Raft forgets some of them when it is shut down.
func (i *instance) await(f raft.Future) error {
	answer := make(chan error, 1)
	go func() { answer <- f.Error() }()
	select {
	case err := <-answer:
		return err
	case <-i.gone:
		return raft.ErrRaftShutdown
	}
}

// shutdown ends the instance and waits for it, but for those who watch it.
func (i *instance) shutdown() {
	i.once.Do(func() {
		close(i.ending)
		_ = i.layer.Close()
		_ = i.Shutdown().Error()
		i.trans.CloseStreams()
		_ = i.trans.Close()
		i.layer.wait()
		close(i.gone)
	})
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
		ServerAddressProvider: addressBook{r.book}, Logger: config.Logger, Stream: i.layer, MaxPool: 3, Timeout: r.config.RPCTimeout,
	})
	var err error
	if bootstrap != nil {
		err = raft.BootstrapCluster(config, r.config.RaftLog, r.config.RaftLog, e.snapshots, i.trans, *bootstrap)
	}
	if err == nil {
		i.Raft, err = raft.NewRaft(config, r.fsm, r.config.RaftLog, r.config.RaftLog, e.snapshots, i.trans)
	}
	if err != nil {
		_ = i.layer.Close()
		return errors.Join(fmt.Errorf("start raft: %w", err), i.trans.Close())
	}
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

// reset makes the member a stranger to Raft again: log and snapshot go, term
// and vote stay, so that it never votes twice.
func (e *engine) reset() error {
	e.stop()
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
	if err := e.snapshots.forget(); err != nil {
		return err
	}
	return e.start(nil)
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
	for {
		if term := i.CurrentTerm(); i.State() == raft.Leader && term != led {
			led = term
			r.metrics.elections.Inc()
			r.log.Info("this member leads now", "term", term)
			i.watching.Go(func() { r.lead(i, term) })
		}
		r.metrics.term.Set(float64(i.CurrentTerm()))
		r.changed.signal()
		select {
		case <-i.ending:
			return
		case <-i.LeaderCh():
		case <-observed:
		}
	}
}

// addressBook gives Raft the addresses that members have announced.
type addressBook struct{ book *book }

var errNoAddress = errors.New("member has announced no address")

// ServerAddr implements raft.ServerAddressProvider.
func (a addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if address := a.book.view().address(string(id)); address != "" {
		return raft.ServerAddress(address), nil
	}
	return "", errNoAddress
}

// streamLayer gives Raft its share of the connections.
type streamLayer struct {
	replica *Replica
	ctx     context.Context
	cancel  context.CancelFunc
	// offered holds connections until the transport takes them.
	offered chan net.Conn
	conns   connSet
	open    sync.WaitGroup
}

func newStreamLayer(r *Replica) *streamLayer {
	l := &streamLayer{replica: r, offered: make(chan net.Conn), conns: connSet{open: map[*conn]struct{}{}}}
	l.ctx, l.cancel = context.WithCancel(r.ctx)
	return l
}

// own wraps c so that closing the layer closes it and wait waits for it.
func (l *streamLayer) own(c *conn, after func()) (*conn, bool) {
	w := &conn{Conn: c, r: c.r, peer: c.peer}
	l.open.Add(1)
	ok := l.conns.add(w, func() {
		if after != nil {
			after()
		}
		l.open.Done()
	})
	if !ok {
		l.open.Done()
	}
	return w, ok
}

func (l *streamLayer) offer(c *conn) bool {
	w, ok := l.own(c, func() { l.replica.suspect(c.peer.id) })
	if !ok {
		return false
	}
	select {
	case l.offered <- w:
	case <-l.ctx.Done():
		_ = w.Close()
	}
	return true
}

// Accept implements net.Listener.
func (l *streamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-l.offered:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (l *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx := l.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if string(address) == l.replica.config.Address {
		return l.loop()
	}
	c, err := l.replica.dial(ctx, string(address), protocolRaft)
	if err != nil {
		return nil, err
	}
	w, ok := l.own(c, nil)
	if !ok {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return w, nil
}

// loop connects the instance with itself.
func (l *streamLayer) loop() (net.Conn, error) {
	near, far := net.Pipe()
	w, ok := l.own(&conn{Conn: far, r: bufio.NewReader(far)}, nil)
	if !ok {
		return nil, net.ErrClosed
	}
	select {
	case l.offered <- w:
		return near, nil
	case <-l.ctx.Done():
		_ = w.Close()
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *streamLayer) Close() error {
	l.cancel()
	l.conns.close()
	return nil
}

// wait returns when all connections are closed.
func (l *streamLayer) wait() { l.open.Wait() }

// Addr implements net.Listener.
func (l *streamLayer) Addr() net.Addr { return address(l.replica.config.Address) }

// address is a member's address as a net.Addr.
type address string

// Network implements net.Addr.
func (address) Network() string { return "dugnad" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

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
