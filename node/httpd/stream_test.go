package httpd

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/p2p/content"
)

// TestStream: what fails before its first byte is answered with a problem; what fails
// later cuts the connection, and is not taken for the end.
func TestStream(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	failed := fmt.Errorf("read result: %w", content.ErrNoHolder)
	ask := func(before string, size int64, err error) (r *http.Response, aborted any) {
		w := httptest.NewRecorder()
		defer func() { r, aborted = w.Result(), recover() }()
		s.stream(size, func(w io.Writer) error {
			if _, err := io.WriteString(w, before); before != "" && err != nil {
				t.Error(err)
			}
			return err
		}).Body(humago.NewContext(&huma.Operation{}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), w))
		return nil, nil
	}
	r, aborted := ask("", -1, nil)
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/octet-stream" || aborted != nil {
		t.Errorf("nothing: %s, %v, %v", r.Status, r.Header, aborted)
	}
	r, aborted = ask("all", 3, nil)
	if b, err := io.ReadAll(r.Body); string(b) != "all" || err != nil || r.Header.Get("Content-Length") != "3" || aborted != nil {
		t.Errorf("%q, %v, %v, %v", b, err, r.Header, aborted)
	}
	if _, aborted = ask("a part", -1, failed); aborted != http.ErrAbortHandler { //nolint:errorlint // the very one
		t.Errorf("cut in the middle: %v", aborted)
	}
	r, aborted = ask("", 7, failed)
	var p api.Problem
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || p.Code != api.CodeNotHeld || r.StatusCode != p.Status || aborted != nil {
		t.Errorf("%s, %+v, %v, %v", r.Status, p, err, aborted)
	}
	if r.Header.Get("Content-Length") != "" || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v", r.Header)
	}
}
