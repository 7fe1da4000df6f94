package measure

import (
	"context"
	"os"
	"path/filepath"
)

// Prepare fetches or builds the module of w, into dir if it is not checked in,
// and makes its input.
func Prepare(ctx context.Context, w Workload, repository, dir string) (*Ready, error) {
	module, err := Fetch(ctx, w.Source, repository, dir)
	if err != nil {
		return nil, err
	}
	return ready(w, module)
}

// Again makes ready what Prepare has left in dir.
func Again(w Workload, repository, dir string) (*Ready, error) {
	name := filepath.Join(dir, w.Source.Name)
	if w.Source.File != "" {
		name = filepath.Join(repository, filepath.FromSlash(w.Source.File))
	}
	module, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return ready(w, module)
}

func ready(w Workload, module []byte) (*Ready, error) {
	r := &Ready{Workload: w, Module: module}
	if w.Stdin == nil {
		return r, nil
	}
	var err error
	r.Input, err = w.Stdin()
	return r, err
}
