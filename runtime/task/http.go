package task

import (
	"fmt"
	"strings"
)

// HTTP says which HTTP requests a guest may make, of those that are allowed at all.
type HTTP struct {
	// Hosts are names or addresses, *.NAME for every name below NAME; none is any
	// host. At most HTTPHostsMax.
	Hosts []string `json:"hosts,omitempty"`
}

const (
	// HTTPHostsMax bounds HTTP.Hosts.
	HTTPHostsMax = 64
	// hostBytesMax is the longest name that DNS has.
	hostBytesMax = 253
)

// Validate reports the first host that cannot be one.
func (h *HTTP) Validate() error {
	if len(h.Hosts) > HTTPHostsMax {
		return fmt.Errorf("%w: %d hosts, at most %d", ErrSpec, len(h.Hosts), HTTPHostsMax)
	}
	for _, host := range h.Hosts {
		if !ValidHost(strings.TrimPrefix(host, "*.")) {
			return fmt.Errorf("%w: %q is no host: write a name such as api.example.org, *.example.org or an address, without scheme and port", ErrSpec, host)
		}
	}
	return nil
}

// Allows reports whether requests to the host are among those. Case does not matter.
func (h *HTTP) Allows(host string) bool {
	host = strings.ToLower(host)
	for _, pattern := range h.Hosts {
		pattern = strings.ToLower(pattern)
		if parent, below := strings.CutPrefix(pattern, "*"); host == pattern || below && len(host) > len(parent) && strings.HasSuffix(host, parent) {
			return true
		}
	}
	return len(h.Hosts) == 0
}

// ValidHost reports whether a host is a name in ASCII, without a dot at its end, or an
// address without brackets.
func ValidHost(host string) bool {
	if host == "" || len(host) > hostBytesMax {
		return false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == ':':
		case c == '.' && i > 0 && i < len(host)-1 && host[i-1] != '.':
		default:
			return false
		}
	}
	return true
}
