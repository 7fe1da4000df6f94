package httpd

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/sharing"
	"github.com/dugnad/dugnad/node/turnstile"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/node/warrant/warranttest"
	"github.com/dugnad/dugnad/p2p/content"
	"github.com/dugnad/dugnad/p2p/metric/metrictest"
)

// written is a ledger in memory whose clock stands still.
type written struct {
	book
	*ledgertest.Memory
	now ledger.Time
	// first is applied before the next command: somebody else was quicker.
	first ledger.Command
	// commands counts what was applied.
	commands int
}

func newWritten() *written {
	m := ledgertest.NewMemory()
	return &written{book: book{tx: m}, Memory: m, now: ledger.Time(time.Now().UnixNano())}
}

func (w *written) Do(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	if first := w.first; first != nil {
		w.first = nil
		if r, _, err := w.Do(ctx, first); err != nil || r.Code != ledger.CodeOK {
			return r, 0, errors.Join(err, errors.New("apply what was first"))
		}
	}
	w.commands++
	answer, err := ledger.Apply(w.Memory, 1, ledger.Encode(ledger.Envelope{Now: w.now, Body: c}))
	if err != nil {
		return ledger.Result{}, 0, err
	}
	r, err := ledger.DecodeResult(answer)
	return r, 1, err
}

func (w *written) Wait(context.Context, uint64) error { return nil }

func (w *written) Read(_ context.Context, f func(tx ledger.Tx) error) (uint64, error) {
	return w.View(f)
}

// do applies commands that must be taken.
func (w *written) do(t *testing.T, list ...ledger.Command) {
	t.Helper()
	for _, c := range list {
		r, _, err := w.Do(t.Context(), c)
		if err != nil || r.Code != ledger.CodeOK {
			t.Fatalf("%T: %+v, %v", c, r, err)
		}
		for _, i := range r.Items {
			if i.Code != ledger.CodeOK {
				t.Fatalf("%T: %+v", c, r)
			}
		}
	}
}

// shop is a handler with a ledger, for an operator and a tenant.
type shop struct {
	*testing.T
	book    *written
	objects *content.Store
	handler http.Handler
	token   warrant.Token
}

func newShop(t *testing.T) *shop { return newShopOf(t, nobody{admin: true}) }

// newShopOf returns a shop of a grid, whose handler's configuration each of alter
// changes.
func newShopOf(t *testing.T, grid Grid, alter ...func(*Config)) *shop {
	t.Helper()
	r := warranttest.New(t)
	s := &shop{T: t, book: newWritten(), token: r.Token(t, "acme", warrant.Limits{})}
	var err error
	if s.objects, err = content.Open(t.Context(), content.Default(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.objects.Close() })
	c := Config{
		Ledger: s.book, Objects: s.objects, Grid: grid, Tenant: "default", Roots: warrant.Roots{Grid: r.Public()}, Names: []string{"node.example"}, Registerer: prometheus.NewRegistry(), Version: "0",
	}
	for _, f := range alter {
		f(&c)
	}
	s.handler, err = Handler(c)
	if err != nil {
		t.Fatal(err)
	}
	s.book.do(t, &ledger.CreateTenant{Tenant: "default", Weight: 1, BandMax: 7}, &ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 3})
	return s
}

