// Package apitest answers as a node of the worst grid there is, for tests of what shows
// its answers: wherever a tenant, a guest or an operator can have a text, there is one
// that wants to be markup, or to be obeyed by a terminal.
package apitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/dugnad/dugnad/node/api"
)

// Mark is in each hostile text, and is harmless.
const Mark = "troll"

// Text is markup, sequences of terminals (in seven and in eight bits), characters that
// turn the direction of writing round or are not seen, and ends of lines.
const Text = Mark + "\"'><img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>&lt;b&gt; javascript:window.pwned=1 " +
	"\x1b[2J\x1b]0;owned\x07\x1b]8;;http://x\x1b\\ \u009b31m \u202egpj.exe\u2066 \u200b\ufeff\u2028\u2029\U000e0041 \x00\x08\x7f\rover\nnext\tcell"

// Ids that the grid has.
const (
	Job    = "0190000000000000000000000000000a"
	Order  = "0190000000000000000000000000000b"
	Module = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	Node   = "12D3KooWNnkKNHQ39w19PTGGRbBMD5usyANNwE39abB9yCeXLuFf"
)

// answers are those of the API, by method and path. A path stands for those below it
// that are not here.
func answers() map[string]any {
	return map[string]any{
		"GET /jobs": &api.Jobs{}, "POST /jobs": &api.Submitted{}, "GET /jobs/{id}": &api.Job{}, "POST /jobs/{id}/cancel": &api.Submitted{},
		"GET /jobs/{id}/map": &api.TaskMap{}, "GET /jobs/{id}/tasks": &api.TaskList{}, "GET /jobs/{id}/tasks/{task}": &api.Task{}, "GET /jobs/{id}/why": &api.Why{},
		"GET /modules": &api.Modules{}, "POST /modules": &api.Module{}, "GET /modules/{id}": &api.Module{}, "GET /modules/{id}/inspection": &api.Inspection{},
		"GET /nodes": &api.Nodes{}, "GET /nodes/{id}": &api.Node{}, "POST /nodes/{id}/drain": &api.Node{}, "POST /nodes/{id}/resume": &api.Node{},
		"GET /nodes/{id}/leases": &api.Leases{}, "POST /objects": &api.Object{},
		"GET /orders": &api.Orders{}, "GET /orders/{id}": &api.Order{}, "GET /orders/{id}/why": &api.Why{},
		"POST /orders/{id}/end": &api.Submitted{}, "POST /orders/{id}/pause": &api.Submitted{}, "POST /orders/{id}/resume": &api.Submitted{},
		"POST /plans": &api.Plan{}, "GET /secrets": &api.Secrets{}, "PUT /secrets/{name}": &api.Secret{}, "GET /custodians": &api.Custodians{},
		"GET /sessions/current": &api.Session{}, "GET /tenants": &api.Tenants{}, "POST /tenants": &api.Tenant{}, "GET /tenants/{id}": &api.Tenant{},
		"GET /tenants/{id}/quota": &api.Quota{}, "PUT /tenants/{id}/quota": &api.Tenant{}, "PATCH /tenants/{id}/quota": &api.Tenant{}, "PATCH /tenants/{id}/capabilities": &api.Tenant{},
		"GET /usage": &api.UsageReport{}, "GET /shares": &api.Shares{},
	}
}

// Handler answers for the API. What it does not know it refuses, and with refuse whatever
// is asked.
func Handler(refuse bool) http.Handler {
	mux := http.NewServeMux()
	p := api.Problem{}
	Fill(&p)
	p.Status, p.Code, p.RetryAfter = http.StatusUnprocessableEntity, api.CodeInvalid, 0
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Status, &p) })
	if refuse {
		return mux
	}
	for pattern, v := range answers() {
		Fill(v)
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+api.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, http.StatusOK, v)
		})
	}
	put := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, Text) }
	mux.HandleFunc("GET "+api.Prefix+"/jobs/{id}/{stream}", put)
	mux.HandleFunc("GET "+api.Prefix+"/jobs/{id}/tasks/{task}/{stream}", put)
	mux.HandleFunc("GET "+api.Prefix+"/objects/{id}", put)
	mux.HandleFunc("GET "+api.Prefix+"/jobs/{id}/events", func(w http.ResponseWriter, _ *http.Request) {
		stream(w, []string{"submitted", "placed", "running", "ended", "finished"}, func(i int, kind string) any {
			e := api.Event{}
			Fill(&e)
			e.Number, e.Kind = uint32(i+1), kind
			return e
		})
	})
	mux.HandleFunc("GET "+api.Prefix+"/jobs/{id}/tasks/{task}/logs", func(w http.ResponseWriter, _ *http.Request) {
		stream(w, []string{api.LogAttempt, api.LogOutput, api.LogLeftOut, api.LogDelayed, api.LogAttempt, api.LogOutput, api.LogEnded}, func(_ int, kind string) any {
			l := api.Log{}
			Fill(&l)
			l.Kind, l.Base64 = kind, nil
			return l
		})
	})
	return mux
}

// stream sends events of so many kinds, and ends.
func stream(w http.ResponseWriter, kinds []string, event func(i int, kind string) any) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, kind := range kinds {
		b, _ := json.Marshal(event(i, kind))
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i+1, b)
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// known are the fields whose texts are made by nodes, from a few words: they cannot be
// anybody's. The names are those of JSON, or with a type's before it.
var known = map[string]string{
	"id": Job, "job": Job, "after": Job, "blame": Job, "module": Module, "object": Module, "node": Node, "Node.id": Node,
	"Order.id": Order, "Order.kind": "cron", "Result.kind": "trap", "next": "", "state": "failed", "Node.state": "up", "Order.state": "active", "Lease.state": "running",
	"Why.state": "active", "by": "job", "day": "2026-03-04", "from": "2026-03-04", "to": "2026-03-04", "command": "all", "over": "hour", "stream": "stdout", "kind": "cron",
	"schedule": "30 4 * * *", "Submitted.kind": "", "Tenant.id": Text, "UsagePart.day": Text,
}

// Fill gives a value, to which v points, a hostile text wherever there can be one, two
// elements to each list, and something else than zero to the rest.
func Fill(v any) { fill(reflect.ValueOf(v).Elem(), "", "") }

func fill(v reflect.Value, owner, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text(owner, name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
		if name == "stdout_bytes" || name == "stderr_bytes" {
			v.SetInt(int64(len(Text)))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		// The first task is the one that is looked at.
		if name != "next" && name != "index" {
			v.SetUint(1)
		}
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		if name != "next" {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), owner, name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), owner, name)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, owner, name)
		fill(value, owner, name)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		fillFields(v)
	}
}

func fillFields(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)))
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "-" {
			fill(v.Field(i), v.Type().Name(), name)
		}
	}
}

func text(owner, name string) string {
	for _, k := range []string{owner + "." + name, name} {
		if s, ok := known[k]; ok {
			return s
		}
	}
	return Text
}

// Acting returns the first character of a text that is not merely shown, and whether
// there is one. Ends of lines and tabs are.
func Acting(text string) (r rune, is bool) {
	for _, r := range text {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return r, true
		}
	}
	return 0, false
}
