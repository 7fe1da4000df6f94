package worker

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// listening is what a parent has received of one stream.
type listening struct {
	t    *rapid.T
	wire bytes.Buffer
	got  []byte
}

// receive takes in what was sent.
func (l *listening) receive() (n int) {
	for in := newFrameReader(&l.wire); ; {
		f, err := in.next()
		if err != nil {
			return n
		}
		if f.kind != frameStdout || f.id != 1 {
			l.t.Fatalf("frame of type %d for task %d", f.kind, f.id)
		}
		l.got = append(l.got, f.payload...)
		n += len(f.payload)
	}
}

// TestTape: however parents come and go, each receives what the guest has written
// from the beginning, nothing of it twice, and never more than it gave credit for.
func TestTape(t *testing.T) {
	whole := stdinOf(2 * tapeBytesMax)
	rapid.Check(t, func(t *rapid.T) {
		parent := &listening{t: t}
		out := &sender{w: &parent.wire}
		o := newChildOut(out, frameStdout, 1, true)
		next, credit, round, replaying := 0, windowBytes, 0, false
		take := func() {
			credit -= parent.receive()
			if credit < 0 || !bytes.Equal(parent.got, whole[:len(parent.got)]) || len(parent.got) > next {
				t.Fatalf("%d bytes of %d have come, credit is %d", len(parent.got), next, credit)
			}
		}
		replay := func() {
			if !replaying {
				return
			}
			left, here := o.replaySome(round)
			replaying = left > 0
			if !here {
				t.Fatal("the parent is gone")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := min(rapid.IntRange(1, 100_000).Draw(t, "bytes"), len(whole)-next)
				k, err := o.put(whole[next : next+n])
				if err != nil {
					t.Fatal(err)
				}
				next += k
				replay()
				take()
			},
			"grant": func(t *rapid.T) {
				if n := rapid.IntRange(0, windowBytes-credit).Draw(t, "credit"); out.w != nil && n > 0 {
					credit += n
					if !o.grant(n) {
						t.Fatal("more than a window")
					}
					replay()
					take()
				}
			},
			"part": func(t *rapid.T) {
				if _, kept := o.kept(); !kept {
					t.Skip("the task ends with its parent")
				}
				out.turn(nil)
				o.part()
				replaying = false
			},
			"attach": func(t *rapid.T) {
				if out.w != nil {
					t.Skip("there is a parent")
				}
				parent = &listening{t: t}
				out.turn(&parent.wire)
				round, credit, replaying = o.rewind(), windowBytes, true
				replay()
				take()
			},
		})
		if bytes, kept := o.kept(); kept && bytes != next || bytes > tapeBytesMax {
			t.Fatalf("%d bytes are kept of %d: %t", bytes, next, kept)
		}
	})
}

// FuzzKept: whatever a child answers to a parent that comes after another one, it has
// keys that a task can have, each once, or it is an error.
func FuzzKept(f *testing.F) {
	list := appendFrame(nil, frameKept, 1, []byte(`{"key":"YQ==","elapsed_ns":5}`))
	f.Add(appendFrame(list, frameHello, 0, []byte(`{"version":3}`)))
	f.Add(appendFrame(appendFrame(list, frameKept, 2, []byte(`{"key":"YQ=="}`)), frameHello, 0, []byte(`{}`)))
	f.Add(appendFrame(nil, frameKept, 1, []byte(`{"elapsed_ns":-5}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _, err := readKept(newFrameReader(bytes.NewReader(data)))
		if err != nil {
			if list != nil {
				t.Error("an error comes with tasks")
			}
			return
		}
		for key, k := range list {
			if key == "" || len(key) > KeyBytesMax || k.begun.IsZero() {
				t.Errorf("task %d has key %q and began at %s", k.id, key, k.begun)
			}
		}
	})
}

// FuzzRecord: a record names a folder that a worker can have, or it is an error.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":3,"label":"a","dir":"/x/worker-1","read_only":["/y"]}`))
	f.Add([]byte(`{"dir":"/worker-1/.."}`))
	f.Add([]byte(`{"dir":"worker-1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("error %v", err)
			}
			return
		}
		if ok, _ := filepath.Match(privatePrefix+"*", filepath.Base(r.Dir)); !ok || !filepath.IsAbs(r.Dir) || filepath.Clean(r.Dir) != r.Dir {
			t.Errorf("folder %q", r.Dir)
		}
	})
}

// TestEndedTasks: what is kept of tasks that have ended is bounded, and the oldest
// goes first.
func TestEndedTasks(t *testing.T) {
	e := endedTasks{tasks: map[uint32]*childTask{}}
	add := func(id uint32, bytes int) {
		c := &childTask{id: id}
		e.add(c)
		e.weigh(c, bytes)
	}
	for id := range uint32(endedMax + 5) {
		add(id, 10)
	}
	if len(e.tasks) != endedMax || e.bytes != 10*endedMax || e.tasks[4] != nil || e.tasks[5] == nil {
		t.Errorf("%d tasks of %d bytes", len(e.tasks), e.bytes)
	}
	for id := range uint32(endedMax) {
		e.forget(id)
	}
	if len(e.tasks) != 5 || e.bytes != 50 {
		t.Errorf("%d tasks of %d bytes", len(e.tasks), e.bytes)
	}
	add(9000, endedBytesMax-10)
	if len(e.tasks) != 2 || e.bytes != endedBytesMax {
		t.Errorf("%d tasks of %d bytes", len(e.tasks), e.bytes)
	}
	add(9001, endedBytesMax+1)
	if len(e.tasks) != 0 || e.bytes != 0 || len(e.order) != 0 {
		t.Errorf("%d tasks of %d bytes, %d in order", len(e.tasks), e.bytes, len(e.order))
	}
}
