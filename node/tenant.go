package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p"
)

// tenantTimeout bounds how long the ledger may take to hear of a tenant or of a
// revocation.
const tenantTimeout = 30 * time.Second

var (
	errTenantExists = errors.New("there is a tenant of that name: choose another one, or make another token for it with --existing")
	errNoTenant     = errors.New("there is no tenant of that name: leave out --existing to make it")
	errTenantName   = errors.New("a tenant's name has 1 to 64 of a-z, 0-9 and -")
	errOver         = errors.New("the token has been over for more than a day, or is not in this century: no node takes it")
	errOther        = errors.New("the token is of a tenant that this grid has not: use the founder's node of its own grid")
	errKey          = errors.New("a key has 32 bytes, and so has a delegation's id")
)

// FoundToken implements control.Node.
func (n *Node) FoundToken(ctx context.Context, f control.Founding) ([]byte, error) {
	authority := n.host.Authority()
	switch {
	case authority == nil:
		return nil, fmt.Errorf("make a tenant: %w", errNoAuthority)
	case len(f.Key) != 32:
		return nil, fmt.Errorf("make a tenant: %w", errKey)
	case f.Tenant == "":
		return nil, fmt.Errorf("make a tenant: %w", errTenantName)
	}
	capabilities, err := capabilitiesOf(f.Allow)
	if err != nil {
		return nil, fmt.Errorf("make a tenant: %w", err)
	}
	until := time.Time{}
	if f.Until != nil {
		until = *f.Until
	}
	_, admin := authority.Root()
	var membership []byte
	if admin != nil {
		membership = admin.Encode()
	}
	// The chain first: what it refuses makes no tenant.
	chain, err := warrant.Found(tokenRoot{authority}, membership, [32]byte(f.Key), f.Tenant, until)
	if err != nil {
		return nil, err
	}
	if err := n.makeTenant(ctx, ledger.TenantID(f.Tenant), f.Existing, capabilities); err != nil {
		return nil, fmt.Errorf("make tenant %q: %w", f.Tenant, err)
	}
	return chain.Encode(), nil
}

// makeTenant makes a tenant that is to be new, or looks for one that is to exist.
func (n *Node) makeTenant(ctx context.Context, id ledger.TenantID, existing bool, capabilities ledger.Capabilities) error {
	ctx, cancel := context.WithTimeout(ctx, tenantTimeout)
	defer cancel()
	if existing {
		_, err := n.book.Read(ctx, func(tx ledger.Tx) error {
			_, err := ledger.FindTenant(tx, id)
			return err
		})
		if errors.Is(err, ledger.ErrNotFound) {
			return errNoTenant
		}
		return err
	}
	q := api.DefaultQuota()
	return n.tell(ctx, &ledger.CreateTenant{
		Tenant: id, Weight: q.Weight, BandMax: q.BandMax, Quota: ledger.Quota{QueuedTasks: q.QueuedTasks, Jobs: q.Jobs}, Capabilities: capabilities,
	}, map[ledger.Code]error{
		ledger.CodeTenantExists: errTenantExists, ledger.CodeInvalid: errTenantName,
	})
}

// Revoke implements control.Node.
func (n *Node) Revoke(ctx context.Context, r control.Revocation) error {
	switch {
	case n.host.Authority() == nil:
		return fmt.Errorf("revoke: %w", errNoAuthority)
	case len(r.ID) != 32:
		return fmt.Errorf("revoke: %w", errKey)
	}
	c := &ledger.Revoke{ID: [32]byte(r.ID), Tenant: ledger.TenantID(r.Tenant)}
	if r.Until != nil {
		// The delegation is good in the second of its end, too.
		c.Until = ledger.Time(r.Until.Add(time.Second).UnixNano())
	}
	ctx, cancel := context.WithTimeout(ctx, tenantTimeout)
	defer cancel()
	known := map[ledger.Code]error{ledger.CodeInvalid: errOver, ledger.CodeTenantUnknown: errOther}
	if err := n.tell(ctx, c, known); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

// tell proposes a command and waits until this node has applied it. known are the
// errors of some refusals.
func (n *Node) tell(ctx context.Context, c ledger.Command, known map[ledger.Code]error) error {
	r, index, err := n.book.Do(ctx, c)
	switch {
	case err != nil:
		return err
	case known[r.Code] != nil:
		return known[r.Code]
	case r.Code != ledger.CodeOK:
		return fmt.Errorf("the ledger refuses: %s %s: %s", r.Code, r.What, r.Help())
	}
	return n.book.Wait(ctx, index)
}

// tokenRoot signs tokens with an authority's key.
type tokenRoot struct{ *p2p.Authority }

// Public implements warrant.Signer.
func (r tokenRoot) Public() [32]byte {
	public, _ := r.Root()
	return public
}

// Sign implements warrant.Signer.
func (r tokenRoot) Sign(message []byte) [64]byte { return r.SignToken(message) }
