package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/steward"
	"github.com/dugnad/dugnad/p2p/bandwidth"
	"github.com/dugnad/dugnad/p2p/capacity"
)

// openSteward reads what the operator wants this machine to give.
func (n *Node) openSteward(context.Context) error {
	c := steward.Config{Dir: n.config.Dir, Now: n.config.now, Log: n.log, Registerer: n.registry}
	c.Sensor = steward.NewMachine(func() time.Duration {
		if n.pool == nil {
			return 0
		}
		return n.pool.CPUTime()
	})
	n.config.alter(&c)
	s, err := steward.Open(c)
	n.steward = s
	return err
}

// openLink makes what bounds the bandwidth, before there is a bound.
func (n *Node) openLink(context.Context) (err error) {
	n.link, err = bandwidth.New(n.registry)
	return err
}

// hands are a node as its steward moves it.
type hands struct{ *Node }

// SetShare implements steward.Hands.
func (h hands) SetShare(cores float64, frozen bool) { h.pool.SetShare(cores, frozen) }

// HandBack implements steward.Hands.
func (h hands) HandBack() { h.executor.Pause() }

// HandBackAll implements steward.Hands.
func (h hands) HandBackAll(context.Context) error {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	err := h.executor.Drain(over)
	h.pool.Dismiss()
	return err
}

// Resume implements steward.Hands.
func (h hands) Resume() { h.executor.Resume() }

// SetBandwidth implements steward.Hands.
func (h hands) SetBandwidth(down, up uint64) {
	h.link.Down.SetRate(down)
	h.link.Up.SetRate(up)
}

// SetStore implements steward.Hands.
func (h hands) SetStore(diskBytes uint64) {
	bytes := h.storeBytes
	if diskBytes > 0 {
		bytes = min(bytes, int64(min(diskBytes, 1<<62)))
	}
	if err := h.store.SetBytesMax(bytes); err != nil {
		h.log.Warn("objects beyond the limit could not be removed", "err", err)
	}
}

// MemoryUsed implements steward.Hands.
func (h hands) MemoryUsed() uint64 { return h.pool.MemoryUsed() }

// Offer implements steward.Hands. The ledger hears it too when guests may do other
// things than before.
func (h hands) Offer() {
	for _, again := range []chan struct{}{h.reoffer, h.rated} {
		select {
		case again <- struct{}{}:
		default:
		}
	}
}

// accept refuses leases that the operator does not want.
func (n *Node) accept(l ledger.Lease, spec ledger.JobSpec) ledger.Cause {
	longest := func() time.Duration {
		p, err := jobspec.DecodeProgram(spec.Payload)
		if err != nil {
			return 0 // It is refused for that.
		}
		return p.Limits.WithDefaults().Timeout
	}
	var labels []string
	for _, l := range spec.Labels {
		labels = append(labels, l.Name+"="+l.Value)
	}
	if reason := n.steward.Refuses(string(spec.Tenant), labels, longest); reason != "" {
		n.log.Info("the operator does not want a lease", "epoch", l.Epoch, "job", l.Job, "reason", reason)
		return ledger.CausePreference
	}
	return ledger.CauseNone
}

// given is what the operator lets this node offer of what it has. o is left as it is.
func (n *Node) given(o capacity.Offer) capacity.Offer {
	s := n.steward.State()
	if cores := n.steward.Cores(); cores >= 0 {
		o.FuelRate = min(o.FuelRate, uint64(cores*float64(n.coreRate.Load())))
	}
	if most := s.Grant.MemoryBytes; most > 0 {
		o.MemoryBytes = min(o.MemoryBytes, most)
	}
	o.Labels = slices.Clone(o.Labels)
	label := func(key, value string) {
		value = strings.ToValidUTF8(value[:min(len(value), capacity.WordBytesMax)], "")
		o.Labels = append(o.Labels, capacity.Label{Key: key, Value: value})
	}
	for _, t := range s.Preferences.TenantsAllowed {
		label(capacity.LabelTenantAllowed, t)
	}
	for _, t := range s.Preferences.TenantsDenied {
		label(capacity.LabelTenantDenied, t)
	}
	for _, l := range s.Preferences.LabelsAllowed {
		label(capacity.LabelJobLabelAllowed, l)
	}
	for _, l := range s.Preferences.LabelsDenied {
		label(capacity.LabelJobLabelDenied, l)
	}
	if !s.Wanted.IsZero() {
		label(capacity.LabelWanted, strconv.FormatInt(s.Wanted.UnixMilli(), 36))
	}
	if !s.Grant.Until.IsZero() {
		label(capacity.LabelUntil, s.Grant.Until.UTC().Format(time.RFC3339))
	}
	if s.Withheld != "" {
		o.Slots = 0
		label(capacity.LabelWithheld, s.Withheld)
	}
	return o
}

// Preferences implements control.Node.
func (n *Node) Preferences() control.Preferences {
	s := n.steward.State()
	p := control.Preferences{
		File: n.steward.Path(), Text: s.Text, Problem: s.Problem, Will: string(s.Will), Withheld: s.Withheld, Since: s.Since,
		Sensors: s.Sensors, OtherLoad: s.Sensed.OtherLoad, OnBattery: s.Sensed.OnBattery, MemoryBytes: s.Grant.MemoryBytes, Slots: n.Busy(),
	}
	if cores := n.steward.Cores(); cores >= 0 {
		p.Cores = cores
	}
	p.Download, p.Upload = bandwidthOf(n.link.Down), bandwidthOf(n.link.Up)
	if !s.Grant.Until.IsZero() {
		p.Until = &s.Grant.Until
	}
	return p
}

// bandwidthOf is a direction as an operator sees it.
func bandwidthOf(f *bandwidth.Flow) control.Bandwidth {
	u := f.Use()
	return control.Bandwidth{Bound: u.Rate, BytesPerSecond: u.BytesPerSecond, Bytes: u.Bytes, Waiting: u.Waiting}
}

// SetPreferences implements control.Node.
func (n *Node) SetPreferences(text string) error {
	if err := n.steward.Set([]byte(text)); err != nil {
		return fmt.Errorf("the preferences stay as they are:\n%w", err)
	}
	return nil
}

// ReloadPreferences reads their file at once, and logs what has changed. The error is
// steward.ErrMistakes when the ones before stay in force, which is logged as well.
func (n *Node) ReloadPreferences() error { return n.steward.Reload() }

// Tell implements control.Node.
func (n *Node) Tell(will string) error { return n.steward.Tell(steward.Will(will)) }

// withheld says why nodes give nothing, as far as this one has heard.
func (n *Node) withheld() map[ledger.NodeID]string {
	out := map[ledger.NodeID]string{}
	for _, e := range n.publisher.Board().List() {
		for _, l := range e.Offer.Labels {
			if l.Key == capacity.LabelWithheld {
				out[ledger.NodeID(e.Node)] = l.Value
			}
		}
	}
	if s := n.steward.State(); s.Withheld != "" {
		out[n.self()] = s.Withheld
	}
	return out
}
