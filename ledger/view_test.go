package ledger_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dugnad/dugnad/ledger"
)

func TestPages(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2", "n3")
	var want []ledger.JobID
	for i := range 10 {
		want = append(want, jobNumber(i+1))
		d.do(&ledger.Submit{Job: jobNumber(i + 1), Spec: plainSpec(5)})
	}
	for _, limit := range []int{1, 3, 10, 11} {
		for name, page := range map[string]func(after ledger.JobID) ([]ledger.Job, error){
			"all":    func(after ledger.JobID) ([]ledger.Job, error) { return ledger.Jobs(d.Memory, after, limit) },
			"tenant": func(after ledger.JobID) ([]ledger.Job, error) { return ledger.JobsOf(d.Memory, "acme", after, limit) },
		} {
			var got []ledger.JobID
			var after ledger.JobID
			for {
				jobs, err := page(after)
				if err != nil {
					t.Fatal(err)
				}
				if len(jobs) == 0 {
					break
				}
				for _, j := range jobs {
					got = append(got, j.ID)
				}
				after = jobs[len(jobs)-1].ID
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %d a page: %s", name, limit, diff)
			}
		}
	}
	nodes, err := ledger.Nodes(d.Memory, "n1", 10)
	if err != nil || len(nodes) != 2 || nodes[0].ID != "n2" {
		t.Errorf("nodes after n1: %v, %v", nodes, err)
	}
	tenants, err := ledger.Tenants(d.Memory, "", 10)
	if err != nil || len(tenants) != 1 || tenants[0].Queued != 50 {
		t.Errorf("tenants: %v, %v", tenants, err)
	}
	modules, err := ledger.Modules(d.Memory, ledger.ModuleID{}, 10)
	if err != nil || len(modules) != 1 || modules[0].References != 10 {
		t.Errorf("modules: %v, %v", modules, err)
	}
	if _, err := ledger.FindJob(d.Memory, jobNumber(99)); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a job that does not exist: %v", err)
	}
}

// TestLeasePages pages through leases of a node and of a job.
func TestLeasePages(t *testing.T) {
	d := newDriver(t)
	d.found("n1", "n2")
	d.spread(jobNumber(1), 700, "n1")
	leases, err := ledger.LeasesOf(d.Memory, "n1", 0, 300)
	if err != nil || len(leases) != 300 || leases[299].Epoch != 300 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	leases, err = ledger.JobLeases(d.Memory, jobNumber(1), 599, 600, 300)
	if err != nil || len(leases) != 100 || leases[0].Epoch != 601 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	ranges, err := ledger.TasksIn(d.Memory, jobNumber(1), ledger.TaskLeased, 650, 1000)
	if err != nil || len(ranges) != 50 {
		t.Fatalf("%d ranges, %v", len(ranges), err)
	}
	task, err := ledger.FindTask(d.Memory, jobNumber(1), 699)
	if err != nil || task.State != ledger.TaskLeased || task.Epoch != 700 {
		t.Fatalf("task is %+v, %v", task, err)
	}
	if _, err := ledger.FindTask(d.Memory, jobNumber(1), 700); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a task that does not exist: %v", err)
	}
}

// TestQueueIsFair has a tenant with many jobs and one with a single one: a
// bounded snapshot has both, the higher band first.
func TestQueueIsFair(t *testing.T) {
	d := newDriver(t)
	d.found("n1")
	for _, name := range []ledger.TenantID{"acme-2", "b", "zeta"} {
		d.do(&ledger.CreateTenant{Tenant: name, Weight: 1, BandMax: 7})
	}
	submit := func(n int, tenant ledger.TenantID, band uint8) {
		spec := plainSpec(3)
		spec.Tenant, spec.Band = tenant, band
		d.do(&ledger.Submit{Job: jobNumber(n), Spec: spec})
		d.now++
	}
	for n := range 50 {
		submit(100-n, "acme", 1)
	}
	submit(1, "zeta", 1)
	submit(2, "acme-2", 1)
	submit(3, "b", 5)
	submit(4, "acme", 0)
	names := func(limit ledger.QueueLimit) (list []string) {
		jobs, err := ledger.Queue(d.Memory, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range jobs {
			if len(q.Ranges) != int(q.Job.Ready) || q.Spec.Tenant != q.Job.Tenant {
				t.Errorf("queued job is %+v", q)
			}
			list = append(list, fmt.Sprint(q.Job.Tenant, " ", q.Job.ID[15]))
		}
		return list
	}
	want := []string{"b 3", "acme 100", "acme 99", "acme-2 2", "zeta 1", "acme 4"}
	if diff := cmp.Diff(want, names(ledger.QueueLimit{TenantJobs: 2})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b 3", "acme 100", "acme-2 2"}, names(ledger.QueueLimit{TenantJobs: 2, Jobs: 3})); diff != "" {
		t.Error(diff)
	}
	if got := len(names(ledger.QueueLimit{})); got != 54 {
		t.Errorf("%d jobs in the queue, want 54", got)
	}
}

func TestNextTick(t *testing.T) {
	d := newDriver(t)
	if _, ok, err := ledger.NextTick(d.Memory); ok || err != nil {
		t.Errorf("an empty ledger has something to do: %v", err)
	}
	d.found("n1")
	d.spread(jobNumber(1), 1, "n1")
	if at, ok, err := ledger.NextTick(d.Memory); !ok || err != nil || at != d.now+60*second {
		t.Errorf("next tick at %s, %v, %v", at, ok, err)
	}
}
