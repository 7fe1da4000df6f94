package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/node/tail"
	"github.com/dugnad/dugnad/p2p/metric/metrictest"
	"github.com/dugnad/dugnad/runtime/task"
	"github.com/dugnad/dugnad/runtime/worker"
)

var bothStreams = [tail.Streams]bool{true, true}

// runOf makes a series of one task under a lease of an executor that runs nothing.
func runOf(dir string) (e *Executor, l *lease, s *series, err error) {
	c := Default()
	c.Dir, c.SpoolMemoryBytes = dir, 100
	e = newExecutor(c)
	if e.metrics, err = newMetrics(nil); err != nil {
		return nil, nil, nil, err
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	l = &lease{e: e, epoch: 3, job: &job{id: ledger.JobID{1}}, tasks: ledger.Tasks(4, 6), series: map[*series]struct{}{}}
	e.leases[l.epoch] = l
	return e, l, newSeries(l), nil
}

// newSeries makes a series of task 4 of a lease.
func newSeries(l *lease) *series {
	s := &series{l: l, tasks: make([]worker.Task, 1), ends: make([]ended, 1), phases: make([]phase, 1)}
	s.ends[0] = ended{l: l, index: 4, out: output{e: l.e, max: 1 << 20, feed: &s.feed}, errs: output{e: l.e, max: 1 << 20, feed: &s.feed}}
	return s
}

// TestFollowProperty: whatever is written when, and however slow a follower is, what it
// reads of each stream are pieces of what was written, in order and without a gap, to
// its end unless it was dropped before; the end is told last.
func TestFollowProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		e, l, s, err := runOf(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer e.stop()
		var written [tail.Streams][]byte
		writes := rapid.SliceOfN(rapid.IntRange(1, 300), 0, 20).Draw(t, "writes")
		early := rapid.IntRange(0, len(writes)).Draw(t, "early")
		dropped := rapid.Bool().Draw(t, "dropped")
		q := tail.Query{Job: l.job.id, Index: 4, Epoch: 3, Want: bothStreams, Run: 9, Back: rapid.Uint64Range(0, 500).Draw(t, "back")}
		write := func(list []int, from int) {
			for i, n := range list {
				stream, data := tail.Stream((from+i)%2), make([]byte, n)
				for k := range data {
					data[k] = byte(len(written[stream]) + k)
				}
				to := []*output{&s.ends[0].out, &s.ends[0].errs}[stream]
				if _, err := to.Write(data); err != nil {
					t.Error(err)
				}
				written[stream] = append(written[stream], data...)
			}
		}
		l.begin(s)
		write(writes[:early], 0)
		before := written
		if same := rapid.Bool().Draw(t, "same run"); same {
			q.Run = s.run
		}
		for stream := range q.From {
			q.From[stream] = rapid.Uint64Range(0, uint64(len(written[stream]))).Draw(t, "from")
		}
		var writing sync.WaitGroup
		writing.Go(func() {
			write(writes[early:], early)
			s.turn(0, phaseOver)
			if dropped {
				s.ends[0].close()
			}
		})
		pieces, err := collect(e, q)
		writing.Wait()
		s.ends[0].close()
		if err != nil {
			t.Fatal(err)
		}
		checkPieces(t, pieces, &q, s.run, before, written, dropped)
	})
}

// collect follows to the end.
func collect(e *Executor, q tail.Query) (pieces []tail.Piece, err error) {
	err = e.Follow(e.ctx, q, func(p tail.Piece) error {
		p.Data = bytes.Clone(p.Data)
		pieces = append(pieces, p)
		return nil
	})
	return pieces, err
}

func checkPieces(t *rapid.T, pieces []tail.Piece, q *tail.Query, run uint64, before, written [tail.Streams][]byte, dropped bool) {
	t.Helper()
	if len(pieces) < 2 || pieces[0].Kind != tail.Begun || pieces[0].Run != run || pieces[len(pieces)-1].Kind != tail.Ended {
		t.Fatalf("pieces %+v", pieces)
	}
	at := q.From
	if q.Run != run {
		at = [tail.Streams]uint64{}
	}
	for stream := range at {
		if size := uint64(len(before[stream])); q.Back > 0 && size > q.Back {
			at[stream] = max(at[stream], size-q.Back)
		}
	}
	var begun [tail.Streams]bool
	for i, p := range pieces[1 : len(pieces)-1] {
		all, first := written[p.Stream], at[p.Stream]
		// When it first looked, more may have been written than before it was asked.
		late := !begun[p.Stream] && q.Back > 0 && p.At > first && p.At+q.Back <= uint64(len(all))
		if begun[p.Stream] = true; p.At != first && !late {
			t.Fatalf("piece %d of %s begins at %d, want %d", i, p.Stream, p.At, first)
		}
		if p.At+uint64(len(p.Data)) > uint64(len(all)) || !bytes.Equal(p.Data, all[p.At:p.At+uint64(len(p.Data))]) {
			t.Fatalf("piece %d is not what was written to %s at %d", i, p.Stream, p.At)
		}
		at[p.Stream] = p.At + uint64(len(p.Data))
	}
	for stream, all := range written {
		if !dropped && at[stream] != uint64(len(all)) {
			t.Fatalf("%d bytes of %s were read, want %d", at[stream], tail.Stream(stream), len(all))
		}
	}
}

