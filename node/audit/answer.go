package audit

import "net/http"

// Answer is a ResponseWriter that keeps how a request was answered.
type Answer struct {
	http.ResponseWriter
	// Status is 0 until the header is written, and where it was not written on its own.
	Status int
}

// WriteHeader implements http.ResponseWriter.
func (a *Answer) WriteHeader(status int) {
	a.Status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find what is below.
func (a *Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
