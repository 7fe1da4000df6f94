package custodian

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
)

// Value returns the value of a tenant's secret for tasks of a job, on which this node has
// a lease, and the value's id. The errors are ErrGone, ErrUnfit and ErrWithheld, which may
// pass; or those of the ledger's copy. Each custodian is asked once.
func (c *Custodian) Value(ctx context.Context, tenant ledger.TenantID, name ledger.SecretName, job ledger.JobID, epoch ledger.Epoch) (value []byte, id [16]byte, err error) {
	var s ledger.Secret
	var sealed []byte
	index, err := c.config.Ledger.View(func(tx ledger.Tx) (err error) {
		s, sealed, err = ledger.FindSecret(tx, tenant, name)
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil, id, fmt.Errorf("%w: %s", ErrGone, name)
	case err != nil:
		return nil, id, fmt.Errorf("read secret %s: %w", name, err)
	}
	q := question{id: s.ID, job: job, epoch: epoch, index: index, tenant: tenant, name: name}
	rand.Shuffle(len(s.Keys), func(i, j int) { s.Keys[i], s.Keys[j] = s.Keys[j], s.Keys[i] })
	err = ErrNoKey
	for i := range s.Keys {
		var k secret.DataKey
		if k, err = c.ask(ctx, &s, s.Keys[i].Node, &q); err != nil {
			continue
		}
		value, err = k.Open(secret.BindingOf(&s), sealed)
		clear(k[:])
		switch {
		case err == nil:
			return value, s.ID, nil
		case errors.Is(err, secret.ErrValue):
			return nil, id, fmt.Errorf("%w: %s: %w", ErrUnfit, name, err)
		}
	}
	return nil, id, fmt.Errorf("%w %s, and the last one says: %w", ErrWithheld, name, err)
}

// ask asks one custodian, which may be this node, for the key.
func (c *Custodian) ask(ctx context.Context, s *ledger.Secret, node ledger.NodeID, q *question) (k secret.DataKey, err error) {
	defer func() { c.metrics.asked.WithLabelValues(codeOf(err)).Inc() }()
	if node == c.config.Self {
		if _, err := c.config.Ledger.View(func(tx ledger.Tx) error {
			_, err := allowed(tx, node, q)
			return err
		}); err != nil {
			return k, err
		}
		return c.unwrap(s)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.CallTimeout)
	defer cancel()
	answer, err := c.config.Peers.Call(ctx, p2p.NodeID(node), keyMethod, q.encode())
	if err != nil {
		return k, err
	}
	if len(answer) != keyBytes {
		return k, fmt.Errorf("%w: a key of %d bytes", ErrMalformed, len(answer))
	}
	defer clear(answer)
	return secret.DataKey(answer), nil
}
