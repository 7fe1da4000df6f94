package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dugnad/dugnad/runtime/task"
)

// SeriesMax bounds the tasks of one series.
const SeriesMax = 256

// seriesBytesMax is the size of the starts of a series at which it takes no
// further task.
const seriesBytesMax = 1 << 20

// KeyBytesMax bounds Task.Key.
const KeyBytesMax = 64

// ErrKey is the reason why a task is refused whose key is longer than KeyBytesMax.
var ErrKey = errors.New("key of the task is too long")

// Task is one task of a series.
type Task struct {
	Spec    task.Spec
	Streams Streams
	// Key is what a process that adopts the worker knows the task by, at most
	// KeyBytesMax bytes. A task without one, or in a worker without Config.OrphanDir,
	// ends with this process.
	Key string
	// Notice, when it is set, ends when the tasks of the series will be ended soon to
	// make room for others: their guests are told. That of the first task counts.
	Notice context.Context
}

func (t *Task) validate() error {
	if len(t.Key) > KeyBytesMax {
		return fmt.Errorf("%w: it has %d bytes, at most %d", ErrKey, len(t.Key), KeyBytesMax)
	}
	return t.Spec.Validate()
}

// series is the parent's side of tasks that run one after the other.
type series struct {
	worker *Worker
	tasks  []Task
	tell   func(i int, o task.Outcome)
	// returned gets the first task that the child gives back, gave says that it
	// has; the latter is the reading goroutine's own.
	returned chan int
	gave     bool
	// refused says why a task is not started, runs has those that are; nil for
	// the others.
	refused []error
	runs    []*run
}

// RunSeries runs the image as several tasks, at most SeriesMax, one after the
// other in the place of one: what each costs beside its own work is much less
// than with Run. ended gets their outcomes, in order, each as Run would return
// it and when Run would return; a task's limits and its timeout are its own.
//
// Tasks that would have to wait for one that takes long never begin, nor do
// those for which there is no room: back is told of tasks[from:to] as soon as
// that is known. They have no outcome, and are to be run anew. The first task
// always has one. When the child is lost, all that have none yet get WorkerLost,
// whether they had begun or not.
//
// Both are called by the goroutine that called RunSeries.
func (w *Worker) RunSeries(ctx context.Context, image Image, tasks []Task, ended func(i int, o task.Outcome), back func(from, to int)) {
	s := &series{worker: w, tasks: tasks[:min(len(tasks), SeriesMax)], returned: make(chan int, 1)}
	s.refused, s.runs = make([]error, len(s.tasks)), make([]*run, len(s.tasks))
	s.tell = func(i int, o task.Outcome) {
		w.metrics.outcome(&o)
		ended(i, o)
	}
	if len(tasks) > SeriesMax {
		back(SeriesMax, len(tasks))
	}
	if !s.validate() {
		s.all(task.Outcome{})
		return
	}
	if err := w.takeSlot(ctx); err != nil {
		s.all(w.waitOutcome(err, "waiting for one of %d task slots", w.config.TasksMax))
		return
	}
	defer func() { <-w.slots }()
	img, err := w.acquire(ctx, image)
	if err != nil {
		s.all(w.waitOutcome(err, "waiting for one of %d image slots", w.config.ImagesMax))
		return
	}
	defer w.images.release(img)
	frames, err := s.register(img.id)
	if err != nil {
		s.all(w.waitOutcome(err, "starting the task"))
		return
	}
	// What ends the tasks is set up before they start: sending may block when
	// the child does not read.
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	if notice := s.tasks[0].Notice; notice != nil {
		still := context.AfterFunc(notice, s.notice)
		defer still()
	}
	s.start(frames)
	if first := s.first(); first != nil {
		if err := img.wait(first.done); err != nil {
			w.process.killFor(err)
		}
	}
	if n := len(s.runs); len(s.tasks) < n {
		back(len(s.tasks), n)
	}
	s.await(ctx, back)
}

// validate reports whether there is a task that can be started.
func (s *series) validate() (some bool) {
	for i := range s.tasks {
		s.refused[i] = s.tasks[i].validate()
		some = some || s.refused[i] == nil
	}
	return some
}

// all gives the outcome to all tasks that can be started.
func (s *series) all(o task.Outcome) {
	for i, err := range s.refused {
		if err != nil {
			s.tell(i, task.Outcome{Kind: task.Refused, Message: err.Error()})
			continue
		}
		s.tell(i, o)
	}
}

// errStart is the refusal of a task that does not fit.
var errStart = errors.New("task is too large")

