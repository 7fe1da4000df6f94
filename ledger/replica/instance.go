package replica

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// poolMax bounds the idle connections of Raft to one peer.
const poolMax = 3

// instance is Raft from one start to its end.
type instance struct {
	*raft.Raft
	trans *raft.NetworkTransport
	layer *streamLayer
	// ending is closed when the end begins, gone when it is over: a future that
	// has no answer then never gets one.
	ending, gone chan struct{}
	once         sync.Once
	watching     sync.WaitGroup
	unanswered   unanswered
	notices      notices
}

// unanswered counts the futures that somebody waits for.
type unanswered struct {
	mu sync.Mutex
	n  int
	// none is closed when there are none left, if anybody asked.
	none chan struct{}
}

func (u *unanswered) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n += n; u.n == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
}

// wait returns when there are none, after limit at the latest.
func (u *unanswered) wait(limit time.Duration) {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return
	}
	u.none = make(chan struct{})
	none := u.none
	u.mu.Unlock()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-none:
	case <-late.C:
	}
}

// answer returns a channel that gets the future's error, when it has one: Raft
// forgets some futures when it is shut down.
func (i *instance) answer(f raft.Future) <-chan error {
	answer := make(chan error, 1)
	i.unanswered.add(1)
	go func() {
		answer <- f.Error()
		i.unanswered.add(-1)
	}()
	return answer
}

// await waits for a future, or for the instance's end.
func (i *instance) await(f raft.Future) error {
	select {
	case err := <-i.answer(f):
		return err
	case <-i.gone:
		return raft.ErrRaftShutdown
	}
}

// answerMoment is how long Raft gets to answer, before it is shut down, what it
// would forget then: entries that are committed and wait to be applied.
const answerMoment = 100 * time.Millisecond

// shutdown ends the instance and waits for it, but for those who watch it.
func (i *instance) shutdown() {
	i.once.Do(func() {
		_ = i.layer.Close()
		close(i.ending)
		i.unanswered.wait(answerMoment)
		_ = i.Shutdown().Error()
		i.trans.CloseStreams()
		_ = i.trans.Close()
		i.notices.end()
		i.layer.wait()
		close(i.gone)
	})
}
