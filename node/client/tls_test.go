package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestTLS: over TLS a client speaks HTTP/2, and asks nobody whom it does not trust.
func TestTLS(t *testing.T) {
	var proto string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		fmt.Fprint(w, `{"jobs":[]}`)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	trusting, err := Open(Config{URL: s.URL, TLS: &tls.Config{RootCAs: roots}, Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer trusting.Close()
	if _, err := trusting.Jobs(t.Context(), "", Page{}); err != nil || proto != "HTTP/2.0" {
		t.Errorf("%v, asked in %s", err, proto)
	}
	proto = ""
	other, err := Open(Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Jobs(t.Context(), "", Page{}); !errors.Is(err, ErrUntrusted) || proto != "" {
		t.Errorf("%v, want %v at once; asked in %q", err, ErrUntrusted, proto)
	}
}
