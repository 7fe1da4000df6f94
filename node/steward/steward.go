// Package steward sees to it that a node gives what its operator wants: it keeps the
// file of preferences, asks sensors, and freezes guests, hands them back and lets them
// go on again. It does not run them: see Hands.
package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/node/prefs"
	"github.com/dugnad/dugnad/p2p/metric"
)

const (
	// fileInterval is how often is looked whether the file has changed, sensorInterval
	// how often sensors are asked that matter.
	fileInterval   = time.Second
	sensorInterval = 500 * time.Millisecond
	// fileSettled is for how long a file that was written is read at every look.
	fileSettled = 3 * time.Second
	// heldName is the file that says what the operator has told the node: it counts
	// after a restart, too.
	heldName = "held"
	// FuelPerCore is the fuel that a core is taken to burn in a second until it is
	// measured.
	FuelPerCore = 4_000_000_000
)

// Will is what an operator tells a node at once.
type Will string

// The wills.
const (
	// WillGive lets the preferences decide.
	WillGive Will = "give"
	// WillPause freezes guests, and hands them back after Preferences.HandBack.
	WillPause Will = "pause"
	// WillStop hands them back.
	WillStop Will = "stop"
)

// ErrWill is returned for another word.
var ErrWill = errors.New("is neither give, pause nor stop")

// ErrMistakes is returned by Reload for a file that has some: its text lists them.
var ErrMistakes = errors.New("the preferences have mistakes")

// Hands do what a steward decides. It calls them one after the other.
type Hands interface {
	// SetShare lets guests use so many cores together, pool.Unbounded as many as there
	// are; frozen guests do nothing.
	SetShare(cores float64, frozen bool)
	// HandBack takes no further leases, and hands back what has not begun. A module that
	// is being compiled has.
	HandBack()
	// HandBackAll hands back what runs as well, and returns when that is done or ctx
	// ends.
	HandBackAll(ctx context.Context) error
	// Resume takes leases again.
	Resume()
	// SetStore bounds the objects that are kept; 0 is the node's own bound.
	SetStore(diskBytes uint64)
	// SetBandwidth bounds what users of the grid move over the network, in bytes per
	// second; 0 does not.
	SetBandwidth(down, up uint64)
	// MemoryUsed is what guests have now.
	MemoryUsed() uint64
	// Offer has what is given told to the grid.
	Offer()
}

// Sensor tells what a machine is doing. What is not asked for is not looked at. With
// an error the rest is what is known.
type Sensor interface {
	Sense(load, battery bool) (prefs.Sensed, error)
}

// Config says for whom a steward works.
type Config struct {
	// Dir is the node's folder.
	Dir    string
	Sensor Sensor
	// Now is this machine's clock; nil is time.Now.
	Now func() time.Time
	// Log receives what somebody would want to know; nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// State is what is given now, and why not more.
type State struct {
	// Will is what the operator has told.
	Will Will
	// Withheld says in a sentence why nothing is given; empty is that something is.
	Withheld string
	// Since is when that began to be so.
	Since time.Time
	// Problem says what is wrong with the file: the preferences are those before.
	Problem string
	// Sensors says what sensors could not tell.
	Sensors string
	Sensed  prefs.Sensed
	Grant   prefs.Grant
	// Preferences are those in force.
	Preferences prefs.Preferences
	// Text is the file that they are of.
	Text string
	// Wanted is when what the operator wants, by word or by preferences, began to be as
	// it is.
	Wanted time.Time
}

// Steward is open until its Run has returned. Its methods are safe for concurrent use.
type Steward struct {
	config  Config
	log     *slog.Logger
	hands   Hands
	metrics *metrics
	// kicked has an element when the loop is to look at once.
	kicked chan struct{}

	// acting is held while hands are moved.
	acting sync.Mutex

	mu    sync.Mutex
	state State
	rate  uint64
	// seen is the file as it was read last.
	seen stamp
	// mode is what was done, frozenAt since when guests are frozen.
	mode     mode
	frozenAt time.Time
	// told is what hands were told last.
	told told
}

// stamp tells versions of a file apart without reading it.
type stamp struct {
	size int64
	at   time.Time
}

// mode is how far guests are held up.
type mode uint8

const (
	giving mode = iota
	frozen
	returned
)

type told struct {
	done   bool
	cores  float64
	frozen bool
	disk   uint64
	down   uint64
	up     uint64
	memory uint64
	until  time.Time
	// text is the file, will and key why nothing is given.
	text, key string
	will      Will
}

type metrics struct {
	withheld, broken prometheus.Gauge
	load             prometheus.Gauge
	reloads          *prometheus.CounterVec
	refusals         *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		withheld: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_preferences_withheld", Help: "1 while the operator or the preferences let the node give nothing."}),
		broken:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_preferences_broken", Help: "1 while the file of preferences has mistakes: the ones before are in force."}),
		load:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "dugnad_preferences_other_load_ratio", Help: "What other programs use of all processors, from 0 to 1, where preferences ask for it."}),
		reloads:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_preferences_reads_total", Help: "How often the file of preferences was read anew, by result: ok or refused."}, []string{"result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dugnad_preferences_leases_refused_total", Help: "Leases that were refused, by reason: withheld, tenant, label or time."}, []string{"reason"}),
	}
	return m, metric.RegisterAll(r, []prometheus.Collector{m.withheld, m.broken, m.load, m.reloads, m.refusals})
}

