package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// errStalled ends a backup whose client takes nothing.
var errStalled = fmt.Errorf("the client took nothing for %s", stallTimeout)

// errPartial is returned for a backup that the node could not write to its end.
var errPartial = errors.New("the node's backup is not whole")

// Backup writes the ledger's state, as the node has it now, to w. What is there is
// no backup unless the error is nil.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.do(ctx, http.MethodGet, "/ledger/backup", nil, func(resp *http.Response) error {
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("%w: %w", errPartial, err)
		}
		if why := resp.Trailer.Get(problemTrailer); why != "" {
			return fmt.Errorf("%w: %s", errPartial, why)
		}
		return nil
	})
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	out := &stream{w: w, control: http.NewResponseController(w)}
	err := s.node.Backup(r.Context(), out)
	switch {
	case err == nil:
	case !out.begun:
		s.answer(w, nil, err)
	default:
		s.log.Warn("backup is not whole", "err", err)
		w.Header().Set(problemTrailer, err.Error())
	}
}

// stream is an answer that a client takes as fast as it likes, but goes on taking.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/octet-stream")
		s.w.Header().Set("Trailer", problemTrailer)
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errStalled, err)
	}
	return n, err
}
