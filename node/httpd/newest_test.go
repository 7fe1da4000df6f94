package httpd

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/node/api"
)

// jobsAt is a ledger with a job for each moment, in milliseconds, and one for each of
// some keys, whose ids lie anywhere.
func jobsAt(t *testing.T, milliseconds []int64, keys int) (tx ledger.Tx, ids []ledger.JobID) {
	t.Helper()
	m, index := ledgertest.NewMemory(), uint64(0)
	do := func(c ledger.Command) {
		index++
		answer, err := ledger.Apply(m, index, ledger.Encode(ledger.Envelope{Now: 1, Body: c}))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := ledger.DecodeResult(answer); err != nil || r.Code != ledger.CodeOK {
			t.Fatalf("%T: %+v, %v", c, r, err)
		}
	}
	do(&ledger.CreateTenant{Tenant: "acme", Weight: 1, BandMax: 7})
	do(&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 1})
	for i, at := range milliseconds {
		var id ledger.JobID
		binary.BigEndian.PutUint64(id[:], beginning(at))
		binary.BigEndian.PutUint32(id[12:], uint32(i)+1)
		ids = append(ids, id)
	}
	for i := range keys {
		sum := sha256.Sum256(fmt.Append(nil, i))
		ids = append(ids, ledger.JobID(sum[:16]))
	}
	for i, id := range ids {
		do(&ledger.Submit{Job: id, Spec: ledger.JobSpec{
			Labels: []ledger.Label{{Name: "number", Value: fmt.Sprint(i)}, {Name: "odd", Value: fmt.Sprint(i%2 == 1)}},
			Tenant: "acme", Module: ledger.ModuleID{1}, Count: 1, Task: ledger.Resources{MemoryBytes: 1 << 20, FuelRate: 1000, Slots: 1},
			FuelMax: 1000, Retry: ledger.Retry{AttemptsMax: 1, LossesMax: 1, BackoffNanos: 1e9, BackoffMaxNanos: 1e9}, LossGraceNanos: 1e9,
		}})
	}
	slices.SortFunc(ids, func(a, b ledger.JobID) int { return slices.Compare(a[:], b[:]) })
	return m, ids
}

// TestNewest: pages of any size, one after another, are all jobs from the last to the
// first, however they lie in time.
func TestNewest(t *testing.T) {
	now := time.Now().UnixMilli()
	spread := func(n int, from, step int64) (list []int64) {
		for i := range n {
			list = append(list, from+int64(i)*step)
		}
		return list
	}
	tests := []struct {
		name string
		at   []int64
		keys int
	}{
		{"none", nil, 0},
		{"one", []int64{now}, 0},
		{"one from 1970", []int64{1}, 0},
		{"a burst a day ago", spread(300, now-86_400_000, 0), 0},
		{"two bursts", append(spread(200, now-5_000_000, 0), spread(200, now-1000, 1)...), 0},
		{"one a minute", spread(200, now-200*60_000, 60_000), 0},
		{"of keys alone", nil, 200},
		{"all kinds", append(spread(100, now-7*86_400_000, 3_600_000), spread(100, now, 0)...), 100},
		{"of a clock that is ahead", spread(50, now+3_600_000, 1), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tx, ids := jobsAt(t, tt.at, tt.keys)
			for _, limit := range []int{1, 7, 128, 1000} {
				var got []ledger.JobID
				for before := (ledger.JobID{}); ; {
					list, err := newest(tx, "acme", before, limit)
					if err != nil {
						t.Fatal(err)
					}
					for i := range slices.Backward(list) {
						got = append(got, list[i].ID)
					}
					if len(list) < limit {
						break
					}
					before = list[0].ID
				}
				slices.Reverse(got)
				if !slices.Equal(got, ids) {
					t.Errorf("pages of %d: %d jobs, want %d", limit, len(got), len(ids))
				}
			}
		})
	}
}

// TestListNewest: a page has the jobs in a state, and goes on where it ended.
func TestListNewest(t *testing.T) {
	tx, ids := jobsAt(t, []int64{1, 2, 3, 4, 5}, 0)
	a := &asker{Tenant: "acme"}
	var first, second, none api.Jobs
	if err := listNewest(tx, a, ledger.JobID{}, 3, &wanted{state: "active"}, &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Jobs) != 3 || first.Jobs[0].ID != ids[4].String() || first.Next != ids[2].String() {
		t.Errorf("first page %+v", first)
	}
	if err := listNewest(tx, a, ids[2], 3, &wanted{state: ""}, &second); err != nil {
		t.Fatal(err)
	}
	if len(second.Jobs) != 2 || second.Jobs[1].ID != ids[0].String() || second.Next != "" {
		t.Errorf("second page %+v", second)
	}
	if err := listNewest(tx, a, ledger.JobID{}, 3, &wanted{state: "failed"}, &none); err != nil || len(none.Jobs) != 0 || none.Next != "" {
		t.Errorf("none failed: %+v, %v", none, err)
	}
}

// TestListLabels: a page has the jobs with all of some labels, and what is no label is told.
func TestListLabels(t *testing.T) {
	tx, ids := jobsAt(t, []int64{1, 2, 3, 4, 5}, 0)
	for _, c := range []struct {
		labels []string
		want   []int
	}{{[]string{"odd=true"}, []int{3, 1}}, {[]string{"odd"}, []int{4, 3, 2, 1, 0}}, {[]string{"odd=true", "number=3"}, []int{3}}, {[]string{"odd=true", "number=4"}, nil}, {[]string{"even"}, nil}} {
		want, err := (&jobQuery{Labels: c.labels}).wanted()
		if err != nil {
			t.Fatal(err)
		}
		var got api.Jobs
		if err := listNewest(tx, &asker{Tenant: "acme"}, ledger.JobID{}, 9, &want, &got); err != nil || len(got.Jobs) != len(c.want) {
			t.Errorf("%q: %+v, %v", c.labels, got.Jobs, err)
			continue
		}
		for i, j := range got.Jobs {
			if j.ID != ids[c.want[i]].String() || j.Labels["number"] != fmt.Sprint(c.want[i]) {
				t.Errorf("%q: job %d is %+v", c.labels, i, j)
			}
		}
	}
	for _, text := range []string{"", "=", "a=", "te am", "\x1b[31m", strings.Repeat("a", ledger.JobLabelBytesMax+1)} {
		if _, err := (&jobQuery{Labels: []string{text}}).wanted(); err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := (&jobQuery{Labels: make([]string, ledger.JobLabelsMax+1)}).wanted(); err == nil {
		t.Error("too many labels are asked for")
	}
}
