package replica_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/replica/machine"
	"github.com/hashicorp/raft"
)

// TestLeaderKeepsOutWhatNobodyCanApply proposes, at the leader and elsewhere,
// what would stop every member or end its leases: nothing of it comes into the
// log.
func TestLeaderKeepsOutWhatNobodyCanApply(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	book := machine.Ledger{Now: func() time.Time { return now }}
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Machine: book, Configure: func(c *replica.Config) { c.Accept = book.Accept }})
	list := c.Found(3, 3)
	leader := c.Leader(3)
	tenant := func(at time.Time) []byte {
		return ledger.Encode(ledger.Envelope{Now: ledger.Time(at.UnixNano()), Body: &ledger.CreateTenant{Tenant: "t", Weight: 1}})
	}
	before, err := c.Log(leader).LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		command []byte
		want    error
	}{
		{"unknown number", []byte{1, 255, 0}, ledger.ErrUnknownCommand},
		{"unknown version", append([]byte{99}, tenant(now)[1:]...), ledger.ErrUnknownCommand},
		{"malformed", tenant(now)[:10], ledger.ErrMalformed},
		{"empty", nil, ledger.ErrMalformed},
		{"ahead", tenant(now.Add(31 * time.Second)), ledger.ErrClock},
		{"behind", tenant(now.Add(-24 * time.Hour)), ledger.ErrClock},
	} {
		for at, r := range list {
			_, _, err := r.Propose(within(t), test.command)
			if !errors.Is(err, replica.ErrRefused) || !strings.Contains(err.Error(), test.want.Error()) {
				t.Errorf("%s at %s: %v", test.name, ledgertest.Name(at), err)
			}
			if n := strings.Count(err.Error(), replica.ErrRefused.Error()); n != 1 {
				t.Errorf("%s at %s says it %d times: %v", test.name, ledgertest.Name(at), n, err)
			}
			if at == leader && !errors.Is(err, test.want) {
				t.Errorf("%s at the leader: %v", test.name, err)
			}
		}
	}
	last, err := c.Log(leader).LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for index := before + 1; index <= last; index++ {
		var l raft.Log
		if err := c.Log(leader).GetLog(index, &l); err == nil && l.Type == raft.LogCommand {
			t.Errorf("entry %d is a command", index)
		}
	}
	for _, r := range list {
		result, index, err := r.Propose(within(t), tenant(now.Add(29*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.DecodeResult(result); err != nil {
			t.Error(err)
		}
		for _, other := range list {
			if err := other.Wait(within(t), index); err != nil {
				t.Error(err)
			}
		}
	}
}

// gate is a machine that applies nothing until it is open.
type gate struct {
	ledgertest.Toy
	open chan struct{}
}

func (g gate) Apply(tx ledger.Tx, index uint64, command []byte) ([]byte, error) {
	<-g.open
	return g.Toy.Apply(tx, index, command)
}

// TestFullQueueRefusesAtOnceAndLosesNothing proposes more than a leader lets
// wait. What is refused is refused while nothing moves, and did not happen; the
// rest happens once.
func TestFullQueueRefusesAtOnceAndLosesNothing(t *testing.T) {
	const members, queue = 5, 8
	g := gate{open: make(chan struct{})}
	open := sync.OnceFunc(func() { close(g.open) })
	c := ledgertest.NewCluster(t, ledgertest.ClusterConfig{Machine: g, Configure: func(c *replica.Config) {
		c.QueueMax, c.BatchCommandsMax = queue, 1
	}})
	t.Cleanup(open)
	list := c.Found(members, members)
	// Each member forwards as many as the leader's queue takes alone.
	refused := make(chan struct{}, members*queue)
	var acked atomic.Int64
	var proposing sync.WaitGroup
	for i, r := range list {
		for k := range queue {
			proposing.Go(func() {
				command := ledgertest.ToyCommand{Client: uint64(100*i + k), Seq: 1, Op: ledgertest.ToyAdd, Key: "k"}
				switch _, _, err := r.Propose(within(t), command.Encode()); {
				case err == nil:
					acked.Add(1)
				case errors.Is(err, replica.ErrOverloaded):
					refused <- struct{}{}
				default:
					t.Error(err)
				}
			})
		}
	}
	select {
	case <-refused:
	case <-within(t).Done():
		t.Error("nothing was refused")
	}
	open()
	proposing.Wait()
	r := list[c.Leader(members)]
	if _, err := r.Read(within(t), nothing); err != nil {
		t.Fatal(err)
	}
	if got := value(t, r, "k"); got != uint64(acked.Load()) || got >= members*queue {
		t.Errorf("%d were applied, %d acknowledged", got, acked.Load())
	}
}
