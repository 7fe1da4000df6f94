package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code names what went wrong. Codes are stable: new ones are added.
type Code string

// The codes beside those of the ledger, which pass on as they are.
const (
	CodeInvalid    Code = "invalid"
	CodeNotFound   Code = "not_found"
	CodeTooLarge   Code = "too_large"
	CodeRefused    Code = "module_refused"
	CodeNoLeader   Code = "no_leader"
	CodeOverloaded Code = "overloaded"
	CodeUncertain  Code = "uncertain"
	CodeNoRoom     Code = "no_room"
	CodeNotHeld    Code = "object_not_held"
	CodeStopping   Code = "stopping"
	CodeIsOrder    Code = "is_order"
	CodeInternal   Code = "internal"
	// CodeNotAccepted: the leader and the node that was asked differ in their clocks
	// or versions.
	CodeNotAccepted Code = "not_accepted"
	// CodeHeaderTooLarge, CodeTooOften and CodeTooSlow: the request's header is too
	// large, the client asks too often, or its request does not come.
	CodeHeaderTooLarge Code = "header_too_large"
	CodeTooOften       Code = "too_often"
	CodeTooSlow        Code = "too_slow"
)

// Codes about who asks, and what they may.
const (
	// CodeUnauthorized: this listener wants a token.
	CodeUnauthorized Code = "unauthorized"
	// CodeTokenInvalid: the token cannot be read, is not signed by whom it says, or was
	// made wider than the one that it was made of.
	CodeTokenInvalid Code = "token_invalid"
	// CodeTokenExpired: the token, or the proof that the request carries, is over.
	CodeTokenExpired Code = "token_expired"
	// CodeTokenRevoked: the token, or one that it was made of, was taken back.
	CodeTokenRevoked Code = "token_revoked"
	// CodeTokenOtherGrid: another grid's key, or that of an admin that is none any more,
	// has signed it.
	CodeTokenOtherGrid Code = "token_other_grid"
	// CodeTokenOtherCall: the proof was made for another host, method or path.
	CodeTokenOtherCall Code = "token_other_call"
	// CodeTokenReplayed: the proof was used before.
	CodeTokenReplayed Code = "token_replayed"
	// CodeTokenNarrower: the token does not allow this.
	CodeTokenNarrower Code = "token_narrower"
	// CodeOperatorOnly: only the node's operator may, through the socket in its folder.
	CodeOperatorOnly Code = "operator_only"
	// CodeAdminOnly: only a node of an admin of the grid does it.
	CodeAdminOnly Code = "admin_only"
	// CodeHostUnknown: the request is for a host that this node does not go by.
	CodeHostUnknown Code = "host_unknown"
	// CodeCrossOrigin: a web page has sent the request, whose origin is not listed.
	CodeCrossOrigin Code = "cross_origin"
	// CodeSessionCode: the code of a browser's session was used, is over, or another
	// node's.
	CodeSessionCode Code = "session_code"
	// CodeSessionOver: the browser's session has ended.
	CodeSessionOver Code = "session_over"
	// CodeSessionsFull: there are as many sessions as a tenant, or a node, may have.
	CodeSessionsFull Code = "sessions_full"
	// CodeSessionPlain: a session is not begun over plain HTTP through a network.
	CodeSessionPlain Code = "session_plain"
)

// Codes of the ledger on which a client decides something.
const (
	// CodeModuleUnknown: the module was not pushed, or is forgotten.
	CodeModuleUnknown Code = "module_unknown"
	// CodeSecretUnknown: the tenant has no secret of the name.
	CodeSecretUnknown Code = "secret_unknown"
	// CodeJobState and CodeOrderState: what has ended, or is ending, cannot do this.
	CodeJobState   Code = "job_state"
	CodeOrderState Code = "order_state"
)

