package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
)

const (
	// shortagesMax bounds the tenants of which it is remembered since when they are
	// refused: of others that is not said.
	shortagesMax = 10_000
	// retryQuota is after how many seconds it may help to ask again when tasks of the
	// tenant have to be placed or to end first: nobody knows when that is.
	retryQuota = 5
	// limitShortages is what a tenant beyond shortagesMax is counted under.
	limitShortages = "shortages"
)

// shortages remembers since when tenants are refused for want of something.
type shortages struct {
	mu    sync.Mutex
	since map[ledger.TenantID]map[ledger.Code]time.Time
}

// begin returns since when a tenant has been refused for a reason; zero is not known.
func (s *shortages) begin(id ledger.TenantID, code ledger.Code, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := s.since[id]
	if codes == nil {
		if len(s.since) >= shortagesMax {
			return time.Time{}
		}
		if s.since == nil {
			s.since = make(map[ledger.TenantID]map[ledger.Code]time.Time)
		}
		codes = make(map[ledger.Code]time.Time)
		s.since[id] = codes
	}
	if _, known := codes[code]; !known {
		codes[code] = now
	}
	return codes[code]
}

// count returns how many tenants are remembered.
func (s *shortages) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.since)
}

// refused reports whether a tenant is remembered as one that is refused.
func (s *shortages) refused(id ledger.TenantID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since[id] != nil
}

// over forgets a tenant from which something was accepted.
func (s *shortages) over(id ledger.TenantID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, id)
}

// stillShort refuses a job of a tenant that was refused before and still is: whoever floods
// the grid does not fill its log with what is refused. A job that exists is not refused, as
// it may have been accepted before.
func (s *server) stillShort(ctx context.Context, id ledger.JobID, spec *ledger.JobSpec) error {
	if !s.short.refused(spec.Tenant) {
		return nil
	}
	var r ledger.Result
	_, err := s.read(ctx, At{Consistent: true}, func(tx ledger.Tx) error {
		_, err := ledger.FindJob(tx, id)
		if r = (ledger.Result{}); errors.Is(err, ledger.ErrNotFound) {
			r, err = ledger.Admits(tx, spec, ledger.Time(time.Now().UnixNano()))
		}
		return err
	})
	if err == nil && quotaCode(r.Code) {
		return s.refuseTenant(spec.Tenant, r)
	}
	return err
}

// quotaCode reports whether a code is about a quota.
func quotaCode(c ledger.Code) bool {
	return api.Code(c.String()).Status() == http.StatusTooManyRequests
}

// refuseTenant is what the ledger does not accept of a tenant. For want of a quota it
// says what is missing, since when, and when to ask again where time helps.
func (s *server) refuseTenant(id ledger.TenantID, r ledger.Result) *api.Problem {
	p := refusal(r)
	now := time.Now().UTC()
	day := time.Unix(0, int64(ledger.Time(now.UnixNano()).DayEnd())).UTC()
	var until *time.Time
	switch r.Code {
	case ledger.CodeQuotaFuel, ledger.CodeQuotaStored:
	case ledger.CodeQuotaQueued, ledger.CodeQuotaJobs, ledger.CodeQuotaOrders:
		p.RetryAfter = retryQuota
	case ledger.CodeQuotaDay:
		if r.Min <= r.Max { // What is reserved leaves room when the day is over.
			until = &day
		}
	case ledger.CodeQuotaEgress:
		until = &day
	default:
		return p
	}
	s.refusals.WithLabelValues(string(p.Code)).Inc()
	short := &api.Shortage{Name: r.What, Limit: r.Max, Held: r.Have, Missing: r.Have - min(r.Have, r.Max), Until: until}
	p.Detail = fmt.Sprintf("tenant %s has a quota of %d %s, and would hold %d: %d too many", id, r.Max, r.What, r.Have, short.Missing)
	if r.Code == ledger.CodeQuotaEgress {
		p.Detail = fmt.Sprintf("tenant %s has exchanged %d bytes with the world outside today, of %d", id, r.Have, r.Max)
	}
	if since := s.short.begin(id, r.Code, now); !since.IsZero() {
		short.Since = &since
		p.Detail += ", since " + since.Format(time.RFC3339)
	} else {
		s.limits.WithLabelValues(limitShortages).Inc()
	}
	if until != nil {
		p.RetryAfter = int(until.Sub(now)/time.Second) + 1
		p.Detail += ", until " + until.Format(time.RFC3339)
	}
	p.Quota = short
	return p
}
