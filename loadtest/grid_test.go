package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dugnad/dugnad/node/api"
)

// fakeGrid answers as a node does. Jobs end when they are waited for.
type fakeGrid struct {
	*httptest.Server
	t *testing.T
	// state decides how the job of a number, from 0, ends; nil is well.
	state func(number int) string
	// hang has nobody hear how the job of a number ends; asked is closed when that
	// is waited for.
	hang  int
	asked chan struct{}

	mu      sync.Mutex
	floods  int
	flood   chan struct{} // closed with the submission of number floodsWanted
	counts  []int
	module  string
	at, top int // jobs that are open now, and were at most
}

func newFakeGrid(t *testing.T) *fakeGrid {
	t.Helper()
	f := &fakeGrid{t: t, hang: -1, asked: make(chan struct{}), flood: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/modules", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.module = string(b)
		f.answer(w, api.Module{Module: "sha256:00"})
	})
	mux.HandleFunc("POST /v1/jobs", f.submit)
	mux.HandleFunc("GET /v1/jobs/{id}", f.job)
	mux.HandleFunc("GET /v1/jobs/{id}/tasks/0/stdout", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })
	mux.HandleFunc("GET /v1/jobs/{id}/stdout", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("hello\n", f.count(r)))
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeGrid) answer(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeGrid) submit(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		f.flooded(w)
		return
	}
	file, _ := io.ReadAll(r.Body)
	count := 1
	_, line, _ := strings.Cut(string(file), "count: ")
	_, _ = fmt.Sscan(line, &count) // without one it is 1
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts = append(f.counts, count)
	f.at++
	f.top = max(f.top, f.at)
	f.answer(w, api.Submitted{ID: fmt.Sprint(len(f.counts) - 1), Index: 7})
}

// flooded takes every third submission of a tenant with a token, and says so when there
// were some.
func (f *fakeGrid) flooded(w http.ResponseWriter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.floods++; f.floods == floodsWanted {
		close(f.flood)
	}
	if f.floods%3 == 0 {
		f.answer(w, api.Submitted{ID: "flood"})
		return
	}
	p := api.NewProblem("quota_queued", "tasks wait", "wait")
	w.WriteHeader(p.Status)
	f.answer(w, p)
}

// floodsWanted is how many submissions of a flood a test waits for.
const floodsWanted = 10

// count is the number of tasks of the job that a request names.
func (f *fakeGrid) count(r *http.Request) int {
	var number int
	_, _ = fmt.Sscan(r.PathValue("id"), &number)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[number]
}

func (f *fakeGrid) job(w http.ResponseWriter, r *http.Request) {
	var number int
	_, _ = fmt.Sscan(r.PathValue("id"), &number)
	if number == f.hang {
		close(f.asked)
		<-r.Context().Done()
		return
	}
	count := uint32(f.count(r))
	j := api.Job{ID: r.PathValue("id"), State: api.JobSucceeded, Count: count, Tasks: api.Tasks{Succeeded: count}}
	if f.state != nil {
		if j.State = f.state(number); j.State != api.JobSucceeded {
			j.Tasks = api.Tasks{Succeeded: count - 1, Failed: 1}
		}
	}
	f.mu.Lock()
	f.at--
	f.mu.Unlock()
	f.answer(w, j)
}
