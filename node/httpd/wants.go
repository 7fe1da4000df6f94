package httpd

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/jobspec"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/lint"
)

const (
	// importsBytesMax is how much of a module is read for what it imports: with more
	// before its imports nothing is known of them.
	importsBytesMax = 1 << 20
	// importsMax bounds the modules of which it is remembered; with more it is read anew.
	importsMax = 4096
)

// granted returns a problem when the job's module is here and imports what makes HTTP
// requests, and the job does not ask for that: all of its tasks would be refused. It
// says also whether the tenant may ask at all.
func (s *server) granted(ctx context.Context, job *jobspec.Job, spec *ledger.JobSpec) error {
	if slices.Contains(job.Capabilities, abi.CapabilityHTTP) {
		return nil
	}
	name := s.wantsHTTP(spec.Module)
	if name == "" {
		return nil
	}
	help := "write capabilities: [" + abi.CapabilityHTTP + "] in the job file, or give --allow-http"
	var may bool
	_, err := s.read(ctx, At{}, func(tx ledger.Tx) error {
		t, err := ledger.FindTenant(tx, spec.Tenant)
		may = t.Capabilities&ledger.CapabilityHTTP != 0
		if errors.Is(err, ledger.ErrNotFound) {
			return nil // the ledger says so
		}
		return err
	})
	if err != nil {
		return err
	}
	if !may {
		help += "; the tenant may not yet: ask the grid's admin for dugnad tenant allow " + string(spec.Tenant) + " " + abi.CapabilityHTTP
	}
	return api.NewProblem(api.CodeRefused, "the module imports "+abi.Module+"."+name+" and the job does not ask for the capability "+abi.CapabilityHTTP, help)
}

// wantsHTTP returns the first function for HTTP requests that a module imports; "" is
// none, or that the module is not here, or cannot be read.
func (s *server) wantsHTTP(id ledger.ModuleID) (name string) {
	s.importsMu.Lock()
	name, known := s.imports[id]
	s.importsMu.Unlock()
	if known {
		return name
	}
	b, err := s.beginning(id)
	if err != nil {
		if !errors.Is(err, content.ErrNotHeld) {
			s.log.Debug("imports of a module cannot be read", "module", id, "err", err)
		}
		return ""
	}
	for _, i := range lint.Imports(b) {
		if i.Module == abi.Module && strings.HasPrefix(i.Name, abi.CapabilityHTTP+"_") {
			name = i.Name
			break
		}
	}
	s.importsMu.Lock()
	defer s.importsMu.Unlock()
	if s.imports == nil || len(s.imports) >= importsMax {
		s.imports = map[ledger.ModuleID]string{}
	}
	s.imports[id] = name
	return name
}

// beginning reads what a module that is here begins with.
func (s *server) beginning(id ledger.ModuleID) (b []byte, err error) {
	o, err := s.Objects.Open(content.Hash(id), true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return io.ReadAll(io.LimitReader(o, importsBytesMax))
}
