package p2p

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestExpulsionsAreJoined(t *testing.T) {
	s := newScene(t)
	second := testKey(t, 5)
	bySecond := signer{grid: s.grid, key: second, admin: s.byGrid.member(second.NodeID(), RoleAdmin, testTime, time.Time{})}
	hour := func(n int) time.Time { return testTime.Add(time.Duration(n) * time.Hour) }
	list := []Expulsion{
		s.byAdmin.expel(s.workerKey.NodeID(), hour(2)),
		bySecond.expel(s.workerKey.NodeID(), hour(1)),
		bySecond.expel(s.admin.Node, hour(3)),
		s.byAdmin.expel(second.NodeID(), hour(4)), // void: it was out by then
		s.byGrid.expel(testKey(t, 6).NodeID(), hour(1)),
	}
	whole := NewExpulsions(s.grid)
	if changed, err := whole.Add(list, hour(5)); !changed || err != nil {
		t.Fatal(changed, err)
	}
	want := []NodeID{s.workerKey.NodeID(), s.admin.Node, testKey(t, 6).NodeID()}
	slices.Sort(want)
	if got := whole.Nodes(); !slices.Equal(got, want) {
		t.Fatalf("out are %v, want %v", got, want)
	}
	if since, _ := whole.Out(s.workerKey.NodeID()); !since.Equal(hour(1)) {
		t.Errorf("out since %v", since)
	}
	golden(t, "expulsions", whole.Encode())
	back := must[[]Expulsion](t)(DecodeExpulsions(whole.Encode(), s.grid))

	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(back), func(i, j int) { back[i], back[j] = back[j], back[i] })
		parts := NewExpulsions(s.grid)
		for _, x := range back {
			if _, err := parts.Add([]Expulsion{x}, hour(5)); err != nil {
				t.Fatal(err)
			}
		}
		if changed, err := parts.Add(list, hour(5)); changed || err != nil {
			t.Fatalf("the same again: %v, %v", changed, err)
		}
		if !reflect.DeepEqual(parts.Encode(), whole.Encode()) {
			t.Fatal("the order in which expulsions come changes the list")
		}
	}
}

func TestExpulsionsRefuse(t *testing.T) {
	s := newScene(t)
	worker := s.workerKey.NodeID()
	byClient := signer{grid: s.grid, key: s.workerKey, admin: s.byGrid.member(worker, RoleWorker, testTime, time.Time{})}
	forged := s.byAdmin.expel(worker, testTime)
	forged.Node = s.founderKey.NodeID()
	good := s.byAdmin.expel(worker, testTime.Add(time.Hour))
	for _, c := range []struct {
		name string
		x    Expulsion
		want error
	}{
		{"changed", forged, ErrSignature},
		{"by no admin", byClient.expel(s.founderKey.NodeID(), testTime), ErrNotAdmin},
		{"of another grid", (&signer{grid: s.workerKey.GridID(), key: s.workerKey}).expel(worker, testTime), ErrSignature},
		{"from the future", s.byGrid.expel(worker, testTime.Add(24*time.Hour)), ErrClock},
	} {
		list := NewExpulsions(s.grid)
		changed, err := list.Add([]Expulsion{c.x, good}, testTime.Add(2*time.Hour))
		if !changed || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v and the good one taken", c.name, changed, err, c.want)
		}
		if got := list.Nodes(); !slices.Equal(got, []NodeID{worker}) {
			t.Errorf("%s: out are %v", c.name, got)
		}
	}
}

func TestExpulsionsAreBounded(t *testing.T) {
	s := newScene(t)
	list := NewExpulsions(s.grid)
	// The limit is on the entries, however they came; these are not signed.
	for i := range ExpulsionsMax {
		node := NodeID([]byte{byte(i), byte(i >> 8)})
		list.entries[expulsionKey{node, s.admin.Node}] = Expulsion{Node: node, Admin: s.admin}
	}
	now := testTime.Add(2 * time.Hour)
	if _, err := list.Add([]Expulsion{s.byAdmin.expel(s.workerKey.NodeID(), testTime)}, now); !errors.Is(err, ErrFull) {
		t.Fatalf("error %v", err)
	}
	if changed, err := list.Add([]Expulsion{s.byGrid.expel(s.workerKey.NodeID(), testTime)}, now); !changed || err != nil {
		t.Fatalf("admins can keep the founder from expelling: %v", err)
	}
}

func FuzzExpulsions(f *testing.F) {
	s := newScene(f)
	list := NewExpulsions(s.grid)
	if _, err := list.Add([]Expulsion{s.byAdmin.expel(s.workerKey.NodeID(), testTime), s.byGrid.expel(s.admin.Node, testTime)}, testTime); err != nil {
		f.Fatal(err)
	}
	f.Add(list.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := DecodeExpulsions(b, s.grid)
		if err != nil {
			return
		}
		fresh := NewExpulsions(s.grid)
		_, _ = fresh.Add(entries, testTime)
		if len(fresh.Nodes()) > 2 {
			t.Fatalf("forged: %v", fresh.Nodes())
		}
	})
}
