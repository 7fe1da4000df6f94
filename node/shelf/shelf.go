// Package shelf finds what the tasks of a job have put out: the ledger says which
// object has it and who holds that, the content store gets it.
package shelf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/result"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// TasksMax bounds the tasks of a Shelf, each of which takes four bytes.
	TasksMax = 1 << 16
	// outputsRead bounds the outputs that are read at once.
	outputsRead = 1024
	// objectsOpen bounds the objects that a Shelf has open.
	objectsOpen = 32
	// readAhead is how much of an object is read at once.
	readAhead = 64 << 10
)

// ErrMissing is returned for a result that is not in the object that should have
// it.
var ErrMissing = errors.New("result is missing from its object")

// Stream is one of a task's outputs.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Ledger is this node's replica.
type Ledger interface {
	View(f func(tx ledger.Tx) error) (uint64, error)
}

// Objects is the node's content store.
type Objects interface {
	Fetch(ctx context.Context, h content.Hash, o content.FetchOptions) (*content.Object, error)
}

// Config says where results are.
type Config struct {
	Ledger  Ledger
	Objects Objects
	// Holders names the nodes that probably hold an object beside the one that has
	// reported it. May be nil.
	Holders func(h content.Hash) []p2p.NodeID
	// Wait is how long a holder may take to give an object before others are asked
	// as well; DefaultWait is a good value.
	Wait time.Duration
	// FetchTimeout bounds the fetch of one object.
	FetchTimeout time.Duration
}

// DefaultWait is more than a node needs that is there, and less than anybody minds.
const DefaultWait = 300 * time.Millisecond

// Shelf has the results of some consecutive tasks of a job. They are asked for in
// order of index, by one goroutine.
type Shelf struct {
	config Config
	first  uint32
	// outputs are those of the ledger; of is, for each task from first on, the
	// number of its latest one, from 1; 0 is none.
	outputs []ledger.Output
	of      []int32
	open    map[content.Hash]*bundle
	// slow has the nodes that did not give an object in time: with them, others are
	// asked at once.
	slow map[ledger.NodeID]bool
}

// bundle is an object with the results of several tasks, read up to one of them.
type bundle struct {
	object *content.Object
	reader *result.Reader
	at     *Result
	ended  bool
}

// Result is what one task has left. Its streams can be read until the next one is
// asked for.
type Result struct {
	result.Header
	// Object has it, with those of other tasks.
	Object content.Hash
	// Epoch is that of the lease under which the task ran.
	Epoch          ledger.Epoch
	Stdout, Stderr io.Reader
}

// Open looks up the results of the tasks from first to end-1 of a job, at most
// TasksMax.
func Open(config Config, job ledger.JobID, first, end uint32) (*Shelf, error) {
	s := &Shelf{config: config, first: first, open: map[content.Hash]*bundle{}, slow: map[ledger.NodeID]bool{}}
	_, err := config.Ledger.View(func(tx ledger.Tx) error { return s.lookUp(tx, job, end) })
	if err != nil {
		return nil, fmt.Errorf("look up results of job %s: %w", job, err)
	}
	return s, nil
}

