package node

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// TestViews: what a map counts is what the job counts, a node's leases are those of
// the job that runs there, and a module is inspected wherever it is asked for.
func TestViews(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes, clients := grid(ctx, t, 1)
	s := httptest.NewServer(nodes[0].API())
	t.Cleanup(s.Close)
	c := clients[0]
	hello := push(ctx, t, c, "hello")
	done := submit(ctx, t, c, `{"module": %q, "count": 50}`, hello)
	if _, err := c.Wait(ctx, done.ID, client.Fresh{}); err != nil {
		t.Fatal(err)
	}
	m := view[api.TaskMap](ctx, t, s.URL+"/v1/jobs/"+done.ID+"/map?cells=8", http.StatusOK)
	sum := uint32(0)
	for _, cell := range m.Cells {
		sum += cell.Succeeded
	}
	if sum != 50 || m.Per != 7 || len(m.Cells) != 8 || m.Cells[7].Succeeded != 1 {
		t.Errorf("map %+v", m)
	}
	view[api.Problem](ctx, t, s.URL+"/v1/jobs/"+done.ID+"/map?from=50", http.StatusNotFound)
	view[api.Problem](ctx, t, s.URL+"/v1/jobs/"+done.ID+"/map?cells=100000", http.StatusUnprocessableEntity)

	spin := submit(ctx, t, c, `{"module": %q}`, push(ctx, t, c, "spin"))
	if err := c.Watch(ctx, spin.ID, 0, func(e api.Event) error {
		if e.Kind != "placed" {
			return nil
		}
		list := view[api.Leases](ctx, t, s.URL+"/v1/nodes/"+string(nodes[0].self())+"/leases", http.StatusOK)
		if len(list.Leases) != 1 || list.Leases[0].Job != spin.ID || list.Leases[0].Count != 1 || list.Leases[0].Open != 1 {
			t.Errorf("leases %+v", list)
		}
		_, err := c.Cancel(ctx, spin.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	view[api.Problem](ctx, t, s.URL+"/v1/nodes/nobody/leases", http.StatusNotFound)

	x := view[api.Inspection](ctx, t, s.URL+"/v1/modules/"+hello+"/inspection", http.StatusOK)
	if x.Module != hello || x.Functions != 1 || x.MeteredBytes <= x.Bytes || x.MemoryBytes != 64<<10 {
		t.Errorf("inspection %+v", x)
	}
	unknown := "sha256:abababababababababababababababababababababababababababababababab"
	view[api.Problem](ctx, t, s.URL+"/v1/modules/"+unknown+"/inspection", http.StatusNotFound)
}

// view gets what an address answers with a status.
func view[T any](ctx context.Context, t *testing.T, address string, status int) (out T) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != status {
		t.Errorf("%s: %s, want %d", address, answer.Status, status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
