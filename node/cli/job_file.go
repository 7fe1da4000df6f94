package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/runtime/lint"
)

// readJobFile reads and checks a job file, or stdin for -.
func (a *app) readJobFile(name string) (*jobspec.Job, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError("reading the job file: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, jobspec.FileBytesMax+1))
	if err != nil {
		return nil, usageError("reading the job file: %w", err)
	}
	job, err := jobspec.Parse(data)
	if err != nil {
		return nil, jobFileError(name, err)
	}
	return job, nil
}

// jobFileError lists mistakes as FILE:LINE:COLUMN.
func jobFileError(name string, err error) error {
	var list jobspec.Errors
	if !errors.As(err, &list) {
		return usageError("%s: %w", name, err)
	}
	lines := make([]string, len(list))
	for i, e := range list {
		at := name
		switch {
		case e.Line > 0 && e.Column > 0:
			at = fmt.Sprintf("%s:%d:%d", name, e.Line, e.Column)
		case e.Line > 0:
			at = fmt.Sprintf("%s:%d", name, e.Line)
		}
		bare := *e
		bare.Line, bare.Column = 0, 0
		lines[i] = at + ": " + bare.Error()
	}
	return usageError("the job file has %s:\n%s", plural(uint64(len(list)), "mistake"), strings.Join(lines, "\n"))
}

// uploads brings local files that a job names into the grid; dry only finds out
// what they would be called there.
type uploads struct {
	client *client.Client
	dry    bool
	// dir is what relative paths begin at.
	dir string
}

// all uploads the files of a job and makes the job name the objects.
func (u *uploads) all(ctx context.Context, job *jobspec.Job) error {
	type file struct {
		path   string
		folder bool
	}
	known := map[file]jobspec.Hash{}
	for _, f := range job.Paths() {
		name := f.Path
		if !filepath.IsAbs(name) {
			name = filepath.Join(u.dir, name)
		}
		h, ok := known[file{name, f.Folder}]
		var err error
		switch {
		case f.Field == "module":
			h, err = u.module(ctx, name)
		case !ok:
			h, err = uploadPath(ctx, name, f.Folder, u.object)
			known[file{name, f.Folder}] = h
		}
		if err != nil {
			return fmt.Errorf("uploading %s: %w", f.Field, err)
		}
		f.Replace(h)
	}
	return nil
}

func (u *uploads) object(ctx context.Context, r io.Reader) (jobspec.Hash, error) {
	if u.dry {
		h := sha256.New()
		_, err := io.Copy(h, r)
		return jobspec.Hash(h.Sum(nil)), err
	}
	o, err := u.client.PutObject(ctx, r)
	if err != nil {
		return jobspec.Hash{}, err
	}
	return jobspec.ParseHash(o.Object)
}

// module pushes the module in a file, unless the grid knows it.
func (u *uploads) module(ctx context.Context, name string) (jobspec.Hash, error) {
	module, err := readModule(ctx, name, int(lint.Default().ModuleBytes))
	if err != nil {
		return jobspec.Hash{}, err
	}
	h := jobspec.Hash(sha256.Sum256(module))
	if u.dry {
		return h, nil
	}
	if _, err := u.client.Module(ctx, h.String()); !hasCode(err, api.CodeNotFound) {
		return h, err
	}
	return h, u.push(ctx, module)
}

// push makes the grid know a module.
func (u *uploads) push(ctx context.Context, module []byte) error {
	_, err := u.client.PushModule(ctx, strings.NewReader(string(module)))
	return err
}

// submit submits a job under a key: an answer that was lost is asked for again.
func submit(ctx context.Context, c *client.Client, job *jobspec.Job, key string) (s api.Submitted, err error) {
	file, err := json.Marshal(job)
	if err != nil {
		return s, err
	}
	return c.Submit(ctx, file, key)
}
