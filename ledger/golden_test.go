package ledger

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/golden anew: only for what no release has written")

func id(name string) (j JobID) {
	copy(j[:], name)
	return j
}

func mask(first uint32, tasks ...uint32) Range {
	r := Tasks(first, first+1)
	for _, t := range tasks {
		r = r.Union(Tasks(t, t+1))
	}
	return r
}

// goldenSpec has every field.
func goldenSpec() JobSpec {
	return JobSpec{
		Tenant: "acme", Module: ModuleID{1, 31: 2}, Count: 1_000_000, Band: 3,
		Task:    Resources{MemoryBytes: 64 << 20, FuelRate: 1e9, Slots: 1, ScratchBytes: 1 << 20},
		FuelMax: 1e12, Retry: Retry{AttemptsMax: 3, LossesMax: 5, BackoffNanos: 1e9, BackoffMaxNanos: 60e9},
		QueueNanos: 1e12, TotalNanos: 2e12, LossGraceNanos: 30e9,
		Constraints: []Constraint{{Label: "zone", Value: "north"}, {Label: "gpu", Not: true}}, Features: []string{"simd"},
		SpreadLabel: "rack", After: []JobID{id("before")}, AfterAny: true,
	}
}

// goldenSpec2 has the fields of version 2 as well.
func goldenSpec2() JobSpec {
	spec := goldenSpec()
	spec.AfterAny, spec.AfterOne, spec.RetentionNanos, spec.SparesMax = false, true, 3600e9, 7
	return spec
}

// goldenQuota3 has the fields of version 3 as well.
func goldenQuota3() Quota {
	return Quota{FuelTotal: 1e15, MemoryBytes: 1 << 40, QueuedTasks: 1e7, Jobs: 1000, FuelPerDay: 1e14, FuelRate: 1e9, StoredBytes: 1 << 30, EgressPerDay: 1 << 20}
}

// goldenSpec3 has what version 3 brought.
func goldenSpec3() JobSpec {
	spec := goldenSpec2()
	spec.Secrets = []SecretName{"API_KEY", "TOKEN"}
	spec.Labels, spec.TimeoutNanos = []Label{{"purpose", "research"}, {"team", "a"}}, 90e9
	return spec
}

