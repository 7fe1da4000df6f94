package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
)

var (
	// ErrSecret refuses the tasks of a job that is to have a secret which its tenant has
	// not any more, or which no guest can be given.
	ErrSecret = errors.New("secret cannot be given")
	// ErrNoSecrets hands back a lease whose tasks are to have secrets where none are
	// given.
	ErrNoSecrets = errors.New("this node gives tasks no secrets")
)

// Secrets opens the secrets of tenants.
type Secrets interface {
	// Value returns the value of a secret for tasks of a job, on which this node has a
	// lease, and the value's id. An error with a method Gone() that is true says that no
	// node can give it; any other may pass.
	Value(ctx context.Context, tenant ledger.TenantID, name ledger.SecretName, job ledger.JobID, epoch ledger.Epoch) (value []byte, id [16]byte, err error)
}

// heldSecret is a value in memory, as long as the job has leases here.
type heldSecret struct {
	id    [16]byte
	value string
}

// secrets returns the variables of the lease's tasks whose values are secrets, as those
// are now: one that has changed is opened anew.
func (l *lease) secrets() (environ []string, err error) {
	j := l.job
	if len(j.program.Secrets) == 0 {
		return nil, nil
	}
	values := map[ledger.SecretName]string{}
	for _, name := range j.program.SecretNames() {
		if values[name], err = l.secret(name); err != nil {
			return nil, err
		}
	}
	for _, s := range j.program.Secrets {
		environ = append(environ, s.Variable+"="+values[s.Name])
	}
	return environ, nil
}

func (l *lease) secret(name ledger.SecretName) (string, error) {
	j, c := l.job, &l.e.config
	var is ledger.Secret
	_, err := c.Ledger.View(func(tx ledger.Tx) (err error) {
		is, _, err = ledger.FindSecret(tx, j.spec.Tenant, name)
		return err
	})
	if errors.Is(err, ledger.ErrNotFound) {
		return "", fmt.Errorf("%w: %s was removed", ErrSecret, name)
	}
	if err != nil {
		return "", err
	}
	l.e.mu.Lock()
	held, ok := j.held[name]
	l.e.mu.Unlock()
	if ok && held.id == is.ID {
		return held.value, nil
	}
	if c.Secrets == nil {
		return "", ErrNoSecrets
	}
	value, id, err := l.openSecret(name)
	if err != nil {
		return "", err
	}
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if j.held == nil {
		j.held = map[ledger.SecretName]heldSecret{}
	}
	j.held[name] = heldSecret{id, string(value)}
	return string(value), nil
}

// openSecret asks for a value, a few times.
func (l *lease) openSecret(name ledger.SecretName) (value []byte, id [16]byte, err error) {
	c := &l.e.config
	for try := 1; ; try++ {
		value, id, err = c.Secrets.Value(l.ctx, l.job.spec.Tenant, name, l.job.id, l.epoch)
		var gone interface{ Gone() bool }
		switch {
		case err == nil:
			return value, id, nil
		case l.ctx.Err() != nil:
			return nil, id, context.Cause(l.ctx)
		case errors.As(err, &gone) && gone.Gone():
			return nil, id, fmt.Errorf("%w: %w", ErrSecret, err)
		case try >= c.FetchAttempts:
			return nil, id, err
		}
		l.e.metrics.commands.WithLabelValues("secret").Inc()
		l.e.pause(l.ctx, try)
	}
}

// withhold ends tasks that cannot be given their secrets: for good, or here.
func (l *lease) withhold(indexes []uint32, err error) {
	if errors.Is(err, ErrSecret) {
		l.endTasksFor(indexes, err)
		return
	}
	l.handBackFor(err)
	l.pushBack(indexes)
}

// endTasksFor refuses tasks.
func (l *lease) endTasksFor(indexes []uint32, err error) {
	l.e.log.Warn("tasks cannot be run", "job", l.job.id, "tasks", len(indexes), "err", err)
	for _, index := range indexes {
		l.ended(refusedTask(l, index, err))
	}
}
