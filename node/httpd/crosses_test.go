package httpd

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/p2p/bandwidth"
)

// TestCrosses: what other machines send and get counts for the operator's bounds, what
// this one does not; a body that waits for a bound ends with its request.
func TestCrosses(t *testing.T) {
	link, err := bandwidth.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	limits, err := newLimits(nil)
	if err != nil {
		t.Fatal(err)
	}
	origins, err := newOrigins(nil)
	if err != nil {
		t.Fatal(err)
	}
	var read error
	f := &surface{limits: limits, origins: origins, pace: defaultPace(), ended: t.Context(), down: link.Down, up: link.Up}
	f.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		body, read = io.ReadAll(r.Body)
		_, _ = w.Write(append(body, body...)) // a recorder takes all
	})
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4611}
	send := func(ctx context.Context, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/objects", strings.NewReader(strings.Repeat("x", 100_000)))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, local)))
		return w
	}
	for _, tt := range []struct {
		from     string
		down, up uint64
	}{
		{"127.0.0.1:1", 0, 0},
		{"[::1]:1", 0, 0},
		{"@", 0, 0},           // the operator's socket
		{"192.0.2.1:1", 0, 0}, // this machine by its other address
		{"192.0.2.2:1", 100_000, 200_000},
		{"[2001:db8::1]:1", 200_000, 400_000},
	} {
		if w := send(t.Context(), tt.from); w.Body.Len() != 200_000 || read != nil {
			t.Errorf("from %s: %d bytes, %v", tt.from, w.Body.Len(), read)
		}
		if down, up := link.Down.Use().Bytes, link.Up.Use().Bytes; down != tt.down || up != tt.up {
			t.Errorf("from %s: %d bytes down, %d up; want %d and %d", tt.from, down, up, tt.down, tt.up)
		}
	}
	link.Down.SetRate(bandwidth.RateMin)
	link.Down.Book(bandwidth.KindObjects, 1<<30) // hours
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if send(ended, "192.0.2.2:1"); read == nil {
		t.Error("a body was read beyond the bound")
	}
	if w := send(t.Context(), "127.0.0.1:1"); w.Body.Len() != 200_000 || read != nil {
		t.Errorf("this machine waits: %v", read)
	}
}
