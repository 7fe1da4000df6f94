package api

import "time"

// SessionHeader is a header that a browser's page sends, with any value, with what
// changes something: a page of another origin cannot without being asked whether it may.
const SessionHeader = "Dugnad-Web"

// OpenSession asks for a session of a browser.
type OpenSession struct {
	Operator bool `json:"operator,omitempty" doc:"May everything that the node's operator may; through the socket in the node's folder only"`
}

// SessionCode begins a session.
type SessionCode struct {
	Code  string    `json:"code" doc:"Good once, at this node"`
	Until time.Time `json:"until" doc:"When the code is over"`
	Page  string    `json:"page,omitempty" doc:"Where this node shows its pages; missing without a port for its API"`
}

// BeginSession has the code of SessionCode.
type BeginSession struct {
	Code string `json:"code" maxLength:"64"`
}

// Session is who asks, and what they may.
type Session struct {
	Tenant   string   `json:"tenant"`
	Command  string   `json:"command" enum:"all,run,read" doc:"What is allowed"`
	Modules  []string `json:"modules,omitempty" doc:"The only modules; any when missing"`
	Operator bool     `json:"operator,omitempty" doc:"Is the node's operator"`
	// Browser says that it is one of a browser, which can be ended.
	Browser bool       `json:"browser,omitempty" doc:"Is a session of a browser"`
	Until   *time.Time `json:"until,omitempty" doc:"When the session, or the token, is over"`
}
