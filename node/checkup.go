package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// clockMethod answers with the member's clock: nanoseconds since 1970, 8 bytes
	// big-endian.
	clockMethod = "node.clock"
	clockBytes  = 8
	// checkupPeersMax bounds the members that are asked, checkupAtOnce those at the
	// same time, and checkupTimeout how long each may take.
	checkupPeersMax = 32
	checkupAtOnce   = 8
	checkupTimeout  = 5 * time.Second
	// checkupTenantsMax bounds the tenants whose accounts are summed up.
	checkupTenantsMax = 1000
)

var (
	// errCheckup is returned to whoever asks for a checkup while another is under way:
	// each reads the whole ledger.
	errCheckup = errors.New("a checkup is under way, try again when it has ended")
	// errClockAnswer is the problem of a member whose answer is no time.
	errClockAnswer = errors.New("the member's answer is no time")
)

// clockHere is the method's definition.
func (n *Node) clockHere() rpc.Method {
	return rpc.Method{
		Name: clockMethod, Allow: p2p.RoleClient, RequestBytesMax: 0, ResponseBytesMax: clockBytes,
		Handler: func(context.Context, rpc.Request) ([]byte, error) {
			return binary.BigEndian.AppendUint64(nil, uint64(n.config.now().UnixNano())), nil
		},
	}
}

// Checkup implements control.Node. One is under way at a time.
func (n *Node) Checkup(ctx context.Context) (control.Checkup, error) {
	if !n.checking.TryLock() {
		return control.Checkup{}, errCheckup
	}
	defer n.checking.Unlock()
	out := control.Checkup{
		Version: n.config.Version, MemoryBytes: n.config.Offer.MemoryBytes, Slots: n.config.Offer.Slots, Peers: []control.Peer{},
	}
	peers := n.host.Connected()
	if len(peers) > checkupPeersMax {
		out.More, peers = len(peers)-checkupPeersMax, peers[:checkupPeersMax]
	}
	out.Peers = append(out.Peers, n.askPeers(ctx, peers)...)
	if err := ctx.Err(); err != nil {
		return out, err
	}
	began := time.Now()
	index, err := n.book.View(ledger.Check)
	out.Book = control.Book{Index: index, Seconds: time.Since(began).Seconds()}
	if err != nil {
		out.Book.Problem = err.Error()
	}
	_, err = n.book.View(func(tx ledger.Tx) error {
		out.Accounts, err = accounts(tx, n.config.now())
		return err
	})
	if err != nil && out.Book.Problem == "" {
		out.Book.Problem = err.Error()
	}
	return out, nil
}

// askPeers asks some members for version and clock.
func (n *Node) askPeers(ctx context.Context, peers []p2p.NodeID) []control.Peer {
	names := map[p2p.NodeID]string{}
	for _, m := range n.host.Members() {
		names[m.ID] = m.Name
	}
	out := make([]control.Peer, len(peers))
	places := make(chan struct{}, checkupAtOnce)
	var asking sync.WaitGroup
	for i, id := range peers {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			out[i] = n.askPeer(ctx, id)
			out[i].Name = names[id]
		})
	}
	asking.Wait()
	return out
}

func (n *Node) askPeer(ctx context.Context, id p2p.NodeID) control.Peer {
	ctx, cancel := context.WithTimeout(ctx, checkupTimeout)
	defer cancel()
	p := control.Peer{Node: string(id)}
	version, err := n.endpoint.Call(ctx, id, versionMethod, nil)
	if err == nil {
		p.Version = string(version)
		err = n.askClock(ctx, id, &p)
	}
	if err != nil {
		p.Problem = err.Error()
	}
	return p
}

// askClock compares clocks as NTP does: the member's is taken to have been read in
// the middle between question and answer.
func (n *Node) askClock(ctx context.Context, id p2p.NodeID, p *control.Peer) error {
	before, began := n.config.now(), time.Now()
	answer, err := n.endpoint.Call(ctx, id, clockMethod, nil)
	took := time.Since(began)
	if err != nil {
		return fmt.Errorf("ask for the clock: %w", err)
	}
	if len(answer) != clockBytes || binary.BigEndian.Uint64(answer) > math.MaxInt64 {
		return errClockAnswer
	}
	theirs := time.Unix(0, int64(binary.BigEndian.Uint64(answer)))
	p.OffsetSeconds = theirs.Sub(before.Add(took / 2)).Seconds()
	p.ErrorSeconds = (took / 2).Seconds()
	return nil
}

// accounts sums up the days that are kept of tenants' accounts.
func accounts(tx ledger.Tx, now time.Time) ([]control.Account, error) {
	list, err := ledger.Tenants(tx, "", checkupTenantsMax)
	out := []control.Account{}
	today := uint32(now.Unix() / int64((24 * time.Hour).Seconds()))
	for i := range list {
		a := control.Account{Tenant: string(list[i].ID), Fuel: list[i].FuelUsed}
		// The leader's clock may be a day ahead at midnight.
		for day := today - min(ledger.AccountDays, today); day <= today+1; day++ {
			of, err := ledger.FindAccount(tx, list[i].ID, day)
			if err != nil {
				return out, err
			}
			a.FuelDays += of.Usage.Fuel
		}
		out = append(out, a)
	}
	return out, err
}
