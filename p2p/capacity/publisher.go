package capacity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// protocol carries batches from a node to its parent.
const protocol = "/dugnad/capacity/1"

// ErrClosed is returned by the methods of a closed Publisher.
var ErrClosed = errors.New("publisher is closed")

// Publisher sends this node's records, and those of the nodes below it, towards
// the root of the tree. What passes is on its board: at the root, every node.
type Publisher struct {
	config  Config
	log     *slog.Logger
	board   *Board
	metrics *metrics

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	// changed and moved hold one signal each: something is to be sent, and the
	// parent may be another one.
	changed chan struct{}
	moved   chan struct{}

	mu       sync.Mutex
	closed   bool
	sequence uint64
	offer    *Offer
	filter   []byte
	held     bool
	// dirty are the places on the board with a record that the parent has not seen,
	// nil while there is no stream to one.
	dirty map[slot]bool
	// children are the open streams of children.
	children int
}

// Open begins to take records from children, and to send once SetOffer was
// called.
func Open(_ context.Context, config Config) (*Publisher, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open capacity: %w", err)
	}
	if config.now == nil {
		config.now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	board := newBoard(&config)
	m, err := newMetrics(config.Registerer, board)
	if err != nil {
		return nil, fmt.Errorf("open capacity: %w", err)
	}
	p := &Publisher{
		config: config, log: config.Log, board: board, metrics: m,
		changed: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		// Numbers go on growing when the process starts anew.
		sequence: uint64(config.now().UnixNano()),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	config.Network.Handle(protocol, p.receive)
	p.wait.Add(2)
	go p.beat()
	go p.send()
	return p, nil
}

// Close stops sending and receiving, and returns when everything has ended.
func (p *Publisher) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if !closed {
		p.cancel()
		p.config.Network.Handle(protocol, nil)
		p.metrics.unregister()
	}
	p.wait.Wait()
	return nil
}

// Board returns what is known of the nodes below this one, and of itself.
func (p *Publisher) Board() *Board { return p.board }

// ParentChanged says that Config.Parent may have another answer.
func (p *Publisher) ParentChanged() { signal(p.moved) }

// SetOffer says what this node can give from now on. The offer is copied.
func (p *Publisher) SetOffer(o Offer) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("set offer: %w", err)
	}
	o.Capabilities = append([]string(nil), o.Capabilities...)
	o.Labels = append([]Label(nil), o.Labels...)
	return p.publish(func() { p.offer = &o }, kindOffer)
}

// SetHeld says which objects this node has, as a filter. It is copied.
func (p *Publisher) SetHeld(filter []byte) error {
	if len(filter) > FilterBytesMax {
		return fmt.Errorf("set held: filter of %d bytes, at most %d", len(filter), FilterBytesMax)
	}
	filter = append([]byte(nil), filter...)
	return p.publish(func() { p.filter, p.held = filter, true }, kindHolding)
}

// publish changes what is said, seals a record of it and puts it on the board.
func (p *Publisher) publish(change func(), k kind) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	change()
	body, ttl := p.filter, TTLMax
	if k == kindOffer {
		body, ttl = p.offer.encode(), beatsPerTTL*p.config.Beat
	}
	p.sequence++
	self := p.config.Network.Self()
	raw, err := seal(p.config.Grid, stamp{kind: k, node: self, sequence: p.sequence, at: p.config.now(), ttl: ttl}, body, p.config.Sign)
	if err != nil {
		return err
	}
	at, err := p.board.put(raw)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	p.mark(at)
	signal(p.changed)
	return nil
}

// mark has a record sent to the parent, if there is a stream to one: a new stream
// begins with all records. p.mu is held.
func (p *Publisher) mark(at slot) {
	if p.dirty != nil {
		p.dirty[at] = true
	}
}

// beat repeats what stands, so that it does not expire.
func (p *Publisher) beat() {
	defer p.wait.Done()
	// Nodes that were started together do not beat together.
	timer := time.NewTimer(rand.N(p.config.Beat))
	defer timer.Stop()
	last := p.config.now()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(p.config.Beat)
		}
		p.mu.Lock()
		offers, holds := p.offer != nil, p.held && p.config.now().Sub(last) > TTLMax/beatsPerTTL
		p.mu.Unlock()
		if offers {
			p.repeat(kindOffer)
		}
		if holds {
			last = p.config.now()
			p.repeat(kindHolding)
		}
	}
}

func (p *Publisher) repeat(k kind) {
	if err := p.publish(func() {}, k); err != nil && !errors.Is(err, ErrClosed) {
		p.log.Error("cannot repeat an offer", "err", err)
	}
}

// signal leaves a signal that is taken later, unless there is one already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
