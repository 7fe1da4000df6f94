package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/placement"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/capacity"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/task"
)

// awaitEntry waits until the board of a node has an entry that is ok.
func awaitEntry(ctx context.Context, t *testing.T, on *Node, of p2p.NodeID, what string, ok func(e capacity.Entry) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		e, there := on.publisher.Board().Find(of)
		if there && ok(e) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time: %+v, %t", what, e, there)
		}
	}
}

// holds says whether the filter of an entry has an object.
func holds(t *testing.T, e capacity.Entry, h content.Hash) bool {
	t.Helper()
	f, err := placement.DecodeFilter(e.Held)
	if err != nil {
		t.Fatal(err)
	}
	return f.Holds(ledger.ModuleID(h))
}

// wants has a member's operator want something, of which the offer tells, and for which
// leases are refused that come all the same.
func wants(ctx context.Context, t *testing.T, founder, member *Node) {
	t.Helper()
	labels := func(e capacity.Entry) (all []string) {
		for _, l := range e.Offer.Labels {
			all = append(all, l.Key+" "+l.Value)
		}
		return all
	}
	var before []string
	awaitEntry(ctx, t, founder, member.Host().Self(), "what is wanted has a name", func(e capacity.Entry) bool {
		before = labels(e)
		return slices.ContainsFunc(e.Offer.Labels, func(l capacity.Label) bool { return l.Key == capacity.LabelWanted })
	})
	if err := member.SetPreferences("labels: {allow: [team, purpose=research], deny: [team=b]}"); err != nil {
		t.Fatal(err)
	}
	awaitEntry(ctx, t, founder, member.Host().Self(), "labels are told", func(e capacity.Entry) bool {
		now := labels(e)
		for _, want := range []string{"job-label-allowed team", "job-label-allowed purpose=research", "job-label-denied team=b"} {
			if !slices.Contains(now, want) {
				return false
			}
		}
		return !slices.ContainsFunc(now, func(l string) bool { return strings.HasPrefix(l, capacity.LabelWanted) && slices.Contains(before, l) })
	})
	for label, want := range map[ledger.Label]ledger.Cause{
		{Name: "team", Value: "a"}: ledger.CauseNone, {Name: "team", Value: "b"}: ledger.CausePreference, {Name: "zone", Value: "a"}: ledger.CausePreference,
	} {
		if got := member.accept(ledger.Lease{}, ledger.JobSpec{Tenant: "default", Labels: []ledger.Label{label}}); got != want {
			t.Errorf("a lease with %v: %s, want %s", label, got, want)
		}
	}
	if longest := placement.Default().TimeoutNanos; longest != int64(task.Default().Timeout) {
		t.Errorf("the planner takes %d ns for the timeout of jobs that say none", longest)
	}
}

// TestOfferIsKeptTrue: the leader learns how fast a member is, what room it has and what
// it holds, and when that changes.
func TestOfferIsKeptTrue(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	first := testConfig(filepath.Join(dir, "first"))
	first.Found = true
	founder := openNode(ctx, t, first)
	second := testConfig(filepath.Join(dir, "second"))
	second.Invitation = invite(ctx, t, founder)
	second.Offer.Slots = 1
	second.DiskBytes = 10 * diskStepBytes
	second.Calibrate = func(context.Context) (uint64, error) { return 1000, nil }
	member := openNode(ctx, t, second)
	id := member.Host().Self()
	awaitEntry(ctx, t, founder, id, "the offer is whole", func(e capacity.Entry) bool {
		return e.Offer.FuelRate == 1000 && e.Offer.DiskBytes == uint64(second.DiskBytes) && e.Offer.MemoryBytes == second.Offer.MemoryBytes && e.Offer.Slots == 1
	})
	object := bytes.Repeat([]byte("module"), 1<<10)
	hash := content.Sum(object)
	if _, err := member.PutObject(ctx, bytes.NewReader(object)); err != nil {
		t.Fatal(err)
	}
	awaitEntry(ctx, t, founder, id, "what is held is known", func(e capacity.Entry) bool {
		return holds(t, e, hash) && !holds(t, e, content.Sum([]byte("another")))
	})
	awaitEntry(ctx, t, founder, id, "a pinned object takes room", func(e capacity.Entry) bool {
		return e.Offer.DiskBytes == uint64(second.DiskBytes)-diskStepBytes && e.Offer.FuelRate == 1000
	})
	wants(ctx, t, founder, member)
	if err := member.store.Unpin(hash, objectOwner); err != nil {
		t.Fatal(err)
	}
	if ok, err := member.store.Remove(hash); !ok || err != nil {
		t.Fatal(ok, err)
	}
	awaitEntry(ctx, t, founder, id, "what is gone is not held", func(e capacity.Entry) bool { return !holds(t, e, hash) })
}

// TestCalibrationFails: a node that does not know how fast it is gives what it knows,
// and one that is stopped meanwhile stops.
func TestCalibrationFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var asked atomic.Int32
	blocked := make(chan struct{})
	for name, calibrate := range map[string]func(ctx context.Context) (uint64, error){
		"fails": func(context.Context) (uint64, error) { asked.Add(1); return 0, errors.New("no worker") },
		"hangs": func(ctx context.Context) (uint64, error) { close(blocked); <-ctx.Done(); return 0, ctx.Err() },
	} {
		c := testConfig(filepath.Join(t.TempDir(), name))
		c.Found, c.Calibrate = true, calibrate
		n, err := Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		awaitEntry(ctx, t, n, n.Host().Self(), "the offer is there", func(e capacity.Entry) bool {
			return e.Offer.Slots == c.Offer.Slots && e.Offer.FuelRate == 0 && e.Offer.DiskBytes > 0
		})
		if name == "hangs" {
			<-blocked
		}
		if err := n.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := asked.Load(); n > 1 {
		t.Errorf("asked %d times at once", n)
	}
}

// TestHeldFilter: where there are too many objects, those count that were used last.
func TestHeldFilter(t *testing.T) {
	if f := heldFilter(nil); len(f) > capacity.FilterBytesMax {
		t.Errorf("the filter of nothing has %d bytes", len(f))
	}
	now := time.Now()
	objects := make([]content.Info, heldMax+1000)
	for i := range objects {
		objects[i].Hash = sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		objects[i].Accessed = now.Add(time.Duration(i) * time.Second)
	}
	oldest, newest := objects[0].Hash, objects[len(objects)-1].Hash
	b := heldFilter(objects)
	f, err := placement.DecodeFilter(b)
	if err != nil || len(b) > capacity.FilterBytesMax || !f.Holds(ledger.ModuleID(newest)) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	wrong := 0
	for i := range 1000 {
		if f.Holds(sha256.Sum256(binary.BigEndian.AppendUint32([]byte("other"), uint32(i)))) {
			wrong++
		}
	}
	t.Logf("%d of 1000 that are not held look as if; the oldest does: %t", wrong, f.Holds(ledger.ModuleID(oldest)))
	if wrong > 50 {
		t.Errorf("%d of 1000 that are not held look as if", wrong)
	}
}
