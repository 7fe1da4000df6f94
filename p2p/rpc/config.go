package rpc

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/p2p"
)

// Config is what Open needs. Default fills in all but Network and Methods.
type Config struct {
	Network p2p.Network
	// Methods are what this member answers, and the limits by which it calls
	// others. May be empty: then it only calls, with answers up to BytesMax.
	Methods []Method
	// InFlightMax is how many calls to one member are under way at a time, up
	// to the constant; more wait.
	InFlightMax int
	// QueueMax is how many calls to one member may wait for that; one more
	// fails with ErrBusy.
	QueueMax int
	// HandlersMax and HandlersPerPeerMax bound the handlers that run, for all
	// members and for one. What is above waits, and members take turns.
	HandlersMax, HandlersPerPeerMax int
	// WatchesMax and WatchesPerPeerMax bound the watches that are served, for
	// all members and for one. One more is refused with ErrBusy.
	WatchesMax, WatchesPerPeerMax int
	// HeldBytesMax bounds the requests held for all members together; a member
	// that holds more than PeerBytesFloor is then refused with ErrBusy.
	HeldBytesMax int
	// OpenTimeMax bounds the opening of a stream.
	OpenTimeMax time.Duration
	// StallTimeMax is how long a member may leave what was sent to it unread
	// before its stream is reset.
	StallTimeMax time.Duration
	Logger       *slog.Logger
	// Registerer may be nil: then nobody sees the metrics.
	Registerer prometheus.Registerer
}

// PeerBytesFloor is what a member's requests may hold whatever others do.
const PeerBytesFloor = 256 << 10

// Default returns a configuration for a node that serves a few thousand
// members.
func Default() Config {
	return Config{
		InFlightMax: 128, QueueMax: 4096,
		HandlersMax: 1024, HandlersPerPeerMax: 64,
		WatchesMax: 4096, WatchesPerPeerMax: 16,
		HeldBytesMax: 256 << 20,
		OpenTimeMax:  30 * time.Second, StallTimeMax: 30 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// Validate says what is wrong, by an error that wraps ErrConfig.
func (c Config) Validate() error {
	if c.Network == nil {
		return fmt.Errorf("%w: Network is missing", ErrConfig)
	}
	if c.Logger == nil {
		return fmt.Errorf("%w: Logger is missing", ErrConfig)
	}
	for _, f := range []struct {
		name     string
		is, most int
	}{
		{"InFlightMax", c.InFlightMax, InFlightMax},
		{"QueueMax", c.QueueMax, 1 << 20},
		{"HandlersMax", c.HandlersMax, 1 << 20},
		{"HandlersPerPeerMax", c.HandlersPerPeerMax, InFlightMax},
		{"WatchesMax", c.WatchesMax, 1 << 20},
		{"WatchesPerPeerMax", c.WatchesPerPeerMax, WatchesMax},
		{"HeldBytesMax", c.HeldBytesMax, 1 << 40},
		{"OpenTimeMax", int(c.OpenTimeMax), int(time.Hour)},
		{"StallTimeMax", int(c.StallTimeMax), int(time.Hour)},
	} {
		if f.is <= 0 || f.is > f.most {
			return fmt.Errorf("%w: %s is %d, from 1 to %d", ErrConfig, f.name, f.is, f.most)
		}
	}
	names := make(map[string]bool)
	for _, m := range c.Methods {
		if err := m.validate(); err != nil {
			return err
		}
		if names[m.Name] {
			return fmt.Errorf("%w: method %s is there twice", ErrConfig, m.Name)
		}
		names[m.Name] = true
	}
	return nil
}
