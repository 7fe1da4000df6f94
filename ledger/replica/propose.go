package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

// Propose has command applied and returns its result and the index of its log
// entry. It finds the leader, and tries again with the same bytes when the
// leader changes, until ctx ends: command must be one that the machine applies
// at most once. It returns ErrTooLarge, ErrRefused, ErrOverloaded, ErrNoLeader,
// ErrNoRoom, ErrUncertain, ErrStopped or ErrClosed.
func (r *Replica) Propose(ctx context.Context, command []byte) (result []byte, index uint64, err error) {
	if len(command) > r.config.CommandBytesMax {
		r.metrics.limits.WithLabelValues("command").Inc()
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(command), r.config.CommandBytesMax)
	}
	start := time.Now()
	result, index, err = r.proposeAs(ctx, callPropose, command)
	r.metrics.proposals.WithLabelValues(proposalLabel(err)).Inc()
	if err == nil {
		r.metrics.proposalSeconds.Observe(time.Since(start).Seconds())
	}
	return result, index, err
}

// proposalLabel names an outcome in the metrics.
func proposalLabel(err error) string {
	switch {
	case err == nil:
		return "applied"
	case errors.Is(err, ErrOverloaded):
		return "overloaded"
	case errors.Is(err, ErrUncertain):
		return "uncertain"
	case errors.Is(err, ErrNoLeader):
		return "no-leader"
	case errors.Is(err, ErrNoRoom):
		return "no-room"
	case errors.Is(err, ErrRefused):
		return "refused"
	default:
		return "error"
	}
}

func (r *Replica) proposeAs(ctx context.Context, kind byte, command []byte) (result []byte, index uint64, err error) {
	select {
	case r.proposing <- struct{}{}:
		defer func() { <-r.proposing }()
	default:
		r.metrics.limits.WithLabelValues("proposing").Inc()
		return nil, 0, fmt.Errorf("%w: %d at this member", ErrOverloaded, cap(r.proposing))
	}
	err = r.atLeader(ctx, func(address string) (bool, error) {
		if address == "" {
			var err error
			result, index, err = r.pipeline.propose(ctx, command, kind == callMember)
			return errors.Is(err, errLost), err
		}
		payload, sent, err := r.callers.call(ctx, address, kind, command)
		if err != nil {
			// An answer other than errLost says that nothing happened.
			return sent && (codeOf(err) == codeLost || codeOf(err) == codeOther), err
		}
		d := decoder{rest: payload}
		index = d.uvarint()
		result = d.rest
		return true, d.err
	})
	return result, index, err
}

// atLeader calls try with the leader's address, "" when that is this member,
// until it succeeds, fails for good, or ctx ends. try reports whether something
// may have happened although it failed.
func (r *Replica) atLeader(ctx context.Context, try func(address string) (perhaps bool, err error)) error {
	var hint hintError
	uncertain := false
	last := ErrNoLeader
	for attempt := 0; ; attempt++ {
		if err := r.unusable(); err != nil {
			return err
		}
		changed := r.changed.wait()
		address, found := r.target(hint, attempt)
		hint = hintError{}
		if found {
			perhaps, err := try(address)
			if err == nil {
				return nil
			}
			uncertain = uncertain || perhaps
			if final := finalError(err); final != nil && !uncertain {
				return final
			}
			last = err
			if errors.As(err, &hint) && hint.address != "" && attempt%8 < 4 && ctx.Err() == nil {
				continue
			}
		}
		wait := time.NewTimer(backoff(attempt, r.config.HeartbeatTimeout))
		select {
		case <-wait.C:
		case <-changed:
			wait.Stop()
		case <-ctx.Done():
			wait.Stop()
			if full := r.stall.cause(); full != nil && (errors.Is(last, ErrNoLeader) || errors.Is(last, errNotLeader)) {
				last = full // why this member does not lead either
			}
			return endError(uncertain, last, context.Cause(ctx))
		case <-r.ctx.Done():
			wait.Stop()
			return endError(uncertain, ErrClosed, ErrClosed)
		}
	}
}

// endError is what a caller gets whose time is over.
func endError(uncertain bool, last, cause error) error {
	switch {
	case uncertain:
		return fmt.Errorf("%w: %w", ErrUncertain, cause)
	case errors.Is(last, ErrClosed), errors.Is(last, ErrOverloaded), errors.Is(last, ErrStopped):
		return last
	case errors.Is(last, ErrNoRoom):
		return fmt.Errorf("%w: %w", last, cause)
	case errors.Is(last, errNotLeader), errors.Is(last, ErrNoLeader):
		return fmt.Errorf("%w: %w", ErrNoLeader, cause)
	default:
		return fmt.Errorf("%w: %w: %w", ErrNoLeader, cause, last)
	}
}

// finalError returns err when it makes no sense to try again.
func finalError(err error) error {
	for _, final := range []error{ErrOverloaded, ErrTooLarge, ErrRefused, ErrNotMember, errLastVoter} {
		if errors.Is(err, final) {
			return err
		}
	}
	return nil
}

// target says whom to ask: the leader, or any voter, who knows.
func (r *Replica) target(hint hintError, attempt int) (address string, found bool) {
	if r.engine.leads() {
		return "", true
	}
	if hint.address != "" && hint.id != r.config.ID {
		return hint.address, true
	}
	if id, address := r.leader(); attempt%2 == 0 && address != "" && id != r.config.ID {
		return address, true
	}
	view := r.book.view()
	var voters []string
	for _, s := range view.servers {
		if s.Suffrage == raft.Voter && string(s.ID) != r.config.ID {
			voters = append(voters, view.address(string(s.ID)))
		}
	}
	if len(voters) == 0 {
		return "", false
	}
	return voters[rand.IntN(len(voters))], true
}

// leader returns the leader's id and address as far as this member knows.
func (r *Replica) leader() (id, address string) {
	id, address = r.engine.leader()
	if id == "" {
		h := r.hint.Load()
		if h == nil {
			return "", ""
		}
		return h.id, h.address
	}
	if announced := r.book.view().address(id); announced != "" {
		address = announced
	}
	return id, address
}

// backoff returns how long to wait before the next attempt, if nothing happens:
// from 1/64 to 1/8 of the heartbeat timeout, with jitter.
func backoff(attempt int, heartbeat time.Duration) time.Duration {
	d := heartbeat / 64 << min(attempt, 3)
	return d/2 + rand.N(d/2+1)
}

// proposeMember proposes a command of the replica's own.
func (r *Replica) proposeMember(ctx context.Context, m memberCommand) error {
	_, _, err := r.proposeAs(ctx, callMember, m.encode())
	return err
}