// Open reads the preferences, and writes a file of them where there is none. A file
// with mistakes gives nothing until it is mended: nobody knows what was meant.
func Open(config Config) (*Steward, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	s := &Steward{config: config, log: config.Log, kicked: make(chan struct{}, 1), rate: FuelPerCore}
	var err error
	if s.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, fmt.Errorf("open preferences: register metrics: %w", err)
	}
	s.state = State{Will: WillGive, Since: config.Now(), Preferences: prefs.Default()}
	held, err := os.ReadFile(filepath.Join(config.Dir, heldName))
	switch will := Will(bytes.TrimSpace(held)); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open preferences: %w", err)
	case will == WillPause || will == WillStop:
		s.state.Will = will
	}
	if err := s.write([]byte(prefs.Text), os.O_EXCL); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open preferences: %w", err)
	}
	s.read()
	s.weigh()
	return s, nil
}

// Path is the file of preferences.
func (s *Steward) Path() string { return filepath.Join(s.config.Dir, prefs.FileName) }

// State returns what is given now.
func (s *Steward) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Run keeps to the preferences until ctx ends.
func (s *Steward) Run(ctx context.Context, hands Hands) {
	s.acting.Lock()
	s.hands = hands
	s.acting.Unlock()
	for {
		s.look()
		s.act()
		s.finish(ctx)
		timer := time.NewTimer(s.interval())
		select {
		case <-timer.C:
		case <-s.kicked:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (s *Steward) interval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if load, battery := s.state.Preferences.Senses(); load || battery && s.state.Sensed.OnBattery {
		return sensorInterval
	}
	return fileInterval
}

// look reads the file when it has changed, asks the sensors and weighs both.
func (s *Steward) look() {
	s.read()
	s.mu.Lock()
	load, battery := s.state.Preferences.Senses()
	s.mu.Unlock()
	sensed, err := s.config.Sensor.Sense(load, battery)
	s.mu.Lock()
	s.state.Sensed = sensed
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != s.state.Sensors && err != nil {
		s.log.Warn("sensors do not tell all that the preferences ask for", "err", err)
	}
	s.state.Sensors = text
	s.metrics.load.Set(sensed.OtherLoad)
	s.mu.Unlock()
	s.weigh()
}

// weigh finds out what is given now.
func (s *Steward) weigh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Now()
	s.state.Grant = s.state.Preferences.Evaluate(now, s.state.Sensed)
	withheld := s.state.Grant.Paused
	switch {
	case s.state.Will == WillPause:
		withheld = "paused by the operator: dugnad node resume ends that"
	case s.state.Will == WillStop:
		withheld = "stopped by the operator: dugnad node resume ends that"
	case s.state.Problem != "" && s.state.Text == "":
		withheld = "paused: the preferences have mistakes, and there are none from before: see dugnad node prefs show"
	}
	if (withheld == "") != (s.state.Withheld == "") {
		s.state.Since = now
		s.log.Info("what this node gives has changed", "withheld", withheld)
	}
	s.state.Withheld = withheld
	s.metrics.withheld.Set(one(withheld != ""))
	s.metrics.broken.Set(one(s.state.Problem != ""))
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Allows reports whether guests may be given a capability now.
func (s *Steward) Allows(capability string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Preferences.Allows(capability)
}

// Refuses says why a lease with tasks of a tenant's job, which has labels and of which each
// task may take as long as longest says, is not taken now; empty is that it may be. Labels
// are written NAME=VALUE.
func (s *Steward) Refuses(tenant string, labels []string, longest func() time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason, label := s.state.Preferences.Tenant(tenant), "tenant"
	switch {
	case s.state.Withheld != "":
		reason, label = s.state.Withheld, "withheld"
	case reason != "":
	case s.state.Preferences.Labels(labels) != "":
		reason, label = s.state.Preferences.Labels(labels), "label"
	default:
		reason, label = s.lasts(longest), "time"
	}
	if reason == "" {
		return ""
	}
	s.metrics.refusals.WithLabelValues(label).Inc()
	return reason
}

// lasts says that a task may take longer than is left before power-off hours.
func (s *Steward) lasts(longest func() time.Duration) string {
	if s.state.Grant.Until.IsZero() {
		return ""
	}
	left, most := s.state.Grant.Until.Sub(s.config.Now()), longest()
	if most <= left {
		return ""
	}
	return fmt.Sprintf("a task may take %s, and the machine is switched off in %s (power_off)", most, left.Round(time.Second))
}

// Cores returns the share of the processors, in cores; negative is no bound.
func (s *Steward) Cores() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cores()
}

func (s *Steward) cores() float64 {
	p := &s.state.Preferences
	cores := p.Cores
	if by := float64(p.FuelRate) / float64(s.rate); p.FuelRate > 0 && (cores == 0 || by < cores) {
		cores = by
	}
	if cores == 0 {
		return -1
	}
	return cores
}

// SetRate tells how much fuel a core of this machine burns in a second.
func (s *Steward) SetRate(perCore uint64) {
	s.mu.Lock()
	s.rate = max(perCore, 1)
	s.mu.Unlock()
	s.kick()
}

func (s *Steward) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}