// TestFollowAgain: a task that begins in another series is followed there from the
// beginning, and one that was begun by an earlier process goes on where it was.
func TestFollowAgain(t *testing.T) {
	e, l, first, err := runOf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	write := func(s *series, text string) {
		if _, err := s.ends[0].out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	l.begin(first)
	write(first, "first")
	var told []string
	next := func(p tail.Piece) error {
		told = append(told, fmt.Sprint(p.Kind, p.At, string(p.Data)))
		switch len(told) {
		case 2:
			first.turn(0, phaseAgain)
			first.ends[0].close()
			l.over(first)
			s := newSeries(l)
			l.begin(s)
			write(s, "anew")
		case 4:
			for s := range l.series {
				s.turn(0, phaseOver)
			}
		}
		return nil
	}
	if err := e.Follow(t.Context(), tail.Query{Job: l.job.id, Index: 4, Epoch: 3, Want: bothStreams}, next); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(told), "[1 0 2 0first 1 0 2 0anew 3 0]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	for s := range l.series {
		s.ends[0].close()
		l.over(s)
	}
	kept := newSeries(l)
	l.kept = []taskKey{{l.job.id, 3, 0, 4}}
	l.begin(kept)
	write(kept, "what was kept")
	kept.turn(0, phaseOver)
	defer kept.ends[0].close()
	pieces, err := collect(e, tail.Query{Job: l.job.id, Index: 4, Epoch: 3, Want: bothStreams, Run: 77, From: [tail.Streams]uint64{5, 0}})
	if err != nil || len(pieces) != 3 || pieces[0].Run != 0 || pieces[1].At != 5 || string(pieces[1].Data) != "was kept" {
		t.Errorf("%+v, %v", pieces, err)
	}
}

// TestFollow: a task is followed from before it begins to its end, and whoever follows
// takes a place of few, which they leave.
func TestFollow(t *testing.T) {
	g := newGrid(t)
	written, goOn := make(chan struct{}), make(chan struct{})
	g.box.run = func(a attempt) task.Outcome {
		fmt.Fprint(a.streams.Stdout, "one\n")
		close(written)
		<-goOn
		fmt.Fprint(a.streams.Stderr, "two\n")
		return exit(0)
	}
	ready := make(chan struct{})
	g.box.ready = ready
	registry := prometheus.NewRegistry()
	e := g.open(func(c *Config) { c.FollowersMax, c.Registerer = 1, registry })
	id := g.submit(1, &jobspec.Program{}, nil)
	q := tail.Query{Job: id, Epoch: g.place(id, 0, 1, 1), Want: bothStreams}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pieces := make(chan tail.Piece)
	var following sync.WaitGroup
	following.Go(func() {
		defer close(pieces)
		for {
			err := e.Follow(ctx, q, func(p tail.Piece) error {
				p.Data = bytes.Clone(p.Data)
				pieces <- p
				return nil
			})
			// Its lease may not have been seen yet.
			if !errors.Is(err, tail.ErrNotHere) {
				if err != nil {
					t.Error(err)
				}
				return
			}
		}
	})
	close(ready)
	for i, want := range []string{"1 stdout 0 ", "2 stdout 0 one\n", "2 stderr 0 two\n", "3 stdout 0 "} {
		p := <-pieces
		if got := fmt.Sprint(p.Kind, " ", p.Stream, p.At, " ", string(p.Data)); got != want {
			t.Errorf("piece %d is %q, want %q", i, got, want)
		}
		if i == 1 {
			<-written
			if err := e.Follow(ctx, q, nil); !errors.Is(err, tail.ErrFollowers) {
				t.Errorf("one follower too many: %v", err)
			}
			close(goOn)
		}
	}
	following.Wait()
	g.finished(id)
	if refused, left := metrictest.Value(t, registry, "dugnad_executor_limit_reached_total", "followers"), metrictest.Value(t, registry, "dugnad_executor_followers"); refused != 1 || left != 0 || e.followers.Load() != 0 {
		t.Errorf("%v were refused, %v are left", refused, left)
	}
	if err := e.Follow(ctx, tail.Query{Job: ledger.JobID{9}, Epoch: q.Epoch}, nil); !errors.Is(err, tail.ErrNotHere) {
		t.Errorf("a task of another job: %v", err)
	}
}

// TestFollowEnds: whoever follows stops when they go away, and when the node stops.
func TestFollowEnds(t *testing.T) {
	for name, end := range map[string]func(e *Executor, away context.CancelFunc){
		"away": func(_ *Executor, away context.CancelFunc) { away() },
		"stop": func(e *Executor, _ context.CancelFunc) { e.stop() },
	} {
		e, l, s, err := runOf(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		l.begin(s)
		ctx, cancel := context.WithCancel(t.Context())
		err = e.Follow(ctx, tail.Query{Job: l.job.id, Index: 4, Epoch: 3, Want: bothStreams}, func(tail.Piece) error {
			end(e, cancel)
			return nil
		})
		if !errors.Is(err, context.Canceled) && !errors.Is(err, tail.ErrClosing) || e.followers.Load() != 0 {
			t.Errorf("%s: %v, %d followers are left", name, err, e.followers.Load())
		}
		cancel()
		e.stop()
	}
}
