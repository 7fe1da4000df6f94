package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/custodian"
	"github.com/dugnad/dugnad/node/keeper"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// ErrInUse is returned by Open when another process runs a node on the folder.
var ErrInUse = errors.New("a node runs on this folder already")

var (
	// errAlone is returned where another member is needed and none is connected.
	errAlone = errors.New("no other member is connected")
	// errNoAuthority is returned where an admin is needed and this node is none.
	errNoAuthority = errors.New("this node is no admin: run the command on the founder's node, or on an admin's")
	// errSelf is returned for the expulsion of the node that is asked for it.
	errSelf = errors.New("a node cannot expel itself")
)

const (
	lockName = "lock"
	// objectOwner pins what the operator has put.
	objectOwner = "operator"
	// versionMethod answers with the program's version.
	versionMethod = "node.version"
	// fetchTimeout bounds the fetch of an object for the operator.
	fetchTimeout = 10 * time.Minute
	// evictTimeout bounds how long the ledger may take to let a member go.
	evictTimeout = 30 * time.Second
)

// lock keeps other processes away from the folder, and ends a restore that was
// interrupted at its very end.
func (n *Node) lock(context.Context) error {
	unlock, err := lockFolder(n.config.Dir)
	if err != nil {
		return err
	}
	n.unlock = unlock
	return settle(n.config.Dir)
}

// lockFolder makes the folder if need be, and locks it until unlock is called.
func lockFolder(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s", ErrInUse, dir)
		}
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		// Closing alone would leave the lock to a process that this one is about to
		// start, until it has started.
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
	}, nil
}

func (n *Node) openControl(ctx context.Context) error {
	s, err := control.Open(ctx, n.config.Dir, n, n.api, n.audit, n.log, n.registry)
	n.control = s
	return err
}

// methods are what this node answers to other members.
func (n *Node) methods() []rpc.Method {
	methods := append(keeper.Methods(n.keeper.Load), custodian.Methods(n.custodian.Load)...)
	methods = append(methods, tail.Methods(n.runs, n.link.Up)...)
	return append(methods, n.explainHere(), n.clockHere(), rpc.Method{
		Name: versionMethod, Allow: p2p.RoleClient, RequestBytesMax: 0, ResponseBytesMax: 1 << 10,
		Handler: func(context.Context, rpc.Request) ([]byte, error) { return []byte(n.config.Version), nil },
	})
}

// Host returns the node's presence on the network.
func (n *Node) Host() *p2p.Host { return n.host }

// Status implements control.Node.
func (n *Node) Status() control.Status {
	reach, replica := n.host.Reachability(), n.book.Status()
	s := control.Status{
		Version: n.config.Version, Node: string(n.host.Self()), Name: n.config.Host.Name, Grid: n.host.Grid().String(),
		Role: n.host.Membership().Role.String(), Address: n.host.Address(),
		Members: []control.Member{}, Offers: []control.Offer{},
		Ledger: control.Ledger{Leader: replica.Leader, Leads: replica.Leads, Voter: replica.Voter, Applied: replica.Applied},
		Reach:  control.Reach{Public: reach.Public, Reachable: reach.Reachable, Unreachable: reach.Unreachable, Relayed: reach.Relayed},
	}
	s.API.URL, s.API.PublicKey = n.APIURL()
	if at := n.host.ExpelledAt(); !at.IsZero() {
		s.Expelled = &at
	}
	given := n.steward.State()
	s.Withheld, s.PreferencesProblem = given.Withheld, given.Problem
	s.Download, s.Upload = bandwidthOf(n.link.Down), bandwidthOf(n.link.Up)
	if replica.Stalled != nil {
		s.Ledger.Problem = replica.Stalled.Error()
	}
	for _, m := range n.host.Members() {
		s.Members = append(s.Members, control.Member{
			Node: string(m.ID), Name: m.Name, Role: m.Role.String(), Connected: m.Connected, Seen: m.Seen,
		})
	}
	for _, e := range n.publisher.Board().List() {
		s.Offers = append(s.Offers, control.Offer{
			Node: string(e.Node), Slots: e.Offer.Slots, MemoryBytes: e.Offer.MemoryBytes, DiskBytes: e.Offer.DiskBytes, FuelRate: e.Offer.FuelRate,
			AgeSeconds: time.Since(e.At).Seconds(),
		})
	}
	for _, o := range n.store.List() {
		s.Objects.Count++
		s.Objects.Bytes += o.Size
	}
	return s
}

// Invite implements control.Node.
func (n *Node) Invite(_ context.Context, i control.Invitation) (string, error) {
	role, err := p2p.ParseRole(i.Role)
	if err != nil {
		return "", err
	}
	authority := n.host.Authority()
	if authority == nil {
		return "", fmt.Errorf("invite: %w", errNoAuthority)
	}
	v, err := authority.Invite(role, time.Now().Add(time.Duration(i.Seconds)*time.Second), i.Uses, []p2p.Contact{n.host.Contact()})
	if err != nil {
		return "", err
	}
	return v.Text()
}

// Expel implements control.Node: the network knows the node no more, and the ledger
// does not count on its vote. It can be called again when the ledger did not agree
// in time.
func (n *Node) Expel(ctx context.Context, node p2p.NodeID) error {
	switch {
	case n.host.Authority() == nil:
		return fmt.Errorf("expel: %w", errNoAuthority)
	case node == n.host.Self():
		return fmt.Errorf("expel: %w", errSelf)
	}
	if err := n.host.Expel(node); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	if err := n.book.Evict(ctx, string(node)); err != nil {
		return fmt.Errorf("the node is out, but the ledger counts on it still, expel it again later: %w", err)
	}
	return nil
}

// DialBack implements control.Node: the first member that answers.
func (n *Node) DialBack(ctx context.Context) (control.DialBack, error) {
	err := errAlone
	for _, id := range n.host.Connected() {
		var report p2p.DialBackReport
		if report, err = n.host.DialBack(ctx, id); err != nil {
			continue
		}
		d := control.DialBack{By: string(id), Observed: report.Observed}
		for _, a := range report.Attempts {
			d.Attempts = append(d.Attempts, control.DialBackAttempt{Address: a.Address, Problem: a.Problem})
		}
		return d, nil
	}
	return control.DialBack{}, err
}

// PutObject implements control.Node.
func (n *Node) PutObject(ctx context.Context, r io.Reader) (control.Object, error) {
	h, size, err := n.store.Put(ctx, r, objectOwner)
	if err != nil {
		return control.Object{}, err
	}
	return control.Object{Hash: h.String(), Bytes: size}, nil
}

// OpenObject implements control.Node.
func (n *Node) OpenObject(ctx context.Context, h content.Hash) (*content.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return n.store.Fetch(ctx, h, content.FetchOptions{})
}

// Backup implements control.Node.
func (n *Node) Backup(ctx context.Context, w io.Writer) error {
	_, err := n.book.Backup(ctx, w)
	return err
}
