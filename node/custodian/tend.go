package custodian

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/p2p"
)

// tendPage is how many secrets are looked at at once, watchRetry how long a watch that
// has failed waits before it goes on.
const (
	tendPage   = 64
	watchRetry = time.Second
)

// watch says when something below prefix changes.
func (c *Custodian) watch(prefix []byte) {
	from, _ := c.config.Ledger.View(func(ledger.Tx) error { return nil })
	for c.ctx.Err() == nil {
		err := c.config.Ledger.Watch(c.ctx, prefix, from, func(index uint64, changes []replica.Change) error {
			if from = index; len(changes) > 0 {
				c.notify()
			}
			return nil
		})
		if index, viewed := c.config.Ledger.View(func(ledger.Tx) error { return nil }); errors.Is(err, replica.ErrTooOld) && viewed == nil {
			from = index
		}
		c.notify()
		select {
		case <-time.After(watchRetry):
		case <-c.ctx.Done():
		}
	}
}

func (c *Custodian) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// tendAll tends at each change, now and then, and when a turn comes.
func (c *Custodian) tendAll() {
	for {
		next, err := c.tend()
		if err != nil {
			c.log.Info("secrets are not tended, but will be", "err", err)
			next = watchRetry
		}
		select {
		case <-c.changed:
		case <-time.After(next):
		case <-c.ctx.Done():
			return
		}
	}
}

// tend makes this custodian known, forgets those that are none, and seals the keys of all
// secrets to those that there are. It returns when to look again.
func (c *Custodian) tend() (next time.Duration, err error) {
	to, err := c.custodians()
	if err != nil {
		return 0, err
	}
	commands, err := c.behind(to)
	if err != nil {
		return 0, err
	}
	if len(commands) == 0 {
		c.since = time.Time{}
		return c.config.TendInterval, nil
	}
	if c.since.IsZero() {
		c.since = time.Now()
	}
	next = c.config.TendInterval
	for _, w := range commands {
		if wait := time.Duration(c.turn(w, to))*c.config.TurnInterval - time.Since(c.since); wait > 0 {
			next = min(next, wait)
			continue
		}
		if err := c.do(&w.WrapSecret); err != nil {
			return 0, err
		}
		c.metrics.wrapped.Inc()
		c.log.Info("keys of a secret are sealed to other custodians", "tenant", w.Tenant, "secret", w.Name, "custodians", len(w.Keys))
	}
	return next, nil
}

// turn is how many others can do it: those before this one that have a key already.
func (c *Custodian) turn(w *wrapping, to []secret.Custodian) (n int) {
	for _, s := range to {
		if s.Node >= c.config.Self {
			break
		}
		if slices.Contains(w.had, s.Node) {
			n++
		}
	}
	return n
}

// wrapping is a command that seals the keys of a secret, and who had them.
type wrapping struct {
	ledger.WrapSecret
	had []ledger.NodeID
}

// custodians returns those that keys are sealed to, in order, and sees to it that the
// ledger has this one's card, and none of who is no custodian.
func (c *Custodian) custodians() (to []secret.Custodian, err error) {
	var list []ledger.Custodian
	if _, err := c.config.Ledger.View(func(tx ledger.Tx) (err error) {
		list, err = ledger.Custodians(tx)
		return err
	}); err != nil {
		return nil, err
	}
	known := false
	for _, l := range list {
		if l.Node == c.config.Self {
			known = bytes.Equal(l.Card, c.config.Card)
			continue
		}
		s, err := c.config.Read(l.Card)
		switch {
		case err == nil && s.Node == l.Node:
			to = append(to, s)
		case errors.Is(err, p2p.ErrClock), errors.Is(err, p2p.ErrExpired):
			// Perhaps this node's clock is wrong.
		default:
			c.log.Warn("custodian is none", "node", l.Node, "err", err)
			if err := c.do(&ledger.PutCustodian{Node: l.Node}); err != nil {
				return nil, err
			}
		}
	}
	if !known {
		if err := c.do(&ledger.PutCustodian{Node: c.config.Self, Card: c.config.Card}); err != nil {
			return nil, err
		}
	}
	self, err := c.config.Read(c.config.Card)
	if err != nil {
		return nil, err
	}
	return c.first(append(to, self)), nil
}

// first returns those of the custodians that keys are sealed to, in order.
func (c *Custodian) first(to []secret.Custodian) []secret.Custodian {
	slices.SortFunc(to, func(a, b secret.Custodian) int { return bytes.Compare([]byte(a.Node), []byte(b.Node)) })
	if len(to) > ledger.CustodiansMax {
		c.metrics.limits.WithLabelValues("custodians").Inc()
		to = to[:ledger.CustodiansMax]
	}
	return to
}

// behind returns what seals the keys of those secrets that this custodian can open, and
// that are not sealed to just the ones that are wanted.
func (c *Custodian) behind(to []secret.Custodian) (commands []*wrapping, err error) {
	var tenant ledger.TenantID
	var name ledger.SecretName
	for {
		var list []ledger.Secret
		if _, err := c.config.Ledger.View(func(tx ledger.Tx) (err error) {
			list, err = ledger.AllSecrets(tx, tenant, name, tendPage)
			return err
		}); err != nil {
			return nil, err
		}
		for i := range list {
			tenant, name = list[i].Tenant, list[i].Name
			if w := c.wrap(&list[i], to); w != nil {
				commands = append(commands, w)
			}
		}
		if len(list) < tendPage {
			return commands, nil
		}
	}
}

// wrap returns what seals the key of a secret to the custodians; nil when it is, or
// cannot be opened here.
func (c *Custodian) wrap(s *ledger.Secret, to []secret.Custodian) *wrapping {
	var missing []secret.Custodian
	w := &wrapping{WrapSecret: ledger.WrapSecret{Tenant: s.Tenant, Name: s.Name, ID: s.ID}}
	for _, k := range s.Keys {
		w.had = append(w.had, k.Node)
	}
	for _, n := range to {
		i := slices.IndexFunc(s.Keys, func(k ledger.SecretKey) bool { return k.Node == n.Node })
		if i < 0 {
			missing = append(missing, n)
		} else {
			w.Keys = append(w.Keys, s.Keys[i])
		}
	}
	if len(missing) == 0 && len(w.Keys) == len(s.Keys) {
		return nil
	}
	k, err := c.unwrap(s)
	var keys []ledger.SecretKey
	if err == nil {
		keys, err = k.Wrap(secret.BindingOf(s), missing)
		clear(k[:])
	}
	if err != nil {
		c.log.Debug("keys of a secret are left to others", "tenant", s.Tenant, "secret", s.Name, "err", err)
		return nil
	}
	w.Keys = append(w.Keys, keys...)
	slices.SortFunc(w.Keys, func(a, b ledger.SecretKey) int { return bytes.Compare([]byte(a.Node), []byte(b.Node)) })
	return w
}

// do proposes a command. A secret that is gone, or has another value by now, is well.
func (c *Custodian) do(command ledger.Command) error {
	r, index, err := c.config.Ledger.Do(c.ctx, command)
	switch {
	case err != nil:
		return err
	case r.Code != ledger.CodeOK && r.Code != ledger.CodeSecretUnknown:
		return fmt.Errorf("the ledger refuses: %s %s", r.Code, r.What)
	}
	return c.config.Ledger.Wait(c.ctx, index)
}
