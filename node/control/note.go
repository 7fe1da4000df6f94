package control

import (
	"net/http"
	"strings"

	"github.com/dugnad/dugnad/node/audit"
)

// operations are the names under which what an operator asks for is noted, by route.
// What has none here and is no GET is noted by its route; "" is not noted.
var operations = map[string]string{
	"POST /invitations":  "invite",
	"POST /expulsions":   "expel",
	"POST /tokens":       "create-token",
	"POST /revocations":  "revoke-token",
	"POST /objects":      "put-object",
	"POST /checkups":     "",
	"POST /dialbacks":    "",
	"PUT /preferences":   "set-preferences",
	"PUT /will":          "tell-node",
	"GET /ledger/backup": "backup",
}

// codeRefused is noted for what has failed: the sentence that says why may have anything
// in it.
const codeRefused = "refused"

// note has h answer, and notes what was done. The API notes for itself.
func (s *Server) note(w http.ResponseWriter, r *http.Request, h http.Handler) {
	if strings.HasPrefix(r.URL.Path, apiPrefix) {
		h.ServeHTTP(w, r)
		return
	}
	record := audit.Record{Who: audit.Operator, From: audit.Socket, Code: audit.CodeOK}
	answer := &audit.Answer{ResponseWriter: w}
	r = r.WithContext(audit.With(r.Context(), &record))
	defer func() {
		name, known := operations[r.Pattern]
		if !known && r.Method != http.MethodGet && r.Method != http.MethodHead {
			name = r.Pattern
		}
		if name == "" {
			return
		}
		record.Operation = name
		if failed(answer) {
			record.Code = codeRefused
		}
		s.noted.Note(record)
	}()
	h.ServeHTTP(answer, r)
}

// failed reports whether an answer is a problem, also one at the end of a backup.
func failed(a *audit.Answer) bool {
	return a.Status >= http.StatusBadRequest || a.Header().Get(problemTrailer) != ""
}
