package httpd

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/keeper"
)

// TestModuleWants: a job whose module would make HTTP requests is refused when it is
// submitted, with all that is missing, as far as this node has the module.
func TestModuleWants(t *testing.T) {
	s := newShop(t)
	ids := map[string]string{}
	for _, name := range []string{"fetch", "hello"} {
		b, err := os.ReadFile("../../runtime/worker/testdata/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		h, size, err := s.objects.Put(t.Context(), bytes.NewReader(b), keeper.ModuleOwner)
		if err != nil {
			t.Fatal(err)
		}
		s.book.do(t, &ledger.PutModule{Module: ledger.ModuleID(h), Bytes: uint64(size), Holder: "n1"})
		ids[name] = fmt.Sprintf("sha256:%x", h[:])
	}
	elsewhere := ledger.ModuleID{1}
	s.book.do(t, &ledger.PutModule{Module: elsewhere, Bytes: 1, Holder: "n2"})
	job := func(module, more string) string {
		return fmt.Sprintf(`{"module":%q,"limits":{"fuel":"1G"}%s}`, module, more)
	}
	const asks = `,"capabilities":["http"]`
	refused := func(what, body string, code api.Code, words ...string) {
		t.Helper()
		for _, path := range []string{"/v1/jobs", "/v1/plans"} {
			if path == "/v1/plans" && code != api.CodeRefused {
				continue // that is the ledger's
			}
			p := expect[api.Problem](s, s.ask(false, "POST", path, body), api.NewProblem(code, "", "").Status)
			text := p.Detail + " " + p.Help
			for _, w := range words {
				if p.Code != code || !strings.Contains(text, w) {
					t.Errorf("%s at %s: %s %s, want %s, %q", what, path, p.Code, text, code, w)
				}
			}
		}
	}
	refused("neither job nor tenant", job(ids["fetch"], ""), api.CodeRefused, "dugnad_v1.http_open", "capabilities: [http]", "dugnad tenant allow acme http")
	refused("not the tenant", job(ids["fetch"], asks), "capability", "http")
	taken := func(what, body string) {
		t.Helper()
		if w := s.ask(false, "POST", "/v1/jobs", body); w.Code != 201 {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	taken("a module that wants nothing", job(ids["hello"], ""))
	taken("a module that is elsewhere", job(fmt.Sprintf("sha256:%x", elsewhere[:]), ""))
	s.book.do(t, &ledger.SetCapabilities{Tenant: "acme", Add: ledger.CapabilityHTTP})
	taken("tenant and job", job(ids["fetch"], asks))
	for range 2 { // what was read is remembered
		refused("not the job", job(ids["fetch"], ""), api.CodeRefused, "capabilities: [http]")
	}
	if p := expect[api.Problem](s, s.ask(false, "POST", "/v1/jobs", job(ids["fetch"], "")), 422); strings.Contains(p.Help, "tenant allow") {
		t.Errorf("%+v, though the tenant may", p)
	}
}
