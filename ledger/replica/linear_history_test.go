package replica_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
)

// register is the sequential specification: lists that grow, and are read.
type registerInput struct {
	key, value string
	read       bool
}

var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(registerInput).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, was := input.(registerInput), state.(string)
		if in.read {
			return output == was, was
		}
		next := was + in.value
		// An outcome that is not known allows every output.
		return output == nil || output == next, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v = %v", input, output) },
}

// history collects what clients saw.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
	acked map[string][]string
	// pace grows by 1 when a client gets an answer, and by failurePace when it
	// gives up; moved is closed and replaced then.
	pace  int
	moved chan struct{}
	// recalled counts the answers to commands that were acknowledged before.
	recalled atomic.Int64
}

// failurePace is what a try without an answer counts: it takes a client long, and
// in an outage there is nothing else.
const failurePace = 10

func newHistory() *history {
	return &history{start: time.Now(), acked: map[string][]string{}, moved: make(chan struct{})}
}

// tried notes the end of one try.
func (h *history) tried(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pace++
	if err != nil {
		h.pace += failurePace - 1
	}
	close(h.moved)
	h.moved = make(chan struct{})
}

// await returns when the pace has grown by n. Each try has a limit, so that this
// ends whatever befalls the cluster.
func (h *history) await(n int) {
	h.mu.Lock()
	until := h.pace + n
	for h.pace < until {
		moved := h.moved
		h.mu.Unlock()
		<-moved
		h.mu.Lock()
	}
	h.mu.Unlock()
}

// tryLimit bounds one try of a client.
const tryLimit = 300 * time.Millisecond

func (h *history) now() int64 { return int64(time.Since(h.start)) }

func (h *history) add(o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// client appends to and reads random keys through random members until stop.
func (h *history) client(t *testing.T, c *ledgertest.Cluster, id, members int, random *rand.Rand, stop <-chan struct{}) {
	// worker is the id in the history: one per unknown outcome, because such an
	// operation never ends.
	worker := id
	for seq := uint64(1); ; seq++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprint("k", random.IntN(3))
		r := c.Running(random.IntN(members))
		if r == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), tryLimit)
		op := porcupine.Operation{ClientId: worker, Call: h.now()}
		if random.IntN(3) == 0 {
			// A read that fails says nothing and is left out.
			var got string
			_, err := r.Read(ctx, func(tx ledger.Tx) error {
				b, err := tx.Get(ledgertest.ToyKey(key))
				got = string(b)
				return err
			})
			if op.Input, op.Output, op.Return = (registerInput{key: key, read: true}), got, h.now(); err == nil {
				h.add(op)
			}
			cancel()
			h.tried(err)
			continue
		}
		value := fmt.Sprintf("%d.%d ", id, seq)
		command := ledgertest.ToyCommand{Client: uint64(id), Seq: seq, Op: ledgertest.ToyAppend, Key: key, Value: value}
		op.Input = registerInput{key: key, value: value}
		for {
			// One client never has two commands under way: an unknown outcome
			// is proposed again until it is known.
			result, _, err := r.Propose(ctx, command.Encode())
			h.tried(err)
			if err == nil {
				op.Output, op.Return = string(result), h.now()
				h.mu.Lock()
				h.acked[key] = append(h.acked[key], value)
				h.mu.Unlock()
				break
			}
			cancel()
			select {
			case <-stop:
				op.Return = int64(time.Hour)
			default:
			}
			if op.Return != 0 {
				break
			}
			ctx, cancel = context.WithTimeout(context.Background(), tryLimit)
			if next := c.Running(random.IntN(members)); next != nil {
				r = next
			}
		}
		cancel()
		h.add(op)
		if result, known := op.Output.(string); known && random.IntN(4) == 0 {
			h.recall(t, c.Running(random.IntN(members)), command, result, random.IntN(2) == 0)
		}
	}
}

// recall sends a command that was acknowledged again, or what may be the one
// before it, and expects that the machine tells so.
func (h *history) recall(t *testing.T, r *replica.Replica, command ledgertest.ToyCommand, result string, older bool) {
	if r == nil {
		return
	}
	if older {
		command.Seq--
		result = string(ledgertest.ToyStale)
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryLimit)
	defer cancel()
	got, _, err := r.Propose(ctx, command.Encode())
	h.tried(err)
	if err != nil {
		return
	}
	h.recalled.Add(1)
	if string(got) != result {
		t.Errorf("client %d has %q for command %d again, want %q", command.Client, got, command.Seq, result)
	}
}

// explain names reads and appends whose result is not what the final order of
// the appends, which the final state shows, says.
func explain(t *testing.T, ops []porcupine.Operation, final map[string]string) {
	t.Helper()
	for _, o := range ops {
		in := o.Input.(registerInput)
		out, known := o.Output.(string)
		if !known {
			continue
		}
		if !strings.HasPrefix(final[in.key], out) {
			t.Logf("not a prefix: %+v at %v-%v", in, time.Duration(o.Call), time.Duration(o.Return))
		}
		for _, p := range ops {
			was := p.Input.(registerInput)
			older, known := p.Output.(string)
			if known && was.key == in.key && p.Return < o.Call && len(older) > len(out) {
				t.Logf("stale: %+v by %d at %v-%v has %d bytes, %+v by %d at %v-%v had %d", in, o.ClientId, time.Duration(o.Call), time.Duration(o.Return), len(out),
					was, p.ClientId, time.Duration(p.Call), time.Duration(p.Return), len(older))
				break
			}
		}
	}
}

// finalState reads all keys at every member, until all are at one index: what had
// no outcome when its client stopped may still come. It fails when two differ.
func finalState(t *testing.T, c *ledgertest.Cluster, members int) (first map[string]string) {
	t.Helper()
	c.Until("all members are at one index", func() bool {
		var at uint64
		for i := range members {
			state := map[string]string{}
			index, err := c.Running(i).Read(within(t), func(tx ledger.Tx) error {
				return tx.Scan(ledgertest.ToyKey(""), nil, func(key, value []byte) bool {
					state[strings.TrimPrefix(string(key), "key/")] = string(value)
					return true
				})
			})
			switch {
			case err != nil:
				t.Fatalf("read at %s: %v", ledgertest.Name(i), err)
			case i == 0:
				first, at = state, index
			case index != at:
				return false
			case !maps.Equal(first, state):
				t.Fatalf("at index %d %s has %v, %s has %v", at, ledgertest.Name(0), first, ledgertest.Name(i), state)
			}
		}
		return true
	})
	return first
}
