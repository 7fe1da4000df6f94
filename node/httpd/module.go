package httpd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/keeper"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/runtime/lint"
)

func (s *server) modules(a huma.API) {
	upload(a, "push-module", "/modules", "Push a module", "modules", s.pushModule)
	get(a, "list-modules", "/modules", "List modules", "modules", s.listModules)
	get(a, "show-module", "/modules/{module}", "Show a module", "modules", s.showModule)
	get(a, "inspect-module", "/modules/{module}/inspection", "Say what lint and the meter make of a module", "modules", s.inspectModule)
	huma.Register(a, huma.Operation{
		OperationID: "remove-module", Method: http.MethodDelete, Path: api.Prefix + "/modules/{module}",
		Summary: "Forget a module that no job names", Tags: []string{"modules"},
	}, s.removeModule)
}

// upload registers an operation whose body is bytes of any number.
func upload[O any](a huma.API, id, path, summary, tag string, f func(ctx context.Context, body io.Reader) (*O, error)) {
	o := huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: api.Prefix + path, Summary: summary, Tags: []string{tag}, DefaultStatus: http.StatusCreated,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
	}
	huma.Register(a, o, func(ctx context.Context, in *body) (*O, error) { return f(ctx, in.reader) })
}

// body is an input that is a stream.
type body struct{ reader io.Reader }

// Resolve implements huma.Resolver.
func (b *body) Resolve(c huma.Context) []error {
	b.reader = c.BodyReader()
	return nil
}

// pushModule checks a module, keeps it and makes it known.
func (s *server) pushModule(ctx context.Context, body io.Reader) (*answer[api.Module], error) {
	limits := lint.Default()
	b, err := io.ReadAll(io.LimitReader(body, int64(limits.ModuleBytes)+1))
	if err != nil {
		return nil, problem(fmt.Errorf("read module: %w", err))
	}
	if _, err := lint.Check(b, limits); err != nil {
		return nil, problem(err)
	}
	if err := who(ctx).module(sha256.Sum256(b)); err != nil {
		return nil, err
	}
	h, size, err := s.Objects.Put(ctx, bytes.NewReader(b), keeper.ModuleOwner)
	if err != nil {
		return nil, problem(err)
	}
	id := ledger.ModuleID(h)
	if _, err := s.do(ctx, &ledger.PutModule{Module: id, Bytes: uint64(size), Holder: s.Self}); err != nil {
		return nil, err
	}
	return s.copyModule(ctx, id, size)
}

// copyModule has another node hold a module that is held here, if there is one and
// nobody else has it, and answers with what the ledger says of it.
func (s *server) copyModule(ctx context.Context, id ledger.ModuleID, size int64) (*answer[api.Module], error) {
	var m ledger.Module
	find := func(tx ledger.Tx) (err error) {
		m, err = ledger.FindModule(tx, id)
		return err
	}
	_, err := s.Ledger.View(find)
	if err == nil && len(m.Holders) < 2 {
		node, failed := s.Copies.Module(ctx, content.Hash(id), size)
		if failed != nil {
			s.log.Info("module is held here only for now", "module", id, "err", failed)
		} else if _, failed := s.do(ctx, &ledger.AddHolder{Module: id, Node: node}); failed != nil {
			s.log.Info("ledger does not know that a module is held", "module", id, "holder", node, "err", failed)
		}
		_, err = s.Ledger.View(find)
	}
	if errors.Is(err, ledger.ErrNotFound) {
		// This node's copy of the ledger is behind, or it was removed meanwhile.
		m, err = ledger.Module{ID: id, Bytes: uint64(size), Holders: []ledger.NodeID{s.Self}}, nil
	}
	return &answer[api.Module]{readModule(&m)}, problem(err)
}

type moduleQuery struct {
	At
	After string `query:"after" doc:"Continue behind this module"`
	Limit int    `query:"limit" minimum:"0"`
}