// statuses are the HTTP statuses of codes; what is not listed has 422.
var statuses = map[Code]int{
	CodeInvalid: http.StatusUnprocessableEntity, CodeNotFound: http.StatusNotFound, CodeTooLarge: http.StatusRequestEntityTooLarge,
	CodeRefused: http.StatusUnprocessableEntity, CodeNoLeader: http.StatusServiceUnavailable, CodeOverloaded: http.StatusServiceUnavailable,
	CodeUncertain: http.StatusGatewayTimeout, CodeNoRoom: http.StatusInsufficientStorage, CodeNotHeld: http.StatusNotFound,
	CodeStopping: http.StatusServiceUnavailable, CodeInternal: http.StatusInternalServerError, CodeNotAccepted: http.StatusServiceUnavailable,
	CodeHeaderTooLarge: http.StatusRequestHeaderFieldsTooLarge, CodeTooOften: http.StatusTooManyRequests, CodeTooSlow: http.StatusRequestTimeout,
	"tenant_unknown": http.StatusForbidden, "capability": http.StatusForbidden, CodeModuleUnknown: http.StatusNotFound, "job_unknown": http.StatusNotFound,
	"node_unknown": http.StatusNotFound, "module_used": http.StatusConflict, "job_exists": http.StatusConflict, CodeJobState: http.StatusConflict,
	"quota_fuel": http.StatusTooManyRequests, "quota_memory": http.StatusTooManyRequests,
	"quota_fuel_per_day": http.StatusTooManyRequests, "quota_fuel_rate": http.StatusTooManyRequests,
	"quota_stored_bytes": http.StatusTooManyRequests, "quota_egress_per_day": http.StatusTooManyRequests,
	"tenant_exists": http.StatusConflict,
	"quota_queued":  http.StatusTooManyRequests, "quota_jobs": http.StatusTooManyRequests, "quota_orders": http.StatusTooManyRequests,
	"quota_secrets": http.StatusTooManyRequests, "quota_revocations": http.StatusTooManyRequests, CodeSecretUnknown: http.StatusNotFound,
	CodeUnauthorized: http.StatusUnauthorized, CodeTokenInvalid: http.StatusUnauthorized, CodeTokenExpired: http.StatusUnauthorized,
	CodeTokenRevoked: http.StatusUnauthorized, CodeTokenOtherGrid: http.StatusUnauthorized, CodeTokenOtherCall: http.StatusUnauthorized,
	CodeTokenReplayed: http.StatusUnauthorized, CodeTokenNarrower: http.StatusForbidden, CodeOperatorOnly: http.StatusForbidden, CodeAdminOnly: http.StatusForbidden,
	CodeHostUnknown: http.StatusMisdirectedRequest, CodeCrossOrigin: http.StatusForbidden,
	CodeSessionCode: http.StatusForbidden, CodeSessionOver: http.StatusUnauthorized, CodeSessionsFull: http.StatusTooManyRequests, CodeSessionPlain: http.StatusForbidden,
	CodeIsOrder: http.StatusConflict, "order_unknown": http.StatusNotFound, "order_exists": http.StatusConflict, CodeOrderState: http.StatusConflict,
}

// Status returns the HTTP status of a code.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusUnprocessableEntity
}

// Problem is an error on the wire: problem details after RFC 9457.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title,omitempty"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Code is stable, Help says what to do.
	Code Code   `json:"code"`
	Help string `json:"help,omitempty"`
	// Errors are the mistakes in a job file.
	Errors []Mistake `json:"errors,omitempty"`
	// RetryAfter is after how many seconds it may help to ask again; 0 is not known.
	RetryAfter int `json:"retry_after,omitempty"`
	// Quota says what a tenant has too little of.
	Quota *Shortage `json:"quota,omitempty"`
}

// Shortage is a quota that does not allow for what was asked.
type Shortage struct {
	Name    string `json:"name" doc:"As in the quota: fuel_per_day, queued_tasks, …"`
	Limit   uint64 `json:"limit"`
	Held    uint64 `json:"held" doc:"With what was asked for"`
	Missing uint64 `json:"missing"`
	// Since is when the node that was asked first refused the tenant for this quota,
	// without having accepted anything of it in between.
	Since *time.Time `json:"since,omitempty"`
	// Until is when there is more again by itself; nil is not known.
	Until *time.Time `json:"until,omitempty"`
}

// Mistake is something wrong in a job file.
type Mistake struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Help    string `json:"help,omitempty"`
}

// String returns the mistake in a line.
func (m Mistake) String() string {
	text := m.Message
	if m.Line > 0 {
		text = fmt.Sprintf("line %d: %s", m.Line, text)
	}
	if m.Help != "" {
		text += ": " + m.Help
	}
	return text
}

// Error returns the whole problem, a line for each mistake.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Help != "" {
		text += ": " + p.Help
	}
	var b strings.Builder
	b.WriteString(text)
	for _, m := range p.Errors {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}

// GetHeaders is how it asks for what goes into the header.
func (p *Problem) GetHeaders() http.Header {
	if p.RetryAfter <= 0 {
		return nil
	}
	return http.Header{"Retry-After": {strconv.Itoa(p.RetryAfter)}}
}

// GetStatus is how the server's library asks for the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem details.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// NewProblem returns a problem with the status of its code.
func NewProblem(code Code, detail, help string) *Problem {
	return &Problem{Title: http.StatusText(code.Status()), Status: code.Status(), Code: code, Detail: detail, Help: help}
}
