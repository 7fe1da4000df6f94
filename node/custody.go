package node

import (
	"context"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/node/custodian"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
)

// custodianPurpose derives a custodian's key from its node's.
const custodianPurpose = "dugnad custodian key v1"

// openCustodian starts what gets secrets for this node's tasks and, on an admin's node,
// keeps those of all tenants.
func (n *Node) openCustodian(ctx context.Context) error {
	seed, err := n.host.Derive(custodianPurpose)
	if err != nil {
		return err
	}
	defer clear(seed[:])
	c := custodian.Default()
	c.Self, c.Ledger, c.Peers, c.Log, c.Registerer = n.self(), n.book, n.endpoint, n.log, n.registry
	c.Read = n.readCard
	if c.Key, err = secret.NewKey(seed); err != nil {
		return err
	}
	if m := n.host.Membership(); m.Role == p2p.RoleAdmin && m.Admin == nil {
		if c.Card, err = c.Key.Card(n.host.Grid(), m.Encode(), n.host.Sign); err != nil {
			return err
		}
	}
	n.config.alter(&c)
	k, err := custodian.Open(ctx, c)
	if err == nil {
		n.custodian.Store(k)
	}
	return err
}

// readCard verifies a custodian's card, with what this node knows of expulsions.
func (n *Node) readCard(card []byte) (secret.Custodian, error) {
	return secret.ReadCardBy(card, n.host.Grid(), func(membership []byte) error {
		_, err := n.host.AdminKey(membership, time.Now())
		return err
	})
}

// ReadCard implements httpd.Grid.
func (n *Node) ReadCard(card []byte) error {
	if _, err := n.readCard(card); err != nil {
		return fmt.Errorf("read custodian: %w", err)
	}
	return nil
}

// GridKey implements httpd.Grid.
func (n *Node) GridKey() [32]byte { return n.host.Grid() }
