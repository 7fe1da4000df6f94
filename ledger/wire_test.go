package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzRecord reads any bytes as every record: what can be read is written as it
// was understood.
func FuzzRecord(f *testing.F) {
	var kinds []reflect.Type
	for _, v := range goldenRecords() {
		f.Add(encode(v))
		kinds = append(kinds, reflect.TypeOf(v).Elem())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range kinds {
			v := reflect.New(kind).Interface().(fielder)
			if decode(b, v) != nil {
				continue
			}
			once := encode(v)
			again := reflect.New(kind).Interface().(fielder)
			if err := decode(once, again); err != nil {
				t.Fatalf("%v: cannot read what was written: %v", kind, err)
			}
			if !bytes.Equal(once, encode(again)) {
				t.Fatalf("%v: written twice, differently", kind)
			}
		}
	})
}

// FuzzRoll tells a Roll any change: it has the lease of a change that it has taken in,
// and not that of one that it has refused.
func FuzzRoll(f *testing.F) {
	l := Lease{Node: "n1", Epoch: 3, Tasks: Tasks(0, 1), Open: Tasks(0, 1), Slots: 1}
	f.Add(keyLease("n1", 3), encode(&l))
	f.Add(keyLease("n1", 3)[:5], encode(&l))
	f.Add(keyJob(JobID{}), []byte{1})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r := &Roll{nodes: map[NodeID][]Held{}}
		node, epoch, ok := parseLease(key)
		if value == nil {
			value = []byte{}
		}
		err := r.Change(key, value)
		if has := r.Has(node, epoch); has != (ok && err == nil) || has != (r.Len() == 1) || ok && !bytes.Equal(keyLease(node, epoch), key) {
			t.Fatalf("key %x is lease %d of %q, %v: %v, has %v of %d", key, epoch, node, ok, err, has, r.Len())
		}
		if err := r.Change(key, nil); err == nil && r.Len() != 0 {
			t.Fatalf("%x was deleted and is there", key)
		}
	})
}

// FuzzDecode does for commands what FuzzRecord does.
func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommands() {
		f.Add(Encode(Envelope{Seq: 1, Now: 2, Body: c}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		once := Encode(e)
		again, err := Decode(once)
		if err != nil || !bytes.Equal(once, Encode(again)) {
			t.Fatalf("written twice, differently: %v", err)
		}
	})
}

// FuzzChange reads any key and value as a change of an order or of a seat: what is not
// one is an error, and what is has its name.
func FuzzChange(f *testing.F) {
	for _, name := range []string{"order", "seat"} {
		v := goldenRecords()[name]
		f.Add(keyOrder(OrderID(id("order"))), encode(v))
		f.Add(keySeat(OrderID(id("order")), "n1"), encode(v))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if id, o, err := ReadOrder(key, value); err == nil && (!bytes.Equal(key, keyOrder(id)) || (o == nil) != (value == nil)) {
			t.Fatalf("%x is order %s: %+v", key, id, o)
		}
		if order, node, s, err := ReadSeat(key, value); err == nil && (!bytes.Equal(key, keySeat(order, node)) || (s == nil) != (value == nil)) {
			t.Fatalf("%x is the seat of %s on %s: %+v", key, order, node, s)
		}
	})
}