// OpenEpoch looks up the result of a task's attempt under one lease, also when later
// ones have results.
func OpenEpoch(config Config, job ledger.JobID, index uint32, epoch ledger.Epoch) (*Shelf, error) {
	s := &Shelf{config: config, first: index, open: map[content.Hash]*bundle{}, slow: map[ledger.NodeID]bool{}, of: make([]int32, 1)}
	_, err := config.Ledger.View(func(tx ledger.Tx) error {
		list, err := ledger.OutputsOf(tx, job, index)
		s.add(slices.DeleteFunc(list, func(o ledger.Output) bool { return o.Epoch != epoch }))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the result of task %d of job %s: %w", index, job, err)
	}
	return s, nil
}

// lookUp reads the outputs that have one of the tasks up to end-1.
func (s *Shelf) lookUp(tx ledger.Tx, job ledger.JobID, end uint32) error {
	s.outputs, s.of = nil, make([]int32, end-s.first)
	if end-s.first == 1 {
		list, err := ledger.OutputsOf(tx, job, s.first)
		s.add(list)
		return err
	}
	for at := s.first - min(s.first, ledger.LeaseTasksMax-1); at < end; {
		list, err := ledger.Outputs(tx, job, at, outputsRead)
		if err != nil {
			return err
		}
		if len(list) < outputsRead {
			s.add(list)
			return nil
		}
		// Several epochs may begin with the same task: those of the last one
		// are read again with what follows.
		at = list[len(list)-1].Tasks.First
		whole := slices.IndexFunc(list, func(o ledger.Output) bool { return o.Tasks.First == at })
		if whole == 0 {
			whole, at = len(list), at+1
		}
		s.add(list[:whole])
	}
	return nil
}

// add notes for each task which of its outputs is the latest.
func (s *Shelf) add(list []ledger.Output) {
	for _, o := range list {
		tasks := o.Tasks.Within(s.first, s.first+uint32(len(s.of)))
		if tasks.Empty() {
			continue
		}
		s.outputs = append(s.outputs, o)
		tasks.Runs(func(first, end uint32) {
			for i := first - s.first; i < end-s.first; i++ {
				if had := s.of[i]; had == 0 || s.outputs[had-1].Epoch < o.Epoch {
					s.of[i] = int32(len(s.outputs))
				}
			}
		})
	}
}

// Close closes the objects.
func (s *Shelf) Close() {
	for h, b := range s.open {
		_ = b.object.Close()
		delete(s.open, h)
	}
}

// Find returns the latest result of a task. It returns nil when none was kept: the
// task has not ended, was never run, or ended well without output.
func (s *Shelf) Find(ctx context.Context, index uint32) (*Result, error) {
	n := s.of[index-s.first]
	if n == 0 {
		return nil, nil
	}
	o := &s.outputs[n-1]
	b, err := s.bundle(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("read result of task %d: %w", index, err)
	}
	for !b.ended && (b.at == nil || b.at.Index < index) {
		if err := b.next(o.Digest); err != nil {
			return nil, fmt.Errorf("read result of task %d: %w", index, err)
		}
	}
	if b.ended || b.at.Index != index {
		return nil, fmt.Errorf("%w: task %d, object %s", ErrMissing, index, content.Hash(o.Digest))
	}
	b.at.Epoch = o.Epoch
	return b.at, nil
}

func (b *bundle) next(object content.Hash) error {
	h, stdout, stderr, err := b.reader.Next()
	if errors.Is(err, io.EOF) {
		b.ended = true
		return nil
	}
	b.at = &Result{Header: h, Object: object, Stdout: stdout, Stderr: stderr}
	return err
}

func (s *Shelf) bundle(ctx context.Context, o *ledger.Output) (*bundle, error) {
	h := content.Hash(o.Digest)
	if b := s.open[h]; b != nil {
		return b, nil
	}
	if len(s.open) >= objectsOpen {
		s.Close()
	}
	object, err := s.fetch(ctx, h, o.Node)
	if err != nil {
		return nil, err
	}
	b := &bundle{object: object, reader: result.NewReader(bufio.NewReaderSize(object, readAhead))}
	s.open[h] = b
	return b, nil
}

// Copy writes a stream of the tasks from first to end-1 that have ended, one after
// another in order of index.
func Copy(ctx context.Context, config Config, w io.Writer, job ledger.JobID, stream Stream, first, end uint32) error {
	for first < end {
		last := min(end, first+TasksMax)
		if err := copySome(ctx, config, w, job, stream, first, last); err != nil {
			return err
		}
		first = last
	}
	return nil
}

func copySome(ctx context.Context, config Config, w io.Writer, job ledger.JobID, stream Stream, first, end uint32) error {
	s, err := Open(config, job, first, end)
	if err != nil {
		return err
	}
	defer s.Close()
	for i := first; i < end; i++ {
		r, err := s.Find(ctx, i)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		from := r.Stdout
		if stream == Stderr {
			from = r.Stderr
		}
		if _, err := io.Copy(w, from); err != nil {
			return err
		}
	}
	return nil
}