// register gives the tasks ids and places in the table, and returns the frames
// that start them.
func (s *series) register(image uint32) ([]byte, error) {
	payloads, total, last := make([][]byte, len(s.tasks)), 0, -1
	seen := s.worker.takeSeen()
	for i := range s.tasks {
		t := &s.tasks[i]
		if s.refused[i] != nil {
			continue
		}
		if total >= seriesBytesMax {
			s.tasks = s.tasks[:i]
			break
		}
		st := start{Image: image, Stdin: t.Streams.Stdin != nil, Interactive: t.Streams.Interactive, Spec: &t.Spec, Read: seen}
		if s.worker.trace != nil {
			st.Key = []byte(t.Key)
		}
		payload, err := json.Marshal(st)
		if err == nil && len(payload) > startBytesMax {
			s.worker.metrics.limitReached("start_bytes")
			err = fmt.Errorf("%w: arguments, environment and inputs take %d bytes, at most %d", errStart, len(payload), startBytesMax)
		}
		if s.refused[i] = err; err == nil {
			payloads[i], last, seen = payload, i, nil
			total += len(payload)
		}
	}
	if err := s.list(payloads); err != nil {
		return nil, err
	}
	frames := make([]byte, 0, total+frameHeaderBytes*len(s.tasks))
	for i, payload := range payloads[:last+1] {
		if payload == nil {
			continue
		}
		kind := frameStartMore
		if i == last {
			kind = frameStart
		}
		frames = appendStart(frames, kind, s.runs[i].id, payload)
	}
	return frames, nil
}

// takeSeen returns the tasks that the child is to be told to forget.
func (w *Worker) takeSeen() (ids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, w.seen = w.seen, nil
	return ids
}

// appendStart appends the frames of one start.
func appendStart(dst []byte, kind frameType, id uint32, payload []byte) []byte {
	for len(payload) > FrameBytesMax {
		dst = appendFrame(dst, frameStartPart, id, payload[:FrameBytesMax])
		payload = payload[FrameBytesMax:]
	}
	return appendFrame(dst, kind, id, payload)
}

// list puts the tasks that have a payload into the worker's table.
func (s *series) list(payloads [][]byte) error {
	w := s.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lostErr != nil {
		return w.lostErr
	}
	var before *run
	for i, payload := range payloads {
		if payload == nil {
			continue
		}
		t := &s.tasks[i]
		r := &run{worker: w, begin: time.Now(), limits: t.Spec.Limits.WithDefaults(), series: s, place: i, before: before, done: make(chan struct{})}
		r.keyed = w.trace != nil && t.Key != ""
		for taken := true; taken; {
			w.nextID++
			_, taken = w.tasks[w.nextID]
		}
		r.id = w.nextID
		r.connect(&t.Streams)
		w.tasks[r.id] = r
		s.runs[i], before = r, r
	}
	return nil
}

// first returns the first task that was started, or nil.
func (s *series) first() *run {
	for _, r := range s.runs {
		if r != nil {
			return r
		}
	}
	return nil
}

// start sends the frames.
func (s *series) start(frames []byte) {
	out := s.worker.process.out
	if err := out.sendFrames(frames); err != nil {
		// The tasks get their outcomes with the others.
		s.worker.process.killFor(err)
		return
	}
	for _, r := range s.runs {
		if r == nil {
			continue
		}
		r.mu.Lock()
		r.started = true
		cancelled, noticed := r.cancelled, r.noticed
		r.mu.Unlock()
		if noticed {
			_ = out.send(frameNotice, r.id, nil)
		}
		if cancelled {
			_ = out.send(frameCancel, r.id, nil)
		}
	}
}

// cancel cancels the tasks that have not ended.
func (s *series) cancel() {
	for _, r := range s.runs {
		if r == nil {
			continue
		}
		select {
		case <-r.done:
		default:
			r.cancel()
		}
	}
}

// notice tells the guests of the tasks that have not ended that they have to give way.
func (s *series) notice() {
	for _, r := range s.runs {
		if r != nil && !r.over() {
			r.giveNotice()
		}
	}
}

// await tells the outcomes, and what was given back.
func (s *series) await(ctx context.Context, back func(from, to int)) {
	end := len(s.tasks)
	cut := func(at int) {
		back(at, end)
		end = at
	}
	for i := 0; i < end; i++ {
		r := s.runs[i]
		if r == nil {
			s.tell(i, task.Outcome{Kind: task.Refused, Message: s.refused[i].Error()})
			continue
		}
		overdue := r.overdue(time.Now())
		select {
		case <-r.done:
		case at := <-s.returned:
			cut(at)
			<-r.done
		}
		overdue.Stop()
		if r.returned {
			if i < end {
				cut(<-s.returned)
			}
			return
		}
		r.drain(ctx)
		s.tell(i, r.outcome)
	}
}
