package httpd

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/api"
)

// TestBadSecrets: what is no sealed secret is refused before the ledger is asked.
func TestBadSecrets(t *testing.T) {
	h, err := Handler(Config{Ledger: book{tx: ledgertest.NewMemory()}, Grid: nobody{}, Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	const id = `"id":"00112233445566778899aabbccddeeff"`
	for what, c := range map[string]struct {
		name, body string
		want       api.Code
	}{
		"good, without a leader": {"TOKEN", `{` + id + `,"keys":[{"custodian":"n1","key":"AQ=="}],"value":"AQ=="}`, api.CodeNoLeader},
		"a name with a dash":     {"A-B", `{` + id + `,"keys":[],"value":"AQ=="}`, api.CodeInvalid},
		"a name with a dot":      {"..%2fA", `{` + id + `,"keys":[],"value":"AQ=="}`, api.CodeInvalid},
		"a long name":            {strings.Repeat("A", 65), `{` + id + `,"keys":[],"value":"AQ=="}`, api.CodeInvalid},
		"a short id":             {"A", `{"id":"00","keys":[],"value":"AQ=="}`, api.CodeInvalid},
		"an id that is none":     {"A", `{"id":"` + strings.Repeat("x", 32) + `","keys":[],"value":"AQ=="}`, api.CodeInvalid},
		"nothing":                {"A", ``, api.CodeInvalid},
		"no JSON":                {"A", `the value`, api.CodeInvalid},
		"something more":         {"A", `{` + id + `,"keys":[],"value":"AQ==","plain":"the value"}`, api.CodeInvalid},
		"what is not base64":     {"A", `{` + id + `,"keys":[],"value":"the value"}`, api.CodeInvalid},
		"deeply nested":          {"A", strings.Repeat(`{"keys":[`, 10_000), api.CodeInvalid},
		"too large":              {"A", `{` + id + `,"keys":[],"value":"` + strings.Repeat("A", api.SecretBytesMax) + `"}`, api.CodeTooLarge},
	} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{}))
		r := httptest.NewRequestWithContext(ctx, http.MethodPut, api.Prefix+"/secrets/"+c.name, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != c.want || strings.Contains(w.Body.String(), "the value") {
			t.Errorf("%s: %d, %v, %s, want %s", what, w.Code, err, w.Body, c.want)
		}
	}
}
