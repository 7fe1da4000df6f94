package capacity

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dugnad/dugnad/p2p"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says who spreads, to whom and how often.
type Config struct {
	Network p2p.Network
	Grid    p2p.GridID
	// Sign signs with this node's key.
	Sign func(message []byte) ([]byte, error)
	// Verify returns nil when the signature is that of the node's key.
	Verify func(node p2p.NodeID, message, signature []byte) error
	// Parent returns the member that this node's records, and those below it,
	// are sent to. ok is false at the root, and while none is known. Call
	// Publisher.ParentChanged when its answer is another one.
	Parent func() (id p2p.NodeID, ok bool)

	// Beat is the time between offers when nothing changes, from 1 s. An offer
	// is good for three of them.
	Beat time.Duration
	// BatchInterval is how long a change waits for others to go along.
	BatchInterval time.Duration
	// RetryInterval is the pause after a parent could not be reached.
	RetryInterval time.Duration
	// NodesMax bounds the nodes on the board.
	NodesMax int
	// ChildrenMax bounds the streams of children.
	ChildrenMax int

	// Log receives transitions; nil means nothing is logged.
	Log *slog.Logger
	// Registerer receives the metrics; nil means that nobody sees them.
	Registerer prometheus.Registerer
	now        func() time.Time
}

// Default returns the intervals and limits of a node in production.
func Default() Config {
	return Config{
		Beat: 10 * time.Second, BatchInterval: 200 * time.Millisecond, RetryInterval: time.Second,
		NodesMax: 20_000, ChildrenMax: 64,
	}
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Network == nil:
		return errors.New("there is no network")
	case c.Sign == nil || c.Verify == nil || c.Parent == nil:
		return errors.New("sign, verify and parent must all be set")
	case c.Beat < time.Second || c.Beat > TTLMax/beatsPerTTL:
		return fmt.Errorf("beat is %v, from 1s to %v", c.Beat, TTLMax/beatsPerTTL)
	case c.BatchInterval < time.Millisecond || c.BatchInterval > c.Beat:
		return fmt.Errorf("batch interval is %v, from 1ms to the beat, %v", c.BatchInterval, c.Beat)
	case c.RetryInterval < time.Millisecond:
		return fmt.Errorf("retry interval is %v, from 1ms", c.RetryInterval)
	case c.NodesMax < 1 || c.ChildrenMax < 1:
		return errors.New("a limit is not positive")
	}
	return nil
}

// beatsPerTTL is how many offers in a row may be lost before a node leaves the
// board.
const beatsPerTTL = 3
