package task

import (
	"errors"
	"strings"
	"testing"
)

func TestHTTPHosts(t *testing.T) {
	tests := []struct {
		hosts, host string
		want        bool
	}{
		{"", "example.org", true},
		{"example.org", "example.org", true},
		{"example.org", "EXAMPLE.org", true},
		{"Example.org", "example.ORG", true},
		{"example.org", "a.example.org", false},
		{"example.org", "badexample.org", false},
		{"example.org", "example.org.evil.com", false},
		{"*.example.org", "a.example.org", true},
		{"*.example.org", "a.b.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", ".example.org", false},
		{"*.example.org", "badexample.org", false},
		{"a.org b.org", "b.org", true},
		{"127.0.0.1", "127.0.0.1", true},
		{"2001:db8::1", "2001:db8::1", true},
	}
	for _, tt := range tests {
		h := HTTP{Hosts: strings.Fields(tt.hosts)}
		if got := h.Allows(tt.host); got != tt.want {
			t.Errorf("%q allows %q: %v", tt.hosts, tt.host, got)
		}
		if err := h.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "*", "*.", "a b", "http://a.org", "a..b", ".a", "a.", "a/b", "ø.no", "*.*.org", "a*", strings.Repeat("a", 254), "a\n"} {
		s := Spec{HTTP: &HTTP{Hosts: []string{bad}}}
		if err := s.Validate(); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s := Spec{HTTP: &HTTP{Hosts: make([]string, HTTPHostsMax+1)}}
	if err := s.Validate(); !errors.Is(err, ErrSpec) {
		t.Error(err)
	}
}
