package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The files of a data directory besides keys and counts.
const (
	membershipFile = "membership"
	expulsionsFile = "expulsions"
)

// load reads the data directory and checks that what it holds and what is
// configured belong together.
func load(cfg Config) (*Host, error) {
	h := &Host{
		cfg: cfg, log: cfg.Log, deputies: newDeputies(), handlers: map[string]*handled{},
		lonely: make(chan struct{}, 1), spread: make(chan struct{}, 1), greeted: make(chan peer.ID, exchangesQueued),
		out: make(chan struct{}), listening: make(chan struct{}), book: newBook(cfg.MembersMax), places: newPlaces(),
		refusals: newRefusals(),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if _, err := rand.Read(h.session[:]); err != nil {
		return nil, fmt.Errorf("make session: %w", err)
	}
	var err error
	if h.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	h.traffic.metrics = h.metrics
	if err := h.loadKeys(); err != nil {
		return nil, err
	}
	if err := h.loadMembership(); err != nil {
		return nil, err
	}
	if err := h.book.load(filepath.Join(cfg.Dir, bookFile), time.Now(), h.log); err != nil {
		return nil, err
	}
	h.door = &door{
		key: h.key, slots: newSlots(cfg.HandshakesMax, cfg.HandshakesPerIPMax), timeout: cfg.HandshakeTimeout,
		admit: h.admit, refused: h.hearProof, refusals: h.refusals, noted: cfg.Noted, log: h.log, metrics: h.metrics,
		party: party{
			grid: h.grid, self: idOf(h.self), name: cfg.Name, now: time.Now, invitation: cfg.Invitation,
			membership: h.membership.Load, news: h.news, verify: h.verify, redeem: h.redeem,
		},
	}
	h.gates.limit = h.cfg.streamLimit
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

func (h *Host) loadKeys() error {
	if err := os.MkdirAll(h.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if h.key = h.cfg.Key; h.key.zero() {
		if h.key, err = LoadIdentity(h.cfg.Dir); err != nil {
			return err
		}
	}
	if h.self, err = h.key.NodeID().peer(); err != nil {
		return err
	}
	if !h.cfg.GridKey.zero() {
		return nil
	}
	h.cfg.GridKey, err = LoadGridKey(h.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// loadMembership finds out which grid this is, and the node's membership in it.
func (h *Host) loadMembership() error {
	own := h.cfg.Membership
	if own == nil {
		b, err := readFile(filepath.Join(h.cfg.Dir, membershipFile), membershipBytesMax)
		if err != nil {
			return err
		}
		if b != nil {
			if own, err = DecodeMembership(b); err != nil {
				return fmt.Errorf("read %s: %w", membershipFile, err)
			}
		}
	}
	switch {
	case own != nil:
		h.grid = own.Grid
	case !h.cfg.GridKey.zero():
		h.grid = h.cfg.GridKey.GridID()
		own = Found(h.cfg.GridKey, h.key, time.Now())
		if err := replaceFile(filepath.Join(h.cfg.Dir, membershipFile), own.Encode()); err != nil {
			return err
		}
	case h.cfg.Invitation != nil:
		h.grid = h.cfg.Invitation.Grid
	default:
		return fmt.Errorf("%w: found a grid, or join one with an invitation", ErrNoMembership)
	}
	if v := h.cfg.Invitation; v != nil && v.Grid != h.grid {
		return fmt.Errorf("%w: the invitation is for grid %s, the data directory is of grid %s", ErrWrongGrid, v.Grid, h.grid)
	}
	if !h.cfg.GridKey.zero() && h.cfg.GridKey.GridID() != h.grid {
		return fmt.Errorf("%w: the grid's key is of grid %s, the membership of grid %s", ErrWrongGrid, h.cfg.GridKey.GridID(), h.grid)
	}
	if err := h.loadExpulsions(); err != nil {
		return err
	}
	return h.checkMembership(own)
}

// checkMembership takes the membership if it is good. With an invitation at hand,
// one that has expired, or whose admin was expelled before, is none.
func (h *Host) checkMembership(own *Membership) error {
	if err := h.expelled.check(idOf(h.self)); err != nil {
		return fmt.Errorf("check membership: %w", err)
	}
	if own == nil {
		return h.cfg.Invitation.Verify(h.grid, time.Now(), h.expelled)
	}
	if own.Node != idOf(h.self) {
		return fmt.Errorf("%w: the one at hand is of %s, this node is %s", ErrNoMembership, own.Node, idOf(h.self))
	}
	err := own.Verify(h.grid, time.Now(), h.expelled)
	if v := h.cfg.Invitation; v != nil && (errors.Is(err, ErrExpired) || errors.Is(err, ErrExpelled)) {
		h.log.Warn("membership is void, a new one is asked for", "error", err)
		return v.Verify(h.grid, time.Now(), h.expelled)
	}
	if err != nil {
		return err
	}
	if h.cfg.Invitation != nil {
		h.log.Info("this node is a member already, the invitation is not used")
	}
	h.membership.Store(own)
	return nil
}

func (h *Host) loadExpulsions() error {
	h.expelled = NewExpulsions(h.grid)
	b, err := readFile(filepath.Join(h.cfg.Dir, expulsionsFile), expulsionsBytesMax)
	if err != nil || b == nil {
		return err
	}
	if of, wrong := expulsionsGrid(b); wrong == nil && of != h.grid {
		return fmt.Errorf("%w: the invitation is for grid %s, the data directory was of grid %s", ErrWrongGrid, h.grid, of)
	}
	list, err := DecodeExpulsions(b, h.grid)
	if err != nil {
		return fmt.Errorf("read %s: %w", expulsionsFile, err)
	}
	if _, err := h.expelled.Add(list, time.Now()); err != nil {
		h.log.Warn("an expulsion was left out", "error", err)
	}
	h.metrics.expelled.Set(float64(len(h.expelled.Nodes())))
	return nil
}

// openAuthority opens the node's authority, if it has one.
func (h *Host) openAuthority() error {
	var a *Authority
	var err error
	own := h.membership.Load()
	switch {
	case !h.cfg.GridKey.zero():
		a, err = OpenAuthority(h.cfg.Dir, h.cfg.GridKey, h.expelled)
	case own.Role == RoleAdmin && own.Admin == nil:
		a, err = OpenAdmin(h.cfg.Dir, h.key, own, h.expelled)
	}
	if err != nil {
		return err
	}
	if a != nil {
		h.authority.Store(a)
	}
	return nil
}

// AdminKey returns the key of an encoded membership that makes its node an admin of
// this grid now. The errors are those of Membership.Verify, ErrMalformed and
// ErrNotAdmin.
func (h *Host) AdminKey(membership []byte, now time.Time) (key [32]byte, err error) {
	m, err := DecodeMembership(membership)
	if err != nil {
		return key, err
	}
	if err := h.verify(m, now); err != nil {
		return key, err
	}
	if m.Role != RoleAdmin || m.Admin != nil {
		return key, fmt.Errorf("look for an admin: %w", ErrNotAdmin)
	}
	return m.Node.key()
}

func (h *Host) verify(m *Membership, now time.Time) error { return m.Verify(h.grid, now, h.expelled) }

// news is what this node tells members.
func (h *Host) news() news {
	_, d := h.expelled.state()
	n := news{name: h.cfg.Name, expelled: d, session: h.session}
	if record := h.record.Load(); record != nil {
		n.record = *record
	}
	return n
}
