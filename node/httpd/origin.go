package httpd

import (
	"net/http"
	"slices"
)

const (
	// What scripts of configured origins may send and read, and for how many seconds a
	// browser may remember that.
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
	corsExposed = "Retry-After"
	corsAge     = "600"
)

// origins are those of web pages whose scripts may ask and read. A page of another
// origin can send some requests whatever the server says: what would change something
// is refused, so that no page that somebody looks at gives his node work.
type origins struct {
	http.CrossOriginProtection
	list []string
}

func newOrigins(list []string) (*origins, error) {
	o := &origins{list: list}
	for _, origin := range list {
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
		if err := o.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// preflight says what a page may do, and reports whether that was the question.
func (o *origins) preflight(w http.ResponseWriter, r *http.Request) bool {
	if len(o.list) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(o.list, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}