func goldenCommands() map[string]Command {
	quota := Quota{FuelTotal: 1e15, MemoryBytes: 1 << 40, QueuedTasks: 1e7, Jobs: 1000}
	spec := goldenSpec()
	spec.Payload = []byte("payload")
	run := Run{
		First: 5, Count: 3, State: TaskFailed, Exit: 2, Terminal: true,
		Usage: Usage{Fuel: 100, MemoryByteSeconds: 200, WallNanos: 300}, Digest: [32]byte{9, 31: 8},
	}
	run3 := run
	run3.Usage.EgressBytes, run3.StoredBytes = 400, 500
	spec2 := goldenSpec2()
	spec2.Payload = spec.Payload
	spec3 := goldenSpec3()
	spec3.Payload = spec.Payload
	return map[string]Command{
		"submit_v2":         &Submit{Job: id("job"), Spec: spec2},
		"place_v2":          &Place{Placements: []Placement{{Job: id("job"), Start: 10, Count: 1, Node: "n1", Slots: 1, Expiry: 5e9, Spare: true}, {Job: id("job"), Start: 11, Count: 1, Node: "n1", Slots: 1, Expiry: 5e9}}},
		"set_node_state_v2": &SetNodeState{Node: "n1", State: NodeUnreachable, From: []NodeState{NodeUp, NodeDraining}},

		"place_v3":          &Place{Placements: []Placement{{Job: id("job"), Start: 10, Count: 1, Node: "n1", Slots: 1, Expiry: 5e9}, {Job: id("job"), Start: 11, Count: 1, Node: "n1", Slots: 1, Expiry: 5e9, Refusals: 2}}},
		"set_node_state_v3": &SetNodeState{Node: "n1", State: NodeDraining, From: []NodeState{NodeUp}, WithinNanos: 600e9},
		"set_quota_v3":      &SetQuota{Tenant: "acme", Weight: 2, BandMax: 5, Quota: goldenQuota3()},
		"set_quota_only_v3": &SetQuota{Tenant: "acme", Quota: Quota{Jobs: 1000}, Only: QuotaJobs | QuotaEgressPerDay},
		"set_capabilities":  &SetCapabilities{Tenant: "acme", Add: CapabilityHTTP, Remove: 1 << 9},
		"create_tenant_v3":  &CreateTenant{Tenant: "acme", Weight: 2, BandMax: 5, Quota: goldenQuota3()},
		"register_node_v3":  &RegisterNode{Node: "n1", Capacity: goldenSpec().Task, Key: [32]byte{1, 31: 2}},
		"report_v3":         &Report{Node: "n1", Leases: []LeaseReport{{Epoch: 300, Runs: []Run{run, run3}}}, Costs: 6, Signature: [64]byte{1, 63: 2}},

		"release_v2": &Release{Node: "n1", Epochs: []Epoch{1, 300}, Cause: CauseDrain, Parts: []Range{Tasks(5, 10), mask(3, 5, 900)}},

		"preempt": &Preempt{Job: id("job"), Leases: []LeaseName{{"n1", 1}, {"n2", 300}}},

		"create_tenant":   &CreateTenant{Tenant: "acme", Weight: 2, BandMax: 5, Quota: quota},
		"set_quota":       &SetQuota{Tenant: "acme", Weight: 2, BandMax: 5, Quota: quota},
		"register_node":   &RegisterNode{Node: "n1", Capacity: goldenSpec().Task, Labels: []Label{{"zone", "north"}}, Features: []string{"simd"}},
		"set_node_state":  &SetNodeState{Node: "n1", State: NodeGone},
		"remove_node":     &RemoveNode{Node: "n1"},
		"put_module":      &PutModule{Module: ModuleID{1}, Bytes: 1000, Holder: "n1"},
		"drop_module":     &DropModule{Module: ModuleID{1}},
		"add_holder":      &AddHolder{Module: ModuleID{1}, Node: "n1"},
		"drop_holder":     &DropHolder{Module: ModuleID{1}, Node: "n1"},
		"submit":          &Submit{Job: id("job"), Spec: spec},
		"cancel":          &Cancel{Job: id("job")},
		"place":           &Place{Placements: []Placement{{Job: id("job"), Start: 10, Count: 1000, Node: "n1", Slots: 4, Expiry: 5e9, Heed: true}}},
		"begin":           &Begin{Node: "n1", Epochs: []Epoch{1, 300}},
		"renew":           &Renew{Node: "n1", Epochs: []Epoch{1, 300}, Expiry: 5e9},
		"report":          &Report{Node: "n1", Leases: []LeaseReport{{Epoch: 300, Runs: []Run{{First: 1, Count: 4, State: TaskSucceeded}, run}}}},
		"release":         &Release{Node: "n1", Epochs: []Epoch{1}, Cause: CauseDrain},
		"refuse_lease":    &RefuseLease{Node: "n1", Epochs: []Epoch{1}, Cause: CauseRefused},
		"note_reasons":    &NoteReasons{Notes: []Note{{Job: id("job"), Reasons: []Reason{{What: "feature", Detail: "simd", Nodes: 8}, {What: "full-memory", Nodes: 7, Have: 1, Need: 2}}, Nodes: 15, Sampled: 10, FreeAt: 3e9}}},
		"tick":            &Tick{},
		"create_order":    &CreateOrder{Order: OrderID(id("order")), Name: "nightly", Kind: OrderCron, Schedule: "30 4 * * *", Zone: "Europe/Oslo", Overlap: OverlapQueue, CatchUp: CatchUpAll, Spec: spec},
		"set_order_state": &SetOrderState{Order: OrderID(id("order")), State: OrderPaused},
		"fire":            &Fire{Firings: []Firing{{Order: OrderID(id("order")), At: 5e9, Late: true, Missed: 300}, {Order: OrderID(id("daemon")), Node: "n1"}}},
		"put_secret":      &PutSecret{Tenant: "acme", Name: "API_KEY", ID: [16]byte{1, 15: 2}, Nodes: []NodeID{"n1"}, Keys: []SecretKey{{"n2", []byte{3}}}, Value: []byte{4, 5}},
		"drop_secret":     &DropSecret{Tenant: "acme", Name: "API_KEY"},
		"wrap_secret":     &WrapSecret{Tenant: "acme", Name: "API_KEY", ID: [16]byte{1, 15: 2}, Keys: []SecretKey{{"n2", []byte{3}}, {"n3", []byte{6}}}},
		"put_custodian":   &PutCustodian{Node: "n2", Card: []byte{7}},
		"submit_v3":       &Submit{Job: id("job"), Spec: spec3},
		"revoke_v3":       &Revoke{ID: [32]byte{1, 31: 2}, Until: 5e9, Tenant: "acme"},
		"revoke":          &Revoke{ID: [32]byte{1, 31: 2}, Until: 5e9},
	}
}