func (s *server) listModules(ctx context.Context, q *moduleQuery) (*answer[api.Modules], error) {
	var after ledger.ModuleID
	var err error
	if q.After != "" {
		if after, err = parseModule(q.After); err != nil {
			return nil, err
		}
	}
	out := api.Modules{Modules: []api.Module{}}
	limit := page(q.Limit)
	out.Index, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		list, err := who(ctx).modules(tx, after, limit)
		for i := range list {
			out.Modules = append(out.Modules, readModule(&list[i]))
		}
		if len(list) == limit {
			out.Next = module(list[limit-1].ID)
		}
		return err
	})
	return &answer[api.Modules]{out}, err
}

// modules lists modules behind one, up to limit. Modules belong to nobody; but who has a
// token sees those only that jobs of its tenant name: a hash is all that it takes to
// fetch one.
func (a *asker) modules(tx ledger.Tx, after ledger.ModuleID, limit int) (list []ledger.Module, err error) {
	if a.IDs == nil {
		return ledger.Modules(tx, after, limit)
	}
	if err := a.live(tx); err != nil {
		return nil, err
	}
	named, err := a.named(tx, after)
	for _, id := range named[:min(limit, len(named))] {
		m, failed := ledger.FindModule(tx, id)
		if err = failed; err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, err
}

// named lists the modules behind one that the asker's jobs name, in ascending order,
// of the listScanMax jobs that are first.
func (a *asker) named(tx ledger.Tx, after ledger.ModuleID) (ids []ledger.ModuleID, _ error) {
	var from ledger.JobID
	for looked := 0; looked < listScanMax; looked += api.PageMax {
		jobs, err := ledger.JobsOf(tx, a.Tenant, from, api.PageMax)
		for i := range jobs {
			spec, failed := ledger.FindSpec(tx, jobs[i].ID)
			if failed != nil {
				return nil, failed
			}
			if from = jobs[i].ID; bytes.Compare(spec.Module[:], after[:]) > 0 && a.module(spec.Module) == nil {
				ids = append(ids, spec.Module)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(jobs) < api.PageMax {
			break
		}
	}
	slices.SortFunc(ids, func(a, b ledger.ModuleID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids), nil
}

func readModule(m *ledger.Module) api.Module {
	out := api.Module{Module: module(m.ID), Bytes: m.Bytes, Jobs: m.References}
	for _, h := range m.Holders {
		out.Holders = append(out.Holders, string(h))
	}
	return out
}

// parseModule reads sha256:HEX, or HEX.
func parseModule(text string) (ledger.ModuleID, error) {
	var id ledger.ModuleID
	b, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	if err != nil || len(b) != len(id) {
		return id, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%q is not sha256: and 64 hexadecimal digits", text), "")
	}
	return ledger.ModuleID(b), nil
}

type modulePath struct {
	At
	Module string `path:"module"`
}

func (s *server) showModule(ctx context.Context, q *modulePath) (*answer[api.Module], error) {
	id, err := parseModule(q.Module)
	if err != nil {
		return nil, err
	}
	if err := who(ctx).module(id); err != nil {
		return nil, err
	}
	var out api.Module
	_, err = s.read(ctx, q.At, func(tx ledger.Tx) error {
		m, err := ledger.FindModule(tx, id)
		out = readModule(&m)
		return err
	})
	return &answer[api.Module]{out}, err
}

func (s *server) removeModule(ctx context.Context, q *modulePath) (*struct{}, error) {
	id, err := parseModule(q.Module)
	if err != nil {
		return nil, err
	}
	if _, err := s.do(ctx, &ledger.DropModule{Module: id}); err != nil {
		return nil, err
	}
	if err := s.Objects.Unpin(content.Hash(id), keeper.ModuleOwner); err != nil && !errors.Is(err, content.ErrNotHeld) {
		return nil, problem(err)
	}
	return nil, nil
}
