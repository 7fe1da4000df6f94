// Package portmap asks the router of the local network to let connections from
// outside through to this machine: by UPnP's Internet Gateway Device, or by NAT-PMP.
//
// Whoever answers may lie, and need not be the router: all that an answer leads to
// is an address that this node tells others, and requests to who has answered. Each
// answer is bounded in size, and each exchange in time.
package portmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// Life is how long the router keeps a mapping that is not renewed. Routers that
	// know permanent ones only are asked to remove them when the Mapper is closed.
	Life = 10 * time.Minute
	// renewBeat is how often mappings are renewed, and how soon a router that was
	// started anew has them again.
	renewBeat = 2 * time.Minute
	// searchBeat is how often a router is looked for where there was none.
	searchBeat = 5 * time.Minute
	// portsBeat is how often the ports are looked at.
	portsBeat = 5 * time.Second
	// exchangeTimeout bounds one question to the router, searchTimeout the search
	// for it, closeTimeout the removal of all mappings.
	exchangeTimeout = 3 * time.Second
	searchTimeout   = 10 * time.Second
	closeTimeout    = 5 * time.Second
	// portTries is how many outer ports are tried for one of this machine.
	portTries = 4
	// failuresMax is after how many failures in a row the router is looked for anew.
	failuresMax = 3
	// portsMax bounds the ports that are mapped.
	portsMax = 16
)

// ErrTooLong is returned for an answer that is longer than any router's.
var ErrTooLong = errors.New("the router's answer is too long")

// ErrMalformed is returned for an answer that is none.
var ErrMalformed = errors.New("the router's answer is malformed")

// ErrRefused is returned when the router says no.
var ErrRefused = errors.New("the router refuses")

// errNoRouter is returned when nobody answers.
var errNoRouter = errors.New("no router that maps ports")

// Port is one of this machine. Protocol is "tcp" or "udp".
type Port struct {
	Protocol string
	Number   uint16
}

// Config says what to map.
type Config struct {
	// Ports returns the ports to map now.
	Ports func() []Port
	// Log receives transitions; nil means nothing is logged.
	Log *slog.Logger
	// Mapped, if set, is called with the number of mappings when it may have
	// changed, TooLong for an answer that exceeded its limit.
	Mapped  func(n int)
	TooLong func()
}

// Mapper keeps mappings at the router. It is safe for concurrent use.
type Mapper struct {
	cfg    Config
	search func(context.Context) (router, error)
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	outside netip.Addr
	mapped  map[Port]uint16
}

// Open starts to look for a router and to map ports. It does not wait.
func Open(c Config) *Mapper { return open(c, find) }

func open(c Config, search func(context.Context) (router, error)) *Mapper {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mapper{cfg: c, search: search, cancel: cancel, ended: make(chan struct{}), mapped: map[Port]uint16{}}
	go func() {
		defer close(m.ended)
		m.run(ctx)
	}()
	return m
}

// Close removes the mappings, as far as the router lets it within 5 s.
func (m *Mapper) Close() error {
	m.cancel()
	<-m.ended
	return nil
}

// Found says whether a router maps ports.
func (m *Mapper) Found() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mapped) > 0
}

// Outside returns where a port is reached from outside.
func (m *Mapper) Outside(p Port) (netip.AddrPort, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outer, ok := m.mapped[p]
	return netip.AddrPortFrom(m.outside, outer), ok && m.outside.IsValid()
}

// run finds routers and keeps mappings at them, one router after another.
func (m *Mapper) run(ctx context.Context) {
	for {
		search, cancel := context.WithTimeout(ctx, searchTimeout)
		r, err := m.search(search)
		cancel()
		wait := searchBeat
		if err != nil {
			m.note(err)
			m.cfg.Log.Debug("no port is mapped", "error", err)
		} else if m.keep(ctx, r) {
			wait = portsBeat // it was started anew, perhaps
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// keep keeps mappings at one router until ctx ends or it answers no more. It says
// whether the router has ever mapped a port.
func (m *Mapper) keep(ctx context.Context, r router) (worked bool) {
	defer m.drop(r)
	tick := time.NewTicker(portsBeat)
	defer tick.Stop()
	var due time.Time
	var held []Port
	for failures := 0; failures < failuresMax; {
		ports := m.cfg.Ports()
		ports = ports[:min(len(ports), portsMax)]
		if now := time.Now(); !now.Before(due) || !slices.Equal(ports, held) {
			due, held = now.Add(renewBeat), ports
			switch err := m.renew(ctx, r, ports); {
			case ctx.Err() != nil:
			case err != nil:
				m.note(err)
				m.cfg.Log.Info("the router does not map every port", "router", r.String(), "error", err)
				if !errors.Is(err, ErrRefused) {
					failures++
					due = now.Add(portsBeat)
				}
			default:
				failures = 0
			}
			worked = worked || m.Found()
		}
		select {
		case <-ctx.Done():
			return worked
		case <-tick.C:
		}
	}
	return worked
}

func (m *Mapper) note(err error) {
	if m.cfg.TooLong != nil && errors.Is(err, ErrTooLong) {
		m.cfg.TooLong()
	}
}

// renew asks for the outside address and for a mapping of each port.
func (m *Mapper) renew(ctx context.Context, r router, ports []Port) error {
	outside, err := exchange(ctx, r.external)
	if err == nil && !public(outside) {
		err = fmt.Errorf("%w: its address outside is %s, which is none", ErrMalformed, outside)
	}
	if err != nil {
		return fmt.Errorf("ask for the address outside: %w", err)
	}
	m.mu.Lock()
	m.outside = outside
	before := maps.Clone(m.mapped)
	m.mu.Unlock()
	for p, outer := range before {
		if !slices.Contains(ports, p) {
			m.removeOne(ctx, r, p, outer)
		}
	}
	var errs []error
	for _, p := range ports {
		outer, err := mapPort(ctx, r, p, before[p])
		if err != nil {
			errs = append(errs, fmt.Errorf("map %s port %d: %w", p.Protocol, p.Number, err))
			continue
		}
		if before[p] != outer {
			m.cfg.Log.Info("the router maps a port", "router", r.String(), "protocol", p.Protocol, "port", p.Number, "outside", netip.AddrPortFrom(outside, outer))
		}
		m.set(p, outer)
	}
	return errors.Join(errs...)
}

// drop removes all mappings.
func (m *Mapper) drop(r router) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	m.mu.Lock()
	before := maps.Clone(m.mapped)
	m.mu.Unlock()
	for p, outer := range before {
		m.removeOne(ctx, r, p, outer)
	}
}

func (m *Mapper) removeOne(ctx context.Context, r router, p Port, outer uint16) {
	m.set(p, 0)
	if _, err := exchange(ctx, func(ctx context.Context) (any, error) { return nil, r.remove(ctx, p, outer) }); err != nil {
		m.cfg.Log.Info("a mapping was not removed", "router", r.String(), "protocol", p.Protocol, "outside", outer, "error", err)
	}
}

func (m *Mapper) set(p Port, outer uint16) {
	m.mu.Lock()
	if outer == 0 {
		delete(m.mapped, p)
	} else {
		m.mapped[p] = outer
	}
	m.mu.Unlock()
	m.tell()
}

func (m *Mapper) tell() {
	if m.cfg.Mapped != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.cfg.Mapped(len(m.mapped))
	}
}