func goldenRecords() map[string]fielder {
	spec, spec2, spec3 := goldenSpec(), goldenSpec2(), goldenSpec3()
	return map[string]fielder{
		"spec_v2": &spec2,
		"job_v2":  &Job{ID: id("job"), Tenant: "acme", State: JobActive, Count: 45, Tasks: Tally{TaskRunning: 45}, Leases: 8, Fresh: 45, Spares: 3},
		"lease_v2": &Lease{
			Node: "n1", Epoch: 300, Job: id("job"), Tasks: Tasks(7, 20), Open: Tasks(8, 10), Slots: 1, Granted: 1e9, Expiry: 3e9, Timer: 2e9,
			Spare: true, Elsewhere: mask(12, 15),
		},

		"lease_v3": &Lease{
			Node: "n1", Epoch: 5, Job: id("job"), State: LeaseRunning, Begun: true, Tasks: Tasks(10, 12), Open: Tasks(10, 12), Slots: 2,
			Granted: 1e9, Expiry: 61e9, Timer: 61e9, Notice: 30e9, For: 3, Preempted: 20e9, Rate: 5, Refusals: 2,
		},
		"pending_v3": &Pending{Job: id("job"), Tasks: Tasks(10, 12), Cause: CausePreempted, Preempted: 20e9, For: 3, Refusals: 2},
		"event_v3":   &Event{Number: 7, At: 20e9, Kind: EventNotice, First: 10, Count: 2, Node: "n1", Epoch: 5, Cause: CausePreempted, Until: 30e9, Band: 3},
		"node_v3":    &Node{ID: "n1", State: NodeDraining, Changed: 1e9, Capacity: Resources{1, 2, 3, 4}, Until: 601e9, Key: [32]byte{1, 31: 2}},
		"tenant_v3":  &Tenant{ID: "acme", Weight: 2, BandMax: 5, Quota: goldenQuota3(), Stored: 7, Rate: 8, Capabilities: CapabilityHTTP, Revocations: 9},
		"job_v3":     &Job{ID: id("job"), Tenant: "acme", Count: 1, Tasks: Tally{TaskSucceeded: 1}, Usage: Usage{1, 2, 3, 4}, Stored: 5, Day: 20454, Today: Usage{6, 7, 8, 9}},
		"account_v3": &Account{Usage: Usage{1, 2, 3, 4}, Receipts: Usage{5, 6, 7, 8}, Forgotten: Usage{9, 10, 11, 12}, Modules: 13},
		"charges":    &charges{Usage{1, 2, 3, 4}},

		"tenant": &Tenant{
			ID: "acme", Weight: 2, BandMax: 5, Quota: Quota{FuelTotal: 1, MemoryBytes: 2, QueuedTasks: 3, Jobs: 4}, FuelReserved: 5, FuelUsed: 6,
			Leased: Resources{7, 8, 9, 10}, Queued: 11, Jobs: 12,
		},
		"node": &Node{
			ID: "n1", State: NodeDraining, Changed: 1e9, Capacity: Resources{1, 2, 3, 4}, Reserved: Resources{5, 6, 7, 8}, Leases: 9,
			Labels: []Label{{"zone", "north"}}, Features: []string{"simd"},
		},
		"module": &Module{ID: ModuleID{1}, Bytes: 1000, References: 3, Holders: []NodeID{"n1", "n2"}},
		"job": &Job{
			ID: id("job"), Tenant: "acme", State: JobStopping, Cause: CauseDependency, Blame: id("before"), Band: 3, Count: 45,
			Tasks: Tally{1, 2, 3, 4, 5, 6, 7, 8, 9}, Unlisted: 8, Created: 1, Queued: 2, Placed: 3, Stopped: 4, Finished: 5,
			Ready: 6, Pending: 7, Leases: 8, DependsOn: 9, Dependents: 10, Fresh: 40, Events: 11, Usage: Usage{Fuel: 12, MemoryByteSeconds: 13, WallNanos: 14}, Pruning: true,
		},
		"spec":    &spec,
		"pending": &Pending{Job: id("job"), Phase: PhaseBackoff, Tasks: mask(3, 5, 900), Attempt: 1, Losses: 2, Cause: CauseLost, NotBefore: 9e9, Avoid: []NodeID{"n1"}},
		"lease": &Lease{
			Node: "n1", Epoch: 300, Job: id("job"), State: LeaseUnreachable, Begun: true, Tasks: Tasks(0, 100), Open: mask(0, 2, 4, 6, 8, 10, 12, 14, 16),
			Slots: 4, Granted: 1e9, Expiry: 3e9, Timer: 2e9, Attempt: 1, Losses: 2, Avoid: []NodeID{"n2"}, retries: true, retry: 7,
		},
		"chunk":   &Chunk{Succeeded: Tasks(0, 10), Endings: []Ending{{TaskFailed, CauseOutcome, 3, mask(10, 12)}, {TaskRefused, CauseRefused, 0, Tasks(11, 12)}}},
		"output":  &Output{Tasks: Tasks(5, 8), State: TaskSucceeded, Node: "n1", Epoch: 300, Digest: [32]byte{1}},
		"account": &Account{Usage: Usage{Fuel: 1, MemoryByteSeconds: 2, WallNanos: 3}, Tasks: Tally{TaskSucceeded: 4}},
		"reasons": &Reasons{At: 1e9, List: []Reason{{What: "feature", Detail: "simd", Nodes: 8}, {What: "full-memory", Nodes: 7, Have: 1, Need: 2}}, Nodes: 15, Sampled: 10, FreeAt: 3e9},
		"event": &Event{
			Number: 1, At: 2, Kind: EventEnded, First: 3, Count: 4, Node: "n1", Epoch: 5, State: TaskFailed, Cause: CauseLost,
			Exit: 6, Until: 7, Job: JobFailed,
		},
		"client": &client{Seq: 1, Last: 2, Timer: 3, Result: []byte{4}},
		"meta":   &meta{Epoch: 300},
		"order": &Order{
			ID: OrderID(id("order")), Tenant: "acme", Name: "nightly", Kind: OrderDaemon, State: OrderEnded, Created: 1, Changed: 2, Finished: 3,
			Schedule: "30 4 * * *", Zone: "Europe/Oslo", Overlap: OverlapReplace, CatchUp: CatchUpOne, LastAt: 4, Open: 5, Made: 6, Succeeded: 7,
			Failed: 8, Killed: 9, Skipped: 10, Refused: 11, Missed: 12,
			Runs: []OrderRun{{At: 13, Code: CodeRunOverlap}, {At: 14, Job: id("job"), State: JobFailed, Ended: 15}},
		},
		"seat":       &Seat{Order: OrderID(id("order")), Node: "n1", Job: id("job"), Open: true, Began: 1, Number: 2, Failures: 3, NotBefore: 4},
		"spec_v3":    &spec3,
		"secret":     &Secret{Tenant: "acme", Name: "API_KEY", ID: [16]byte{1, 15: 2}, Version: 3, Created: 4, Changed: 5, Nodes: []NodeID{"n1"}, Keys: []SecretKey{{"n2", []byte{3}}}},
		"custodian":  &Custodian{Node: "n2", Card: []byte{7}},
		"revocation": &Revocation{At: 1e9, Until: 5e9},

		"revocation_v3": &Revocation{At: 1e9, Until: 5e9, Tenant: "acme"},
		"meta_v3":       &meta{Epoch: 300, Revocations: 7},

		"maker":  &maker{Order: OrderID(id("order")), Node: "n1"},
		"result": &Result{Code: CodeQuotaFuel, What: "fuel", Have: 3, Min: 1, Max: 2, Items: []Item{{CodeStaleLease, 300, 7}}, More: true},
	}
}

