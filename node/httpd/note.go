package httpd

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
)

// notary notes what is done by way of a handler, and who was not let do it.
type notary struct {
	http.Handler
	log *audit.Log
}

// ServeHTTP implements http.Handler.
func (n *notary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	record := audit.Record{From: r.RemoteAddr}
	attribute(r.Context(), &record)
	answer := &audit.Answer{ResponseWriter: w}
	defer func() {
		if record.Code == "" {
			record.Code = codeOf(answer)
		}
		refused := forbids(record.Code) || record.Who == audit.Unknown && record.Code != audit.CodeOK && record.Code != string(api.CodeTooOften)
		switch {
		case !refused && (onlyReads(r.Method) || record.Operation == "" || harmless[record.Operation]):
			return
		case record.Operation == "":
			record.Operation = r.Method + " " + r.URL.Path
		}
		n.log.Note(record)
	}()
	r = r.WithContext(audit.With(r.Context(), &record))
	if onlyReads(r.Method) {
		n.Handler.ServeHTTP(w, r) // streams want the server's own writer
		return
	}
	n.Handler.ServeHTTP(answer, r)
}

// attribute says in a record who asks, as far as that is known, and when it is by way of
// the operator's socket. Nothing else here knows.
func attribute(ctx context.Context, r *audit.Record) {
	if at, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok && placeOf(at).socket {
		r.From = audit.Socket
	}
	a := who(ctx)
	switch {
	case a.Operator:
		r.Who = audit.Operator
	case a.Tenant == "":
		r.Who = audit.Unknown
	default:
		r.Who = audit.Tenant(string(a.Tenant))
	}
	if len(a.IDs) > 0 {
		r.Token = hex.EncodeToString(a.IDs[len(a.IDs)-1][:])
	}
}

// noteOperation is the middleware that says which operation it is, on what, and whose.
func noteOperation(c huma.Context, next func(huma.Context)) {
	r := audit.Of(c.Context())
	attribute(c.Context(), r)
	r.Operation = c.Operation().OperationID
	for _, name := range []string{"id", "module", "node", "object", "tenant", "name"} {
		if value := c.Param(name); value != "" {
			r.Object = value
		}
	}
	next(c)
}

// harmless are the operations that change nothing though they are no GET.
var harmless = map[string]bool{"plan-job": true}

// onlyReads reports whether requests of a method change nothing.
func onlyReads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// forbids reports whether a code says that somebody is not let do something.
func forbids(code string) bool {
	status := api.Code(code).Status()
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// noteAnswer takes the code of a problem, and the id of what was made, from an answer.
func noteAnswer(c huma.Context, _ string, v any) (any, error) {
	r := audit.Of(c.Context())
	switch v := v.(type) {
	case *api.Problem:
		r.Code = string(v.Code)
	case api.Submitted:
		r.Object, r.Detail = v.ID, v.Kind
	case api.Module:
		r.Object = v.Module
	case api.Object:
		r.Object = v.Object
	}
	return v, nil
}

// codeOf is what is noted where no problem has said more.
func codeOf(a *audit.Answer) string {
	if a.Status >= http.StatusBadRequest {
		return "http_" + strconv.Itoa(a.Status)
	}
	return audit.CodeOK
}
