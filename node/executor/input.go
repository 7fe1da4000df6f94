package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/dugnad/dugnad/p2p/content"
)

// inputKey names an input of a tenant: an object as a file, or unpacked.
type inputKey struct {
	dir    string
	hash   content.Hash
	folder bool
}

// inputs are the files and folders in the tenants' input folders. Tasks of the
// same tenant share them; they go with their last user.
type inputs struct {
	config *Config

	mu     sync.Mutex
	placed map[inputKey]*placement
	// bytes is how much all of them take.
	bytes int64
	// written numbers the files that single tasks have.
	written uint64
	sizes   map[string]int64
}

// placement is one of them.
type placement struct {
	key   inputKey
	path  string
	users int
	bytes int64
	ready chan struct{}
	err   error
}

func newInputs(c *Config) *inputs {
	return &inputs{config: c, placed: map[inputKey]*placement{}, sizes: map[string]int64{}}
}

// place places an input, or waits for whoever does so already. Who gets it calls
// remove.
func (in *inputs) place(ctx context.Context, key inputKey, open func() (*content.Object, error)) (*placement, error) {
	for {
		in.mu.Lock()
		p := in.placed[key]
		if p == nil {
			p = &placement{key: key, users: 1, ready: make(chan struct{})}
			in.placed[key] = p
			in.mu.Unlock()
			p.err = in.fill(ctx, p, open)
			close(p.ready)
			if p.err != nil {
				in.remove(p)
			}
			return p, p.err
		}
		p.users++
		in.mu.Unlock()
		select {
		case <-p.ready:
		case <-ctx.Done():
		}
		if ctx.Err() == nil && p.err == nil {
			return p, nil
		}
		in.remove(p)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// remove takes a use of p back, and with the last one p.
func (in *inputs) remove(p *placement) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	if p.path != "" {
		_ = os.RemoveAll(p.path) // what stays is replaced when it is placed again
	}
	delete(in.placed, p.key)
	in.bytes -= p.bytes
}

// reserve makes room for n bytes, or returns ErrInputBytes.
func (in *inputs) reserve(n int64) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n < 0 || n > in.config.InputBytesMax-in.bytes {
		return fmt.Errorf("%w: %d bytes are used, %d more, at most %d", ErrInputBytes, in.bytes, n, in.config.InputBytesMax)
	}
	in.bytes += n
	return nil
}

// fill brings the input to where guests can read it.
func (in *inputs) fill(ctx context.Context, p *placement, open func() (*content.Object, error)) error {
	o, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = o.Close() }() // it is read only
	name := hex.EncodeToString(p.key.hash[:])
	if p.key.folder {
		name += ".folder"
	}
	path := filepath.Join(p.key.dir, name)
	part := path + partSuffix
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("place input: %w", err)
	}
	write := in.copyFile
	if p.key.folder {
		write = in.unpack
	}
	// An earlier process may have left something under the name.
	err = write(ctx, p, o, part)
	if err == nil {
		err = os.RemoveAll(path)
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.RemoveAll(part) // the next process that wants it does so, too
		return fmt.Errorf("place input: %w", err)
	}
	p.path = path
	return nil
}

// grow makes room for n bytes more of p.
func (in *inputs) grow(p *placement, n int64) error {
	if err := in.reserve(n); err != nil {
		return err
	}
	p.bytes += n
	return nil
}

// copyFile copies an object and verifies it.
func (in *inputs) copyFile(ctx context.Context, p *placement, o *content.Object, name string) error {
	if err := in.grow(p, o.Size()); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), &interruptible{ctx, io.NewSectionReader(o, 0, o.Size())}); err != nil {
		return err
	}
	if content.Hash(sum.Sum(nil)) != p.key.hash {
		return fmt.Errorf("%w: it is not %s", content.ErrCorrupt, p.key.hash)
	}
	return f.Close()
}

// write writes a task's share of the lines to a file of its own.
func (in *inputs) write(dir string, s *source, count, index uint32) (string, error) {
	from, end, err := s.span(count, index)
	if err != nil {
		return "", err
	}
	if err := in.reserve(end - from); err != nil {
		return "", err
	}
	in.mu.Lock()
	in.written++
	name := filepath.Join(dir, fmt.Sprintf("share-%d", in.written))
	in.sizes[name] = end - from
	in.mu.Unlock()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(f, io.NewSectionReader(s.r, from, end-from))
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		in.unwrite(name)
		return "", err
	}
	return name, nil
}

// unwrite removes what write wrote.
func (in *inputs) unwrite(name string) {
	_ = os.Remove(name) // what stays is replaced under the next number
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bytes -= in.sizes[name]
	delete(in.sizes, name)
}

// interruptible is a reader that ends with ctx.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(b []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(b)
}
