// Package prefs is what an operator wants a machine to give, and when: it reads the
// file of preferences, and says what follows from it at a time and for what sensors
// tell. It looks at no clock, file or sensor itself.
package prefs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// FileName is the file's name in a node's folder.
const FileName = "preferences.yaml"

const (
	// FileBytesMax bounds the file.
	FileBytesMax = 16 << 10
	// CoresMin and CoresMax bound Preferences.Cores, in cores.
	CoresMin = 0.01
	CoresMax = 4000
	// ListMax bounds the tenants that each list names, so that an offer has room for
	// all of them.
	ListMax = 16
	// LabelsMax bounds the labels of jobs that each list names, for the same reason.
	LabelsMax = 8
	// SpansMax bounds the spans of one day.
	SpansMax = 16
	// HandBackLeast and HandBackMost bound Preferences.HandBack.
	HandBackLeast = time.Second
	HandBackMost  = time.Hour
	// BandwidthMin is the least of download and upload, in bytes per second, besides 0:
	// with less a node is taken for one that is lost.
	BandwidthMin = 64 << 10
)

// Capabilities are what guests may be allowed beside computing.
func Capabilities() []string { return []string{CapabilityHTTP} }

// CapabilityHTTP is requests to the outside.
const CapabilityHTTP = "http"

// Preferences are what a machine gives. The zero value of a limit is that there is
// none but the node's own.
type Preferences struct {
	// Cores is the processor time that guests may use in a second, in seconds.
	Cores float64
	// FuelRate is the fuel that they may use in a second.
	FuelRate uint64
	// MemoryBytes is for guests together, MemoryInUseBytes while others use the
	// machine.
	MemoryBytes, MemoryInUseBytes uint64
	// DiskBytes is for objects of the grid.
	DiskBytes uint64
	// DownloadRate and UploadRate are what users of the grid may move over the network,
	// in bytes per second.
	DownloadRate, UploadRate uint64
	// Hours are when the machine gives anything; nil is always.
	Hours *Week
	// PowerOff are the hours in which the machine is off: nothing is begun before
	// them that could last into them.
	PowerOff *Week
	// Zone is whose clock Hours and PowerOff are by.
	Zone *time.Location
	// IdleBelow is the load of other programs, as a part of all processors, from
	// which on the machine is in use. OnlyWhenIdle gives nothing then.
	IdleBelow    float64
	OnlyWhenIdle bool
	// OnBattery gives also while the machine runs on its battery.
	OnBattery bool
	// HandBack is how long guests are frozen before they are handed to other nodes.
	HandBack time.Duration
	// Allowed lists capabilities.
	Allowed []string
	// TenantsAllowed are the only tenants that may run here, unless it is empty;
	// TenantsDenied may not.
	TenantsAllowed, TenantsDenied []string
	// LabelsAllowed are labels of which a job must have one, unless it is empty; jobs
	// with one of LabelsDenied may not run here. Each is NAME, for any value, or
	// NAME=VALUE.
	LabelsAllowed, LabelsDenied []string
}

// Default is what a file that says nothing means.
func Default() Preferences {
	return Preferences{Zone: time.Local, IdleBelow: 0.25, HandBack: time.Minute, Allowed: Capabilities()}
}

// Allows reports whether guests may be given a capability.
func (p *Preferences) Allows(capability string) bool { return slices.Contains(p.Allowed, capability) }

// Tenant says why a tenant's tasks are not to run here; empty is that they may.
func (p *Preferences) Tenant(id string) string {
	switch {
	case slices.Contains(p.TenantsDenied, id):
		return fmt.Sprintf("tenant %s is denied", id)
	case len(p.TenantsAllowed) > 0 && !slices.Contains(p.TenantsAllowed, id):
		return fmt.Sprintf("tenant %s is not among those allowed", id)
	}
	return ""
}

// Labels says why the tasks of a job with labels, each NAME=VALUE, are not to run here;
// empty is that they may.
func (p *Preferences) Labels(labels []string) string {
	covers := func(rule string) bool {
		return slices.ContainsFunc(labels, func(l string) bool { return l == rule || strings.HasPrefix(l, rule+"=") })
	}
	if i := slices.IndexFunc(p.LabelsDenied, covers); i >= 0 {
		return fmt.Sprintf("jobs with the label %s are denied", p.LabelsDenied[i])
	}
	if len(p.LabelsAllowed) > 0 && !slices.ContainsFunc(p.LabelsAllowed, covers) {
		return "only jobs with one of the labels " + strings.Join(p.LabelsAllowed, ", ") + " are allowed"
	}
	return ""
}

// Senses reports whether sensors are asked for.
func (p *Preferences) Senses() (load, battery bool) {
	return p.OnlyWhenIdle || p.MemoryInUseBytes > 0, !p.OnBattery
}

// Sensed is what sensors tell.
type Sensed struct {
	// OtherLoad is what other programs use of the processors, from 0 to 1.
	OtherLoad float64
	// LoadUnknown says that nobody knows that.
	LoadUnknown bool
	// OnBattery says that the machine has no power from outside.
	OnBattery bool
}

// Grant is what follows from preferences now.
type Grant struct {
	// Paused says in a sentence why nothing is given; empty is that something is.
	Paused string
	// Key is the preference that says so.
	Key string
	// MemoryBytes is what guests may have together; 0 is the node's own limit.
	MemoryBytes uint64
	// Until is when the next power-off hours begin; zero is never.
	Until time.Time
}

// Evaluate returns what is given at a time.
func (p *Preferences) Evaluate(now time.Time, s Sensed) Grant {
	now = now.In(p.Zone)
	g := Grant{MemoryBytes: p.MemoryBytes}
	inUse := s.OtherLoad >= p.IdleBelow
	if inUse && p.MemoryInUseBytes > 0 && (g.MemoryBytes == 0 || p.MemoryInUseBytes < g.MemoryBytes) {
		g.MemoryBytes = p.MemoryInUseBytes
	}
	if p.PowerOff != nil {
		g.Until = p.PowerOff.next(now)
	}
	switch {
	case p.PowerOff != nil && p.PowerOff.has(now):
		g.Until = now
		g.Key, g.Paused = "power_off", "paused: these are power-off hours (power_off)"
	case p.Hours != nil && !p.Hours.has(now):
		g.Key, g.Paused = "hours", "paused: it is outside the hours in which this machine gives (hours)"
		if at := p.Hours.next(now); !at.IsZero() {
			g.Paused += ", which begin " + at.Format("Mon 15:04")
		}
	case s.OnBattery && !p.OnBattery:
		g.Key, g.Paused = "on_battery", "paused: this machine runs on its battery (on_battery)"
	case s.LoadUnknown && p.OnlyWhenIdle:
		g.Key, g.Paused = "only_when_idle", "paused: it is not known what other programs use of the processors (only_when_idle)"
	case inUse && p.OnlyWhenIdle:
		g.Key, g.Paused = "only_when_idle", fmt.Sprintf("paused: other programs use %.0f %% of the processors, limit %.0f %% (only_when_idle, idle_below)", 100*s.OtherLoad, 100*p.IdleBelow)
	}
	return g
}
