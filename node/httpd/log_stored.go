package httpd

import (
	"context"
	"fmt"
	"io"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/shelf"
	"github.com/dugnad/dugnad/node/tail"
)

// finish sends what is left of a task that has ended: the rest of the attempt that was
// followed, all of the one that counts where that is another, and the end.
func (r *logReader) finish(ctx context.Context, t *ledger.Task) error {
	sh, err := shelf.Open(r.shelf(), r.id, r.index, r.index+1)
	if err != nil {
		return err
	}
	defer sh.Close()
	last, err := sh.Find(ctx, r.index)
	if err != nil {
		return err
	}
	if last == nil || last.Epoch != r.epoch {
		if err := r.complete(ctx); err != nil {
			return err
		}
	}
	if last != nil {
		if last.Epoch != r.epoch {
			if err := r.begin(last.Attempt, ledger.NodeID(last.Node), last.Epoch); err != nil {
				return err
			}
		}
		if err := r.rest(last); err != nil {
			return err
		}
	}
	return r.send(api.Log{Kind: api.LogEnded, State: t.State.String(), Exit: class(t.Exit)})
}

// complete sends what was not read of the attempt that was followed, which has ended, or
// says that it is gone with its node.
func (r *logReader) complete(ctx context.Context) error {
	if r.epoch != 0 && (!r.known || r.lacks(r.sizes)) {
		if err := r.completeStored(ctx); err != nil {
			return err
		}
	}
	r.sizes, r.known = r.at, true
	return nil
}

func (r *logReader) completeStored(ctx context.Context) error {
	sh, err := shelf.OpenEpoch(r.shelf(), r.id, r.index, r.epoch)
	if err != nil {
		return err
	}
	defer sh.Close()
	kept, err := sh.Find(ctx, r.index)
	switch {
	case err != nil:
		return err
	case kept != nil:
		return r.rest(kept)
	case !r.known:
		return nil
	}
	for stream, size := range r.sizes {
		if err := r.skip(tail.Stream(stream), size); err != nil {
			return err
		}
	}
	return nil
}

// lacks reports whether streams of these sizes have more than was read.
func (r *logReader) lacks(sizes [tail.Streams]uint64) bool {
	for stream, size := range sizes {
		if r.want[stream] && size > r.at[stream] {
			return true
		}
	}
	return false
}

// rest sends what was not read of the streams of a result.
func (r *logReader) rest(kept *shelf.Result) error {
	for stream, from := range [tail.Streams]io.Reader{tail.Stdout: kept.Stdout, tail.Stderr: kept.Stderr} {
		stream, size := tail.Stream(stream), uint64(kept.StdoutBytes)
		if stream == tail.Stderr {
			size = uint64(kept.StderrBytes)
		}
		if !r.want[stream] || size <= r.at[stream] {
			continue
		}
		begin := r.at[stream]
		if r.back > 0 && begin == 0 {
			begin = size - min(size, r.back)
		}
		if err := r.skip(stream, begin); err != nil {
			return err
		}
		if err := r.copyRest(stream, from); err != nil {
			return err
		}
	}
	return nil
}

// copyRest sends a stream from where the reader is.
func (r *logReader) copyRest(stream tail.Stream, from io.Reader) error {
	if _, err := io.CopyN(io.Discard, from, int64(r.at[stream])); err != nil {
		return fmt.Errorf("read %s of task %d: %w", stream, r.index, err)
	}
	for buffer := make([]byte, tail.PieceBytesMax); ; {
		n, err := io.ReadFull(from, buffer)
		if n > 0 {
			if err := r.output(stream, r.at[stream], buffer[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return fmt.Errorf("read %s of task %d: %w", stream, r.index, err)
		}
	}
}