// TestDecodeTruncated reads every beginning of every command and record: none is
// taken for a whole one.
func TestDecodeTruncated(t *testing.T) {
	for name, c := range goldenCommands() {
		b := Encode(Envelope{Seq: 1, Now: 2, Body: c})
		for n := range b {
			if _, err := Decode(b[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are a command", name, n, len(b))
			}
		}
		if _, err := Decode(append(b, 0)); err == nil {
			t.Errorf("%s: a trailing byte is accepted", name)
		}
	}
	for name, v := range goldenRecords() {
		b := encode(v)
		for n := range b {
			if decode(b[:n], reflect.New(reflect.TypeOf(v).Elem()).Interface().(fielder)) == nil {
				t.Errorf("%s: the first %d of %d bytes are a record", name, n, len(b))
			}
		}
	}
}

// versionOf takes the name of a sample apart.
func versionOf(name string) (kind string, version uint8) {
	for version := uint8(2); version <= wireVersion; version++ {
		if kind, is := strings.CutSuffix(name, fmt.Sprintf("_v%d", version)); is {
			return kind, version
		}
	}
	return name, 1
}

// TestVersions: an encoding has the lowest version that holds all of it, and no
// version but those in which its kind has fields is read.
func TestVersions(t *testing.T) {
	commands := goldenCommands()
	for name, c := range commands {
		b := Encode(Envelope{Seq: 1, Now: 2, Body: c})
		kind, want := versionOf(name)
		if b[0] != want {
			t.Errorf("%s has version %d, should have %d", name, b[0], want)
		}
		newest := want
		for other := range commands {
			if of, version := versionOf(other); of == kind {
				newest = max(newest, version)
			}
		}
		for _, version := range []uint8{0, newest + 1, wireVersion + 1, 255} {
			b[0] = version
			if _, err := Decode(b); !errors.Is(err, ErrUnknownCommand) {
				t.Errorf("%s of version %d: %v", name, version, err)
			}
		}
	}
	for name, v := range goldenRecords() {
		b := encode(v)
		if _, want := versionOf(name); b[0] != want {
			t.Errorf("%s has version %d, should have %d", name, b[0], want)
		}
		b[0] = wireVersion + 1
		if err := decode(b, reflect.New(reflect.TypeOf(v).Elem()).Interface().(fielder)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s of version %d: %v", name, b[0], err)
		}
	}
}

// TestPartsAreBounded: a Release of more parts than PartsMax is not read.
func TestPartsAreBounded(t *testing.T) {
	for _, n := range []int{PartsMax, PartsMax + 1} {
		c := &Release{Node: "n1", Epochs: make([]Epoch, n), Cause: CauseDrain, Parts: make([]Range, n)}
		for i := range c.Parts {
			c.Parts[i] = mask(0, LeaseTasksMax-1)
		}
		if _, err := Decode(Encode(Envelope{Seq: 1, Now: 2, Body: c})); (err != nil) != (n > PartsMax) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d parts: %v", n, err)
		}
	}
}

// someRange draws a range and its model, which is a set of tasks.
func someRange(t *rapid.T, label string) (Range, map[uint32]bool) {
	from := rapid.Uint32Range(0, 300).Draw(t, label+" from")
	r, model := Range{}, map[uint32]bool{}
	for range rapid.IntRange(0, 5).Draw(t, label+" stretches") {
		first := from + rapid.Uint32Range(0, 200).Draw(t, label+" first")
		n := rapid.Uint32Range(1, 70).Draw(t, label+" count")
		r = r.Union(Tasks(first, first+n))
		for i := range n {
			model[first+i] = true
		}
	}
	return r, model
}

func TestRangeModel(t *testing.T) {
	same := func(t *rapid.T, what string, r Range, model func(uint32) bool) {
		var count uint32
		for task := range uint32(700) {
			if model(task) {
				count++
			}
			if r.Has(task) != model(task) {
				t.Fatalf("%s: %s has task %d: %v", what, r, task, r.Has(task))
			}
		}
		listed := uint32(0)
		r.Runs(func(first, end uint32) { listed += end - first })
		if r.Count() != count || listed != count || r.Empty() != (count == 0) {
			t.Fatalf("%s: %s counts %d, lists %d, should be %d", what, r, r.Count(), listed, count)
		}
		if count > 0 && (!r.Has(r.First) || !r.Has(r.End-1)) || r.Whole() != (count == r.End-r.First) {
			t.Fatalf("%s: %s is not tight", what, r)
		}
		w := wire{version: 1}
		w.tasks(&r)
		back := wire{decoding: true, version: 1, buf: w.buf}
		var read Range
		if back.tasks(&read); back.err != nil || len(back.buf) != 0 || !reflect.DeepEqual(r, read) {
			t.Fatalf("%s: %s is read as %s: %v", what, r, read, back.err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, in := someRange(t, "a")
		b, other := someRange(t, "b")
		same(t, "itself", a, func(task uint32) bool { return in[task] })
		same(t, "union", a.Union(b), func(task uint32) bool { return in[task] || other[task] })
		same(t, "minus", a.Minus(b), func(task uint32) bool { return in[task] && !other[task] })
		first, end := rapid.Uint32Range(0, 700).Draw(t, "first"), rapid.Uint32Range(0, 700).Draw(t, "end")
		same(t, "within", a.Within(first, end), func(task uint32) bool { return in[task] && task >= first && task < end })
		n := rapid.Uint32Range(0, 400).Draw(t, "n")
		head, rest := a.Split(n)
		if head.Count() != min(n, a.Count()) || !head.Empty() && !rest.Empty() && head.End > rest.First {
			t.Fatalf("split of %s at %d: %s and %s", a, n, head, rest)
		}
		same(t, "split", head.Union(rest), func(task uint32) bool { return in[task] })
		if a.Contains(b) != b.Minus(a).Empty() {
			t.Fatalf("%s contains %s: %v", a, b, a.Contains(b))
		}
	})
}
