package custodian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// warnInterval is the least time between two refusals in the log; the metric has all.
const warnInterval = time.Second

// Methods are what workers may ask of this node. custodian is called for each request:
// it returns nil while there is none.
func Methods(custodian func() *Custodian) []rpc.Method {
	return []rpc.Method{{
		Name: keyMethod, Allow: p2p.RoleWorker, RequestBytesMax: questionBytesMax, ResponseBytesMax: keyBytes,
		Handler: func(ctx context.Context, r rpc.Request) ([]byte, error) {
			c := custodian()
			if c == nil {
				return nil, ErrClosing
			}
			return c.answer(ctx, r)
		},
	}}
}

// answer opens the key to a secret for the node that calls, which the transport has
// proved: the answer is encrypted for it on its way.
func (c *Custodian) answer(ctx context.Context, r rpc.Request) ([]byte, error) {
	q, err := decodeQuestion(r.Body)
	var k secret.DataKey
	if err == nil {
		k, err = c.give(ctx, ledger.NodeID(r.From), &q)
	}
	if err != nil {
		c.metrics.refused.WithLabelValues(codeOf(err)).Inc()
		c.log.Log(ctx, c.loudness(), "key to a secret is refused", "node", r.From, "tenant", q.tenant, "secret", q.name, "job", q.job, "err", err)
		return nil, err
	}
	c.metrics.given.Inc()
	return k[:], nil
}

// loudness is at which level a refusal is logged: once in warnInterval for operators.
func (c *Custodian) loudness() slog.Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.warned) < warnInterval {
		return slog.LevelDebug
	}
	c.warned = time.Now()
	return slog.LevelWarn
}

// give returns the key when the node may have it. This node's copy of the ledger may be
// behind the asker's.
func (c *Custodian) give(ctx context.Context, to ledger.NodeID, q *question) (k secret.DataKey, err error) {
	var s ledger.Secret
	look := func(tx ledger.Tx) (err error) {
		s, err = allowed(tx, to, q)
		return err
	}
	index, err := c.config.Ledger.View(look)
	if err != nil && index < q.index {
		ctx, cancel := context.WithTimeout(ctx, c.config.CallTimeout)
		defer cancel()
		if err := c.config.Ledger.Wait(ctx, q.index); err != nil {
			return k, err
		}
		_, err = c.config.Ledger.View(look)
	}
	if err != nil {
		return k, err
	}
	return c.unwrap(&s)
}

// allowed returns the secret when a node may have the key to it: it has the lease that it
// says, on tasks of a job of the secret's tenant that names the secret.
func allowed(tx ledger.Tx, to ledger.NodeID, q *question) (s ledger.Secret, err error) {
	l, err := ledger.FindLease(tx, to, q.epoch)
	switch {
	case errors.Is(err, ledger.ErrNotFound), err == nil && l.Job != q.job:
		return s, ErrNoLease
	case err != nil:
		return s, err
	}
	spec, err := ledger.FindSpec(tx, q.job)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return s, ErrNoLease
	case err != nil:
		return s, err
	case spec.Tenant != q.tenant, !slices.Contains(spec.Secrets, q.name):
		return s, ErrNotNamed
	}
	s, _, err = ledger.FindSecret(tx, q.tenant, q.name)
	switch {
	case errors.Is(err, ledger.ErrNotFound), err == nil && s.ID != q.id:
		return s, ErrOtherValue
	case err == nil && len(s.Nodes) > 0 && !slices.Contains(s.Nodes, to):
		return s, ErrNotForNode
	}
	return s, err
}

// unwrap opens the key to a secret with this node's own.
func (c *Custodian) unwrap(s *ledger.Secret) (secret.DataKey, error) {
	i := slices.IndexFunc(s.Keys, func(k ledger.SecretKey) bool { return k.Node == c.config.Self })
	if i < 0 || len(c.config.Card) == 0 {
		return secret.DataKey{}, ErrNoKey
	}
	k, err := c.config.Key.Unwrap(secret.BindingOf(s), s.Keys[i].Sealed)
	if err != nil {
		return k, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return k, nil
}
