// Package custodian gives the nodes that run a job the secrets that it names.
//
// Admins of the grid are the custodians: the key to each value is sealed to them, in the
// ledger. Whoever has a lease on tasks of a job asks one of them for the key (Value); the
// custodian looks in its own copy of the ledger whether the asker may have it. When there
// are other admins than before, a custodian seals the keys to them, too.
package custodian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
)

var (
	// ErrGone is returned by Value for a secret that the tenant has not any more.
	ErrGone error = final("the secret was removed")
	// ErrUnfit is returned by Value for what opens, and is no value for a guest.
	ErrUnfit error = final("the secret is not fit for a guest")
	// ErrWithheld is returned by Value when no custodian has given the key.
	ErrWithheld = errors.New("no custodian gives the key to the secret")
)

// final is an error that no other node could do anything about.
type final string

func (f final) Error() string { return string(f) }

// Gone says so.
func (final) Gone() bool { return true }

// Ledger is this node's copy of the ledger.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (uint64, error)
	Wait(ctx context.Context, index uint64) error
	Watch(ctx context.Context, prefix []byte, from uint64, visit func(index uint64, changes []replica.Change) error) error
	Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
}

// Peers calls methods of other members.
type Peers interface {
	Call(ctx context.Context, to p2p.NodeID, method string, request []byte) ([]byte, error)
}

// Config says what a custodian works with. Default fills in the rest.
type Config struct {
	// Self is this node.
	Self   ledger.NodeID
	Ledger Ledger
	Peers  Peers
	// Key is this node's. Card is what it says of itself: empty where the node is no
	// custodian, but only asks others.
	Key  secret.Key
	Card []byte
	// Read verifies a card.
	Read func(card []byte) (secret.Custodian, error)
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer

	// CallTimeout bounds how long one custodian may take to answer, and to wait for its
	// copy of the ledger.
	CallTimeout time.Duration
	// TendInterval is how often it is looked whether keys are sealed to all custodians,
	// beside each change. TurnInterval is how long a custodian leaves a secret to each
	// of those before it that can open it.
	TendInterval, TurnInterval time.Duration
}

// Default returns the configuration of a node, but for what it works with.
func Default() Config {
	return Config{CallTimeout: 5 * time.Second, TendInterval: 10 * time.Minute, TurnInterval: 10 * time.Second}
}

// Validate returns what is wrong with c, or nil.
func (c *Config) Validate() error {
	switch {
	case c.Self == "":
		return errors.New("the node's name, Self, is empty")
	case c.Ledger == nil || c.Peers == nil || c.Read == nil:
		return errors.New("one of Ledger, Peers and Read is missing")
	case c.CallTimeout <= 0 || c.TendInterval <= 0 || c.TurnInterval <= 0:
		return errors.New("CallTimeout, TendInterval and TurnInterval are not all positive")
	}
	return nil
}

// Custodian asks for secrets and, on an admin's node, keeps them.
type Custodian struct {
	config  Config
	log     *slog.Logger
	metrics *metrics

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	// changed says that secrets or custodians have.
	changed chan struct{}

	// mu guards warned, which is when a refusal was last logged.
	mu     sync.Mutex
	warned time.Time

	// since is when this custodian first saw that keys are missing; zero is that none are.
	since time.Time
}

// Open starts a custodian. It is ready when Open returns.
func Open(_ context.Context, config Config) (*Custodian, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("open custodian: %w", err)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("open custodian: %w", err)
	}
	c := &Custodian{config: config, log: config.Log, metrics: m, changed: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if len(config.Card) > 0 {
		c.work.Go(c.tendAll)
		for _, prefix := range [][]byte{ledger.SecretPrefix(), ledger.CustodianPrefix()} {
			c.work.Go(func() { c.watch(prefix) })
		}
	}
	return c, nil
}

// Close ends what Open has started, and waits for it.
func (c *Custodian) Close() error {
	c.cancel()
	c.work.Wait()
	return nil
}
