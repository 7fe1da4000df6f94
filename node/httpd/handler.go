package httpd

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p/metric"
)

// server has what the handlers need.
type server struct {
	Config
	log *slog.Logger
	// refusals counts those who were not let in, or may not do what they ask for.
	refusals *prometheus.CounterVec
	// limits counts what a limit of the interface has refused.
	limits *prometheus.CounterVec
	login  *login
	// inspecting has an entry for each module that is being inspected.
	inspecting chan struct{}
	// short remembers which tenants are being refused.
	short shortages

	// imports has which function for HTTP requests modules import, guarded by importsMu.
	importsMu sync.Mutex
	imports   map[ledger.ModuleID]string
}

// Handler returns the interface: everything below api.Prefix, /openapi.json and
// /metrics. It finds out who asks by the address at which the request has arrived, and
// by the token.
func Handler(config Config) (http.Handler, error) {
	s := &server{Config: config, log: config.Log, login: newLogin(config.Self), inspecting: make(chan struct{}, inspectionsMax)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.refusals, err = refusals(s.Registerer); err != nil {
		return nil, fmt.Errorf("make the API: %w", err)
	}
	mux := http.NewServeMux()
	s.register(mux)
	if g, ok := config.Registerer.(prometheus.Gatherer); ok {
		mux.Handle("GET "+metricsPath, s.tokenless(promhttp.HandlerFor(g, promhttp.HandlerOpts{})))
	}
	g, err := newGate(s, mux)
	if err != nil {
		return nil, fmt.Errorf("make the API: %w", err)
	}
	return &notary{Handler: g, log: config.Audit}, nil
}

// refusals returns the metric of those who were refused, by code.
func refusals(reg prometheus.Registerer) (v *prometheus.CounterVec, err error) {
	metric.Register(reg, &v, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dugnad_api_refused_total", Help: "Requests of somebody who was not let in, or may not do what they asked for, by the problem's code.",
	}, []string{"code"}), &err)
	return v, err
}

// register adds all operations to a mux and returns what describes them.
func (s *server) register(mux *http.ServeMux) *huma.OpenAPI {
	c := huma.DefaultConfig("Dugnad", s.Version)
	c.Info.Description = "A node of a Dugnad grid. Every node answers the same."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/openapi", "", ""
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {
		Type: "http", Scheme: warrant.Scheme,
		Description: "A proof that a tenant's token is held, made for this request; to read, for two minutes of one node. Not needed through the socket in the node's folder, nor at a loopback address unless the node is told so.",
	}}
	c.Security = []map[string][]string{{"token": {}}}
	c.CreateHooks = nil // no $schema in answers
	c.Transformers = append(c.Transformers, s.coded, noteAnswer)
	a := humago.New(mux, c)
	a.UseMiddleware(noteOperation, countOutcome, s.permitted)
	s.jobs(a)
	s.tasks(a)
	s.modules(a)
	s.nodes(a)
	s.secrets(a)
	s.objects(a)
	s.tenants(a)
	s.logins(a)
	return a.OpenAPI()
}

// coded gives what the library itself refuses a code and the form of all other
// errors.
func (s *server) coded(_ huma.Context, status string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := api.NewProblem(api.CodeInvalid, e.Detail, "")
	p.Status = e.Status
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		p.Code = api.CodeTooLarge
	case http.StatusRequestTimeout:
		p.Code = api.CodeTooSlow
	}
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, api.Mistake{Field: d.Location, Message: d.Message})
	}
	p.Title = http.StatusText(e.Status)
	return p, nil
}

// At says how fresh an answer has to be.
type At struct {
	Consistent bool   `query:"consistent" doc:"Answer with everything that was acknowledged anywhere before"`
	Index      uint64 `query:"index" doc:"Answer when this node has applied the ledger up to this index"`
}

// read reads the ledger as the request asks for.
func (s *server) read(ctx context.Context, a At, f func(tx ledger.Tx) error) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if a.Index > 0 {
		if err := s.Ledger.Wait(ctx, a.Index); err != nil {
			return 0, problem(err)
		}
	}
	var index uint64
	var err error
	if a.Consistent {
		index, err = s.Ledger.Read(ctx, f)
	} else {
		index, err = s.Ledger.View(f)
	}
	return index, problem(err)
}

// do proposes a command and returns its index.
func (s *server) do(ctx context.Context, c ledger.Command) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	r, index, err := s.Ledger.Do(ctx, c)
	if err != nil {
		return index, problem(err)
	}
	if r.Code != ledger.CodeOK {
		return index, refusal(r)
	}
	s.settle(ctx, index)
	return index, nil
}

// settle waits until this node has applied what was just written, so that whoever
// goes on asking it finds that. A node that lags far behind does not keep its
// client waiting.
func (s *server) settle(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = s.Ledger.Wait(ctx, index)
}

// page bounds a page's size.
func page(limit int) int {
	if limit <= 0 {
		return api.PageDefault
	}
	return min(limit, api.PageMax)
}
