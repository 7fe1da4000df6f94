package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/node/outbound"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

// errCapability is returned for a capability that there is not.
var errCapability = errors.New("there is no such capability")

// allows reports whether this node's operator lets guests have a capability, which
// goes by the name of the feature that the node offers then: the command line has to
// say so, and the preferences may forbid it.
func (n *Node) allows(capability string) bool {
	return capability == ledger.FeatureHTTP && n.config.AllowHTTP && n.steward.Allows(capability)
}

// features are what a job may ask of this node.
func (n *Node) features() []string {
	list := slices.Clone(features)
	if n.allows(ledger.FeatureHTTP) {
		list = append(list, ledger.FeatureHTTP)
	}
	slices.Sort(list)
	return list
}

// openOutbound opens what makes the requests of guests. It makes none that the
// operator does not allow at that time.
func (n *Node) openOutbound(ctx context.Context) error {
	if !n.works() {
		return nil
	}
	c := n.config.Outbound
	c.Avoid, c.Consent, c.Note, c.Registerer = n.listens, n.mayReach, n.noteRequest, n.registry
	c.Down, c.Up = n.link.Down, n.link.Up
	n.config.alter(&c)
	gate, err := outbound.Open(ctx, c)
	n.outbound = gate
	return err
}

// outboundFor is executor.Config.Outbound.
func (n *Node) outboundFor(spec *ledger.JobSpec, job ledger.JobID, index uint32, asks task.HTTP) worker.Outbound {
	return n.outbound.For(outbound.Attempt{Tenant: string(spec.Tenant), Job: job.String(), Task: index, HTTP: asks})
}

// mayReach is outbound.Config.Consent: operator and tenant may have changed their minds
// since the task was placed, and the tenant's quota of the day may be used up.
func (n *Node) mayReach(tenant string) error {
	if !n.allows(ledger.FeatureHTTP) {
		return abi.ErrDenied
	}
	verdict := error(abi.ErrDenied)
	_, err := n.book.View(func(tx ledger.Tx) error {
		t, err := ledger.FindTenant(tx, ledger.TenantID(tenant))
		if err != nil || t.Capabilities&ledger.CapabilityHTTP == 0 {
			return err
		}
		left, bounded, err := ledger.EgressLeft(tx, t.ID, ledger.Time(time.Now().UnixNano()))
		switch {
		case err != nil:
			return err
		case bounded && left == 0:
			verdict = abi.ErrBytes
		default:
			verdict = nil
		}
		return nil
	})
	if err != nil {
		return abi.ErrDenied
	}
	return verdict
}

// operationRequest is what the audit log calls a guest's HTTP request.
const operationRequest = "http-request"

// noteRequest says in the audit log which request was made, or refused.
func (n *Node) noteRequest(r outbound.Record) {
	code := r.Code
	if code == "" {
		code = audit.CodeOK
	}
	address := "-"
	if r.Address.IsValid() {
		address = r.Address.Addr().String()
	}
	n.audit.Note(audit.Record{
		Who: audit.Tenant(r.Tenant), Operation: operationRequest, Object: r.Job, Code: code,
		// The host last: it may be too long for a line.
		Detail: fmt.Sprintf("task %d: %s %d, sent %d, received %d, at %s: %s port %d of %s",
			r.Task, r.Method, r.Status, r.Sent, r.Received, address, r.Scheme, r.Port, r.Host),
	})
}

// listens lists where this node and the members that it has met answer over TCP.
func (n *Node) listens() (list []netip.AddrPort) {
	add := func(text string) {
		// Such as /ip4/192.0.2.1/tcp/4610.
		parts := strings.Split(text, "/")
		if len(parts) < 5 || parts[1] != "ip4" && parts[1] != "ip6" || parts[3] != "tcp" {
			return
		}
		addr, err := netip.ParseAddr(parts[2])
		port, portErr := netip.ParseAddrPort("0.0.0.0:" + parts[4])
		if err == nil && portErr == nil {
			list = append(list, netip.AddrPortFrom(addr, port.Port()))
		}
	}
	for _, a := range n.host.Contact().Addresses {
		add(a)
	}
	for _, a := range n.config.Host.Listen {
		add(a)
	}
	for _, m := range n.host.Members() {
		for _, a := range m.Addresses {
			add(a)
		}
	}
	if api := n.apiPort.Load(); api != nil {
		list = append(list, *api)
	}
	return list
}

// capabilitiesOf reads names.
func capabilitiesOf(names []string) (all ledger.Capabilities, err error) {
	for _, name := range names {
		c := ledger.ParseCapability(name)
		if c == 0 {
			return 0, fmt.Errorf("%w: %q, want %s", errCapability, name, ledger.FeatureHTTP)
		}
		all |= c
	}
	return all, nil
}

// AllowDefault lets jobs of the tenant that needs no token ask for capabilities, by name.
func (n *Node) AllowDefault(ctx context.Context, names ...string) error {
	add, err := capabilitiesOf(names)
	if err == nil {
		err = n.tell(ctx, &ledger.SetCapabilities{Tenant: DefaultTenant, Add: add}, nil)
	}
	if err != nil {
		return fmt.Errorf("allow tenant %q: %w", DefaultTenant, err)
	}
	return nil
}