// ask asks as the operator, or as the tenant acme.
func (s *shop) ask(operator bool, method, path, body string) *httptest.ResponseRecorder {
	s.Helper()
	var local net.Addr = socket
	if !operator {
		local = public
	}
	ctx := context.WithValue(s.Context(), http.LocalAddrContextKey, local)
	r := httptest.NewRequestWithContext(ctx, method, "http://node.example"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if !operator {
		proof, err := s.token.Mint(warrant.Call{Host: r.Host, Method: method, Path: r.URL.RequestURI()}, time.Now())
		if err != nil {
			s.Fatal(err)
		}
		r.Header.Set("Authorization", proof)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// expect reads an answer of a status.
func expect[T any](s *shop, w *httptest.ResponseRecorder, status int) (v T) {
	s.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != status {
		s.Fatalf("status %d, want %d: %v: %s", w.Code, status, err, w.Body)
	}
	return v
}

// TestTenants: the operator makes tenants and bounds them; a tenant sees itself.
func TestTenants(t *testing.T) {
	s := newShop(t)
	made := expect[api.Tenant](s, s.ask(true, "POST", "/v1/tenants", `{"id":"birch","quota":{"band_max":2,"fuel_per_day":18446744073709551615}}`), 201)
	if made.ID != "birch" || made.Quota != (api.Quota{Weight: 1, BandMax: 2, FuelPerDay: 1<<64 - 1}) {
		t.Errorf("made %+v", made)
	}
	want := api.Quota{Weight: 3, BandMax: 4, Fuel: 5, FuelPerDay: 6, FuelPerSecond: 7, MemoryBytes: 8, QueuedTasks: 9, Jobs: 10, StoredBytes: 11, EgressPerDay: 12}
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	set := expect[api.Tenant](s, s.ask(true, "PUT", "/v1/tenants/acme/quota", string(body)), 200)
	if got := expect[api.Quota](s, s.ask(false, "GET", "/v1/tenants/acme/quota", ""), 200); got != want || set.Quota != want {
		t.Errorf("quota %+v, set %+v, want %+v", got, set.Quota, want)
	}
	if all := expect[api.Tenants](s, s.ask(true, "GET", "/v1/tenants?limit=2", ""), 200); len(all.Tenants) != 2 || all.Next != "birch" {
		t.Errorf("the operator sees %+v", all)
	}
	if own := expect[api.Tenants](s, s.ask(false, "GET", "/v1/tenants", ""), 200); len(own.Tenants) != 1 || own.Tenants[0].ID != "acme" {
		t.Errorf("the tenant sees %+v", own)
	}
}

// TestTenantsAdmin: the operator of a node that is no admin's bounds nobody.
func TestTenantsAdmin(t *testing.T) {
	s := newShopOf(t, nobody{})
	before := expect[api.Tenant](s, s.ask(true, "GET", "/v1/tenants/acme", ""), 200)
	for _, w := range []*httptest.ResponseRecorder{
		s.ask(true, "POST", "/v1/tenants", `{"id":"birch"}`), s.ask(true, "PUT", "/v1/tenants/acme/quota", `{"band_max":7}`),
		s.ask(true, "PATCH", "/v1/tenants/acme/quota", `{"band_max":7}`), s.ask(true, "PATCH", "/v1/tenants/acme/capabilities", `{"allow":["http"]}`),
	} {
		if p := expect[api.Problem](s, w, 403); p.Code != api.CodeAdminOnly {
			t.Errorf("refused as %s: %s", p.Code, p.Detail)
		}
	}
	if after := expect[api.Tenant](s, s.ask(true, "GET", "/v1/tenants/acme", ""), 200); after.Quota != before.Quota || len(after.Capabilities) > 0 {
		t.Errorf("the quota is %+v, was %+v", after.Quota, before.Quota)
	}
}

// TestTenantsRefuse: what makes no sense, and what is not the asker's to do.
func TestTenantsRefuse(t *testing.T) {
	s := newShop(t)
	for _, c := range []struct {
		name         string
		tenant       bool
		method, path string
		body         string
		status       int
		code         api.Code
		says         string
	}{
		{"a tenant makes one", true, "POST", "/v1/tenants", `{"id":"x"}`, 403, api.CodeOperatorOnly, ""},
		{"a tenant raises its quota", true, "PUT", "/v1/tenants/acme/quota", `{"band_max":7}`, 403, api.CodeOperatorOnly, ""},
		{"a tenant looks at another", true, "GET", "/v1/tenants/default", "", 404, api.CodeNotFound, "default"},
		{"a tenant asks for another's usage", true, "GET", "/v1/usage?tenant=default", "", 404, api.CodeNotFound, "default"},
		{"unknown tenant", false, "GET", "/v1/tenants/nobody", "", 404, api.CodeNotFound, ""},
		{"unknown tenant's quota", false, "PUT", "/v1/tenants/nobody/quota", `{"band_max":1}`, 403, "tenant_unknown", "nobody"},
		{"unknown tenant's usage", false, "GET", "/v1/usage?tenant=nobody", "", 404, api.CodeNotFound, ""},
		{"known tenant", false, "POST", "/v1/tenants", `{"id":"acme"}`, 409, "tenant_exists", "acme"},
		{"no name", false, "POST", "/v1/tenants", `{"id":""}`, 422, api.CodeInvalid, "id"},
		{"odd name", false, "POST", "/v1/tenants", `{"id":"../Acme"}`, 422, api.CodeInvalid, "tenant"},
		{"negative", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"fuel_per_day":-1}`, 422, api.CodeInvalid, "fuel_per_day"},
		{"beyond 64 bits", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"fuel_per_day":18446744073709551616}`, 422, api.CodeInvalid, ""},
		{"a fraction", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"jobs":1.5}`, 422, api.CodeInvalid, "jobs"},
		{"a text", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"jobs":"many"}`, 422, api.CodeInvalid, "jobs"},
		{"unknown quota", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"fule_per_day":1}`, 422, api.CodeInvalid, "fule_per_day"},
		{"a band above all", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":8}`, 422, api.CodeInvalid, "band_max"},
		{"much weight", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1,"weight":1048577}`, 422, api.CodeInvalid, "weight"},
		{"a tenant raises a bound", true, "PATCH", "/v1/tenants/acme/quota", `{"jobs":0}`, 403, api.CodeOperatorOnly, ""},
		{"a tenant allows itself", true, "PATCH", "/v1/tenants/acme/capabilities", `{"allow":["http"]}`, 403, api.CodeOperatorOnly, ""},
		{"no change", false, "PATCH", "/v1/tenants/acme/quota", `{}`, 422, api.CodeInvalid, "no bound"},
		{"no weight", false, "PATCH", "/v1/tenants/acme/quota", `{"weight":0}`, 422, api.CodeInvalid, "weight"},
		{"a change to nothing", false, "PATCH", "/v1/tenants/acme/quota", `{"jobs":null}`, 422, api.CodeInvalid, "jobs"},
		{"a change above 32 bits", false, "PATCH", "/v1/tenants/acme/quota", `{"jobs":4294967296}`, 422, api.CodeInvalid, ""},
		{"a change of an unknown tenant", false, "PATCH", "/v1/tenants/nobody/quota", `{"jobs":1}`, 403, "tenant_unknown", "nobody"},
		{"an unknown capability", false, "PATCH", "/v1/tenants/acme/capabilities", `{"deny":["fly\u001b"]}`, 422, api.CodeInvalid, "fly"},
		{"no capability", false, "PATCH", "/v1/tenants/acme/capabilities", `{"allow":[]}`, 422, api.CodeInvalid, "no capability"},
		{"allowed and denied", false, "PATCH", "/v1/tenants/acme/capabilities", `{"allow":["http"],"deny":["http"]}`, 422, api.CodeInvalid, "both"},
		{"capabilities of an unknown tenant", false, "PATCH", "/v1/tenants/nobody/capabilities", `{"allow":["http"]}`, 403, "tenant_unknown", "nobody"},
		{"large", false, "PUT", "/v1/tenants/acme/quota", `{"band_max":1` + strings.Repeat(" ", tenantBytesMax) + `}`, 413, api.CodeTooLarge, ""},
		{"no JSON", false, "PUT", "/v1/tenants/acme/quota", `{`, 400, api.CodeInvalid, ""},
		{"a day that is none", false, "GET", "/v1/usage?from=2026-02-30", "", 422, api.CodeInvalid, "2026-02-30"},
		{"a day before all", false, "GET", "/v1/usage?from=1969-12-31", "", 422, api.CodeInvalid, "1969-12-31"},
		{"a day after all", false, "GET", "/v1/usage?to=9999-01-01", "", 422, api.CodeInvalid, "9999-01-01"},
		{"the wrong way round", false, "GET", "/v1/usage?from=2026-02-03&to=2026-02-02", "", 422, api.CodeInvalid, "2026-02-03"},
		{"many days", false, "GET", "/v1/usage?from=2025-01-01&to=2026-02-05", "", 422, api.CodeInvalid, "400"},
		{"by nothing", false, "GET", "/v1/usage?by=node", "", 422, api.CodeInvalid, "by"},
		{"behind no job", false, "GET", "/v1/usage?by=job&after=x", "", 422, api.CodeInvalid, "x"},
	} {
		w := s.ask(!c.tenant, c.method, c.path, c.body)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || p.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %d %s with %q: %s", c.name, w.Code, p.Code, c.status, c.code, c.says, w.Body)
		}
	}
}

// use has the tenant acme burn some fuel of a job, in a report that a node has signed.
func (s *shop) use(fuel uint64, sign func(*ledger.Report)) {
	s.Helper()
	spec := ledger.JobSpec{Tenant: "acme", Module: ledger.ModuleID{1}, Count: 1, Task: ledger.Resources{Slots: 1}, FuelMax: fuel, Retry: ledger.Retry{AttemptsMax: 1}}
	r := &ledger.Report{Node: "n1", Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{
		{Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: fuel, MemoryByteSeconds: 7, WallNanos: 5e8}},
	}}}}
	sign(r)
	s.book.do(
		s.T, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1}, &ledger.Submit{Job: ledger.JobID{1}, Spec: spec},
		&ledger.Place{Placements: []ledger.Placement{{Job: ledger.JobID{1}, Count: 1, Node: "n1", Slots: 1, Expiry: s.book.now + 1e9}}}, r,
	)
}

// TestUsage: what a job has cost is told by day, module and job, and agrees.
func TestUsage(t *testing.T) {
	s := newShop(t)
	public, private := nodeKey(t)
	s.book.do(t, &ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}, Key: public})
	s.use(900, func(r *ledger.Report) {
		if err := r.Sign(private); err != nil {
			t.Fatal(err)
		}
	})
	today := time.Unix(0, int64(s.book.now)).UTC().Format(time.DateOnly)
	for by, want := range map[string]api.UsagePart{
		api.UsageByDay:    {Day: today, Tasks: &api.Tasks{Succeeded: 1}},
		api.UsageByModule: {Module: module(ledger.ModuleID{1})},
		api.UsageByJob:    {Job: ledger.JobID{1}.String(), Module: module(ledger.ModuleID{1})},
	} {
		want.Usage = api.Usage{Fuel: 900, MemoryByteSeconds: 7, WallSeconds: 0.5}
		got := expect[api.UsageReport](s, s.ask(false, "GET", "/v1/usage?by="+by+"&from="+today+"&to="+today, ""), 200)
		wanted, err := json.Marshal([]api.UsagePart{want})
		if err != nil {
			t.Fatal(err)
		}
		parts, err := json.Marshal(got.Parts)
		if err != nil {
			t.Fatal(err)
		}
		if string(parts) != string(wanted) || got.Total != want.Usage || got.Unsigned != nil {
			t.Errorf("by %s: %+v, want %s", by, got, wanted)
		}
		if other := expect[api.UsageReport](s, s.ask(true, "GET", "/v1/usage?by="+by, ""), 200); len(other.Parts) > 0 || other.Tenant != "default" {
			t.Errorf("by %s: the default tenant has %+v", by, other)
		}
	}
	if named := expect[api.UsageReport](s, s.ask(true, "GET", "/v1/usage?tenant=acme", ""), 200); named.Total.Fuel != 900 {
		t.Errorf("the operator sees %+v", named)
	}
}

// TestShortage: who is refused for a quota hears what is missing, since when, and when
// to ask again.
func TestShortage(t *testing.T) {
	s := newShop(t)
	s.book.do(t, &ledger.RegisterNode{Node: "n1", Capacity: ledger.Resources{Slots: 1}})
	s.use(900, func(*ledger.Report) {})
	limit := func(q ledger.Quota) {
		s.book.do(t, &ledger.SetQuota{Tenant: "acme", Weight: 1, BandMax: 3, Quota: q})
	}
	submit := func(more string) *httptest.ResponseRecorder {
		return s.ask(false, "POST", "/v1/jobs", "module: "+module(ledger.ModuleID{1})+"\nlimits:\n  fuel: 200\n"+more)
	}
	limit(ledger.Quota{FuelPerDay: 1000})
	first := expect[api.Problem](s, submit(""), 429)
	if q := first.Quota; first.Code != "quota_fuel_per_day" || q == nil || q.Name != "fuel_per_day" || q.Limit != 1000 || q.Held != 1100 || q.Missing != 100 || q.Since == nil || q.Until == nil {
		t.Fatalf("refused with %+v, %+v", first, first.Quota)
	}
	w := submit("")
	again := expect[api.Problem](s, w, 429)
	if !again.Quota.Since.Equal(*first.Quota.Since) || again.RetryAfter < 1 || again.RetryAfter > 24*60*60 || w.Header().Get("Retry-After") == "" {
		t.Errorf("refused again with %+v, %+v, header %v", again, again.Quota, w.Header())
	}
	// More than a day has: waiting does not help.
	if never := expect[api.Problem](s, submit("count: 6\n"), 429); never.RetryAfter != 0 || never.Quota.Until != nil {
		t.Errorf("refused with %+v, %+v", never, never.Quota)
	}
	limit(ledger.Quota{QueuedTasks: 1})
	if queued := expect[api.Problem](s, submit("count: 3\n"), 429); queued.Code != "quota_queued" || queued.Quota.Missing != 2 || queued.RetryAfter != retryQuota {
		t.Errorf("refused with %+v, %+v", queued, queued.Quota)
	}
	if band := expect[api.Problem](s, submit("priority: 5\n"), 422); band.Code != "band_ceiling" || !strings.Contains(band.Detail, "band") {
		t.Errorf("refused with %+v", band)
	}
	// Once something is accepted, the next shortage is another one.
	expect[api.Submitted](s, submit(""), 201)
	if later := expect[api.Problem](s, submit("count: 3\n"), 429); !later.Quota.Since.After(*first.Quota.Since) {
		t.Errorf("refused since %v, at first %v", later.Quota.Since, first.Quota.Since)
	}
}

// TestShortagesAreBounded: beyond so many tenants nothing is remembered.
func TestShortagesAreBounded(t *testing.T) {
	var s shortages
	now := time.Now()
	for i := range shortagesMax {
		s.begin(ledger.TenantID(rune(i)), ledger.CodeQuotaJobs, now)
	}
	if at := s.begin("one more", ledger.CodeQuotaJobs, now); !at.IsZero() || len(s.since) != shortagesMax {
		t.Errorf("%d tenants are remembered, one more since %v", len(s.since), at)
	}
	s.over(ledger.TenantID(rune(7)))
	if at := s.begin("one more", ledger.CodeQuotaJobs, now); !at.Equal(now) {
		t.Errorf("there is room, and one more is remembered since %v", at)
	}
}

// TestShortagesOfNodes: each node says since when it has refused a tenant, refuses what is
// still too much without asking the ledger to, and accepts as soon as there is room,
// whatever others have seen.
func TestShortagesOfNodes(t *testing.T) {
	var c Config
	one := newShopOf(t, nobody{admin: true}, func(is *Config) { c = *is })
	registry := prometheus.NewRegistry()
	c.Registerer = registry
	other := *one
	var err error
	if other.handler, err = Handler(c); err != nil {
		t.Fatal(err)
	}
	one.book.do(t, &ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	quota := func(jobs uint32) {
		one.book.do(t, &ledger.SetQuota{Tenant: "acme", Quota: ledger.Quota{Jobs: jobs}, Only: ledger.QuotaJobs})
	}
	submit := func(at *shop) *httptest.ResponseRecorder {
		return at.ask(false, "POST", "/v1/jobs", "module: "+module(ledger.ModuleID{1})+"\n")
	}
	refuses := func(at *shop, commands int) time.Time {
		t.Helper()
		before := one.book.commands
		p := expect[api.Problem](at, submit(at), 429)
		if p.Code != "quota_jobs" || p.Quota.Since == nil || one.book.commands-before != commands {
			t.Fatalf("refused with %+v, %+v, by %d commands, want %d", p, p.Quota, one.book.commands-before, commands)
		}
		return *p.Quota.Since
	}
	remembers := func(want float64) {
		t.Helper()
		if got := metrictest.Value(t, registry, "dugnad_api_shortages"); got != want {
			t.Errorf("%v tenants are remembered, want %v", got, want)
		}
	}
	quota(1)
	expect[api.Submitted](one, submit(one), 201)
	first := refuses(one, 1)
	if at := refuses(one, 0); !at.Equal(first) {
		t.Errorf("refused since %v, at first %v", at, first)
	}
	// The other node has not refused anybody so far: it asks the ledger, once.
	remembers(0)
	second := refuses(&other, 1)
	if at := refuses(&other, 0); second.Equal(first) || !at.Equal(second) {
		t.Errorf("the other node refuses since %v and %v, the first one since %v", second, at, first)
	}
	remembers(1)
	// What one of them accepts the other need not hear of to accept.
	quota(3)
	expect[api.Submitted](&other, submit(&other), 201)
	remembers(0)
	expect[api.Submitted](one, submit(one), 201)
	if at := refuses(one, 1); at.Equal(first) {
		t.Errorf("refused since %v though a job was accepted since", at)
	}
	refuses(&other, 1)
	remembers(1)
}

// TestShortagesAreCounted: of a tenant beyond so many it is not said since when.
func TestShortagesAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	limits, err := turnstile.Limits(registry)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := refusals(registry)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{limits: limits, refusals: refused}
	for i := range shortagesMax {
		s.short.begin(ledger.TenantID(rune(i)), ledger.CodeQuotaJobs, time.Now())
	}
	r := ledger.Result{Code: ledger.CodeQuotaJobs, What: "jobs", Have: 2, Max: 1}
	if p := s.refuseTenant("one more", r); p.Quota.Since != nil || p.Quota.Missing != 1 {
		t.Errorf("%+v, %+v", p, p.Quota)
	}
	if p := s.refuseTenant(ledger.TenantID(rune(7)), r); p.Quota.Since == nil {
		t.Errorf("%+v, %+v", p, p.Quota)
	}
	if got := metrictest.Value(t, registry, "dugnad_api_limit_reached_total", limitShortages); got != 1 {
		t.Errorf("%v are counted", got)
	}
}

// nodeKey returns a node's key and what signs with it.
func nodeKey(t *testing.T) (public [32]byte, sign func([]byte) ([]byte, error)) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(pub), func(m []byte) ([]byte, error) { return ed25519.Sign(private, m), nil }
}

// TestTwoAdmins: what an admin changes holds, whatever another changes at the same time.
func TestTwoAdmins(t *testing.T) {
	s := newShop(t)
	s.book.do(t, &ledger.SetQuota{Tenant: "acme", Weight: 1, BandMax: 3, Quota: ledger.Quota{StoredBytes: 5, Jobs: 6}})
	other := func(c ledger.Command) { s.book.first = c }
	see := func(quota api.Quota, capabilities ...string) {
		t.Helper()
		got := expect[api.Tenant](s, s.ask(true, "GET", "/v1/tenants/acme", ""), 200)
		if got.Quota != quota || !slices.Equal(got.Capabilities, capabilities) {
			t.Errorf("%+v, want %+v and %v", got, quota, capabilities)
		}
	}
	want := api.Quota{Weight: 2, BandMax: 3, StoredBytes: 5, Jobs: 7}
	other(&ledger.SetQuota{Tenant: "acme", Quota: ledger.Quota{Jobs: 7}, Only: ledger.QuotaJobs})
	expect[api.Tenant](s, s.ask(true, "PATCH", "/v1/tenants/acme/quota", `{"weight":2}`), 200)
	see(want)
	want.BandMax, want.FuelPerSecond, want.StoredBytes, want.EgressPerDay = 0, 8, 0, 9
	other(&ledger.SetCapabilities{Tenant: "acme", Add: ledger.CapabilityHTTP})
	expect[api.Tenant](s, s.ask(true, "PATCH", "/v1/tenants/acme/quota", `{"band_max":0,"fuel_per_second":8,"stored_bytes":0,"egress_per_day":9}`), 200)
	see(want, "http")
	other(&ledger.SetQuota{Tenant: "acme", Quota: ledger.Quota{MemoryBytes: 10}, Only: ledger.QuotaMemoryBytes})
	expect[api.Tenant](s, s.ask(true, "PATCH", "/v1/tenants/acme/capabilities", `{"deny":["http"]}`), 200)
	want.MemoryBytes = 10
	see(want)
	expect[api.Tenant](s, s.ask(true, "PATCH", "/v1/tenants/acme/capabilities", `{"allow":["http"]}`), 200)
	expect[api.Tenant](s, s.ask(true, "PUT", "/v1/tenants/acme/quota", `{"band_max":1}`), 200)
	see(api.Quota{Weight: 1, BandMax: 1}, "http")
}

// TestQuotaChange: every bound that a request names is the one that changes, by the name
// that the audit log has.
func TestQuotaChange(t *testing.T) {
	s := newShop(t)
	names := map[string]bool{}
	for i, f := range reflect.VisibleFields(reflect.TypeFor[api.QuotaChange]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		body := fmt.Sprintf(`{%q:%d}`, name, min(i+2, 7))
		was := expect[api.Tenant](s, s.ask(true, "GET", "/v1/tenants/acme", ""), 200).Quota
		reflect.ValueOf(&was).Elem().FieldByName(f.Name).SetUint(0)
		got := expect[api.Tenant](s, s.ask(true, "PATCH", "/v1/tenants/acme/quota", body), 200).Quota
		field := reflect.ValueOf(&got).Elem().FieldByName(f.Name)
		if field.Uint() != uint64(min(i+2, 7)) {
			t.Errorf("%s: %+v", body, got)
		}
		field.SetUint(0)
		if got != was {
			t.Errorf("%s: the others are %+v, were %+v", body, got, was)
		}
		var change api.QuotaChange
		if err := json.Unmarshal([]byte(body), &change); err != nil {
			t.Fatal(err)
		}
		if _, noted := quotaChange(&change); !slices.Equal(noted, []string{name}) || names[name] {
			t.Errorf("%s is noted as %v", name, noted)
		}
		names[name] = true
	}
	if want := reflect.TypeFor[api.Quota]().NumField(); len(names) != want {
		t.Errorf("%d of %d bounds can be changed", len(names), want)
	}
}

// sampled are shares that were sampled.
type sampled struct{ hour, day []sharing.Sample }

func (s sampled) Of(day bool) ([]sharing.Sample, time.Time) {
	if day {
		return s.day, s.day[0].At
	}
	return s.hour, s.hour[0].At
}

// TestShares: a tenant sees itself, and the others together and without their names; the
// operator sees any of them, and all apart.
func TestShares(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	one := sharing.Sample{
		At: at, All: sharing.Parts{Memory: 0.75, Rate: 0.5, Slots: 0.25}, Weights: 4,
		Uses: []sharing.Use{
			{Tenant: "acme", Parts: sharing.Parts{Memory: 0.25, Rate: 0.5}, Entitled: 0.25},
			{Tenant: "birch", Parts: sharing.Parts{Memory: 0.5, Slots: 0.25}, Entitled: 0.75},
		},
	}
	idle := sharing.Sample{At: at.Add(sharing.Every), Weights: 3, LeftOut: 1}
	s := newShopOf(t, nobody{admin: true}, func(c *Config) { c.Shares = sampled{[]sharing.Sample{one, idle}, []sharing.Sample{one}} })
	want := api.Shares{Tenant: "acme", Over: "hour", Seconds: 10, Since: &at, Samples: []api.ShareSample{
		{At: at, Own: &api.Share{Dominant: 0.5, Memory: 0.25, FuelRate: 0.5}, Entitled: 0.25, Others: api.Share{Dominant: 0.5, Memory: 0.5, Slots: 0.25}},
		{At: at.Add(sharing.Every), Entitled: 0.25},
	}}
	w := s.ask(false, "GET", "/v1/shares", "")
	if diff := cmp.Diff(want, expect[api.Shares](s, w, 200)); diff != "" || strings.Contains(w.Body.String(), "birch") {
		t.Errorf("acme sees (-want +got):\n%s\n%s", diff, w.Body)
	}
	if got := expect[api.Shares](s, s.ask(true, "GET", "/v1/shares?over=day&tenant=acme", ""), 200); got.Seconds != 300 || len(got.Samples) != 1 || got.Tenants != nil {
		t.Errorf("a day of acme: %+v", got)
	}
	all := []api.TenantShare{{Tenant: "acme", Dominant: []float64{0.5, 0}}, {Tenant: "birch", Dominant: []float64{0.5, 0}}}
	if got := expect[api.Shares](s, s.ask(true, "GET", "/v1/shares?all=true", ""), 200); got.Tenant != "default" || cmp.Diff(all, got.Tenants) != "" {
		t.Errorf("the operator sees %+v, want %+v", got.Tenants, all)
	}
	for _, tt := range []struct {
		path string
		code api.Code
	}{
		{"/v1/shares?all=true", api.CodeOperatorOnly},
		{"/v1/shares?tenant=birch", api.CodeNotFound},
		{"/v1/shares?over=year", api.CodeInvalid},
	} {
		w := s.ask(false, "GET", tt.path, "")
		if p := expect[api.Problem](s, w, w.Code); w.Code < 400 || p.Code != tt.code {
			t.Errorf("%s: %d, %s, want %s", tt.path, w.Code, p.Code, tt.code)
		}
	}
}