// golden compares bytes with a file that has them in hexadecimal, below comments
// that say what they are.
func golden(t *testing.T, name, comment string, got []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".hex")
	if *rewriteGolden {
		var out strings.Builder
		out.WriteString("# " + comment + "\n")
		for rest := got; len(rest) > 0; {
			n := min(len(rest), 40)
			out.WriteString(hex.EncodeToString(rest[:n]) + "\n")
			rest = rest[n:]
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(line)
		}
	}
	want, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: bytes are %x, were %x", name, got, want)
	}
	return want
}

var everything = cmp.Exporter(func(reflect.Type) bool { return true })

func TestGoldenCommands(t *testing.T) {
	commands := goldenCommands()
	for kind := range uint8(255) {
		if c := newCommand(kind); c != nil {
			found := false
			for _, sample := range commands {
				found = found || sample.kind() == kind && reflect.TypeOf(sample) == reflect.TypeOf(c)
			}
			if !found {
				t.Errorf("command %d, %T, has no golden file", kind, c)
			}
		}
	}
	for name, c := range commands {
		e := Envelope{Client: [16]byte{1, 15: 2}, Seq: 300, Now: 1e18, Body: c}
		comment := strings.Join(append([]string{fmt.Sprintf("%s %d:", name, c.kind())}, describeFields(reflect.ValueOf(c).Elem())...), " ")
		back, err := Decode(golden(t, "command_"+name, comment, Encode(e)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(e, back, everything); diff != "" {
			t.Errorf("%s reads differently (-written +read):\n%s", name, diff)
		}
	}
}

func TestGoldenRecords(t *testing.T) {
	for name, v := range goldenRecords() {
		comment := strings.Join(append([]string{name + ":"}, describeFields(reflect.ValueOf(v).Elem())...), " ")
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface().(fielder)
		if err := decode(golden(t, "record_"+name, comment, encode(v)), back); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(v, back, everything); diff != "" {
			t.Errorf("%s reads differently (-written +read):\n%s", name, diff)
		}
	}
}

// TestStableNumbers pins every number that is stored or sent, and the limits
// that all replicas must share.
func TestStableNumbers(t *testing.T) {
	var b strings.Builder
	table := func(name string, n int, text func(int) string) {
		for i := range n {
			fmt.Fprintf(&b, "%s %d %s\n", name, i, text(i))
		}
	}
	table("code", int(codes), func(i int) string { return Code(i).String() })
	table("task", int(taskStates), func(i int) string { return TaskState(i).String() })
	table("job", int(jobStates), func(i int) string { return JobState(i).String() })
	table("node", int(nodeStates), func(i int) string { return NodeState(i).String() })
	table("lease", int(leaseStates), func(i int) string { return LeaseState(i).String() })
	table("phase", int(phases), func(i int) string { return Phase(i).String() })
	table("cause", int(causes), func(i int) string { return Cause(i).String() })
	table("order", int(orderStates), func(i int) string { return OrderState(i).String() })
	table("order_kind", int(orderKinds), func(i int) string { return OrderKind(i).String() })
	table("overlap", int(overlaps), func(i int) string { return Overlap(i).String() })
	table("catch_up", int(catchUps), func(i int) string { return CatchUp(i).String() })
	table("event", int(eventKinds), func(i int) string { return EventKind(i).String() })
	table("command", kindSetCapabilities+1, func(i int) string { return fmt.Sprintf("%T", newCommand(uint8(i))) })
	for _, limit := range []struct {
		name string
		n    int64
	}{
		{"LeaseTasksMax", LeaseTasksMax},
		{"chunkTasks", chunkTasks},
		{"ItemsMax", ItemsMax},
		{"PartsMax", PartsMax},
		{"CommandBytesMax", CommandBytesMax},
		{"CountMax", CountMax},
		{"PayloadBytesMax", PayloadBytesMax},
		{"AvoidMax", AvoidMax},
		{"ConstraintsMax", ConstraintsMax},
		{"FeaturesMax", FeaturesMax},
		{"AfterMax", AfterMax},
		{"SparesLimit", SparesLimit},
		{"SecretsMax", SecretsMax},
		{"SecretBytesMax", SecretBytesMax},
		{"SecretNameBytesMax", SecretNameBytesMax},
		{"SecretNodesMax", SecretNodesMax},
		{"JobSecretsMax", JobSecretsMax},
		{"CustodiansMax", CustodiansMax},
		{"SecretKeyBytesMax", SecretKeyBytesMax},
		{"CardsMax", CardsMax},
		{"CardBytesMax", CardBytesMax},
		{"RevocationsMax", RevocationsMax},
		{"GridRevocationsMax", GridRevocationsMax},
		{"AttemptsMax", AttemptsMax},
		{"LabelsMax", LabelsMax},
		{"JobLabelsMax", JobLabelsMax},
		{"JobLabelBytesMax", JobLabelBytesMax},
		{"HoldersMax", HoldersMax},
		{"TextBytesMax", TextBytesMax},
		{"BandTop", BandTop},
		{"WeightMax", WeightMax},
		{"AmountMax", AmountMax},
		{"TaskSlotsMax", TaskSlotsMax},
		{"NodeSlotsMax", NodeSlotsMax},
		{"EventsKept", EventsKept},
		{"ReasonsMax", ReasonsMax},
		{"DayModulesMax", DayModulesMax},
		{"EndingsMax", EndingsMax},
		{"DetailBytesMax", DetailBytesMax},
		{"tickScan", tickScan},
		{"tickTimers", tickTimers},
		{"errandSteps", errandSteps},
		{"ClientNanos", int64(ClientNanos)},
		{"RetentionNanos", int64(RetentionNanos)},
		{"RetentionMinNanos", int64(RetentionMinNanos)},
		{"RetentionMaxNanos", int64(RetentionMaxNanos)},
		{"AccountDays", AccountDays},
		{"DrainNanosMax", int64(DrainNanosMax)},
		{"RefusalNanos", int64(RefusalNanos)},
		{"RefusalsTop", RefusalsTop},
		{"RevocationNanos", int64(RevocationNanos)},
		{"NoticeNanos", int64(NoticeNanos)},
		{"NoticeLateNanos", int64(NoticeLateNanos)},
		{"PreemptAgainNanos", int64(PreemptAgainNanos)},
		{"OrdersMax", OrdersMax},
		{"OrderJobsMax", OrderJobsMax},
		{"RunsKept", RunsKept},
		{"FiringsMax", FiringsMax},
		{"MissedMax", MissedMax},
		{"DaemonBackoffNanos", int64(DaemonBackoffNanos)},
		{"DaemonBackoffMaxNanos", int64(DaemonBackoffMaxNanos)},
		{"TimeMax", int64(TimeMax)},
		{"SpanMax", int64(SpanMax)},
	} {
		fmt.Fprintf(&b, "limit %s %d\n", limit.name, limit.n)
	}
	file := filepath.Join("testdata", "golden", "numbers.txt")
	if *rewriteGolden {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("stored numbers or limits changed (-before +now):\n%s", diff)
	}
}
