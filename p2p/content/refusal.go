package content

import (
	"fmt"
	"time"
)

// refused takes a refusal in: of chunk k, or of a list.
func (n *session) refused(j job, k int, b []byte) error {
	f, err := parseRefusal(b)
	if err != nil {
		return err
	}
	t, h := n.t, n.h
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wake()
	h.asking = false
	for _, id := range f.others {
		t.addCandidate(id)
	}
	switch f.code {
	case codeBusy:
		t.rest(h, j, k, f)
		return nil
	case codeNotHeld:
		h.absent = true
	case codeCorrupt:
		return &misdeed{reason: ReasonCorrupt}
	case codeDenied:
		return &misdeed{reason: ReasonDenied}
	case codeMalformed:
		return fmt.Errorf("%w: as the holder says", errFrame)
	}
	t.drop(h)
	return errRefused
}

// rest leaves a busy holder alone for a while, or for that chunk.
func (t *transfer) rest(h *holder, j job, k int, f refusal) {
	if j.kind == requestRange && len(f.others) > 0 && !j.insist {
		if len(h.refused) == 0 {
			h.refusedAt = time.Now()
		}
		h.refused[k] = true
		return
	}
	h.poll = min(2*h.poll, pollLast)
	h.restAt = time.Now().Add(max(f.wait, h.poll))
}
