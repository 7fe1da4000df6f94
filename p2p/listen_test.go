package p2p

import (
	"errors"
	"strings"
	"testing"
)

// TestAddressInUse: libp2p would be content with the other address.
func TestAddressInUse(t *testing.T) {
	first := founder(t)
	taken := ""
	for _, a := range first.Contact().Addresses {
		if strings.Contains(a, "/udp/") {
			taken = a
		}
	}
	c := testConfig(t, t.TempDir())
	if _, err := FoundGrid(c.Dir); err != nil {
		t.Fatal(err)
	}
	c.Listen = []string{"/ip4/127.0.0.1/tcp/0", taken}
	h, err := Open(t.Context(), c)
	if !errors.Is(err, ErrAddressInUse) {
		t.Errorf("opened on %s, which is taken: %v", taken, err)
	}
	if err == nil {
		_ = h.Close()
	}
}
