package store

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dugnad/dugnad/ledger"
)

// grid applies a ledger's commands to a store.
type grid struct {
	t     *rapid.T
	store *Store
	now   ledger.Time
}

const (
	gridStart  = ledger.Time(1_000_000_000_000_000_000)
	gridSecond = ledger.Time(1_000_000_000)
)

// do applies a command and returns the answer's bytes.
func (g *grid) do(c ledger.Command) (answer []byte) {
	index := g.store.Applied() + 1
	err := g.store.Update(index, func(tx ledger.Tx) (err error) {
		answer, err = ledger.Apply(tx, index, ledger.Encode(ledger.Envelope{Client: [16]byte{1}, Seq: index, Now: g.now, Body: c}))
		return err
	})
	if err != nil {
		g.t.Fatalf("%T: %v", c, err)
	}
	return answer
}

// must applies commands that are taken, whole.
func (g *grid) must(list ...ledger.Command) {
	for _, c := range list {
		r, err := ledger.DecodeResult(g.do(c))
		for _, i := range r.Items {
			r.Code = max(r.Code, i.Code)
		}
		if err != nil || r.Code != ledger.CodeOK {
			g.t.Fatalf("%T: %+v, %v", c, r, err)
		}
	}
}

var gridKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func gridSpec(band uint8) ledger.JobSpec {
	return ledger.JobSpec{
		Tenant: "acme", Module: ledger.ModuleID{1}, Count: 4, Band: band, FuelMax: 100,
		Task: ledger.Resources{MemoryBytes: 10, FuelRate: 5, Slots: 1}, Retry: ledger.Retry{AttemptsMax: 3},
		Features: []string{ledger.FeatureHTTP}, Secrets: []ledger.SecretName{"TOKEN"}, RetentionNanos: int64(ledger.RetentionMinNanos),
	}
}

// report is a receipt for a task of the job's first lease.
func gridReport(t *rapid.T, task uint32, fuel uint64) *ledger.Report {
	r := &ledger.Report{Node: "n1", Costs: 1, Leases: []ledger.LeaseReport{{Epoch: 1, Runs: []ledger.Run{{
		First: task, Count: 1, State: ledger.TaskSucceeded, Usage: ledger.Usage{Fuel: fuel, MemoryByteSeconds: 7, EgressBytes: 8},
		Digest: [32]byte{2}, StoredBytes: 9,
	}}}}}
	if err := r.Sign(func(m []byte) ([]byte, error) { return ed25519.Sign(gridKey, m), nil }); err != nil {
		t.Fatal(err)
	}
	return r
}

// found makes at least one record of everything that a tenant may have.
func (g *grid) found() {
	low, high := ledger.JobID{1}, ledger.JobID{2}
	g.must(
		&ledger.CreateTenant{Tenant: "acme", Weight: 2, BandMax: 5, Quota: ledger.Quota{Jobs: 9, FuelPerDay: 1e6, FuelRate: 1e6, StoredBytes: 1e6, EgressPerDay: 1e6}},
		&ledger.CreateTenant{Tenant: "birch", Weight: 1},
		&ledger.SetCapabilities{Tenant: "acme", Add: ledger.CapabilityHTTP},
		&ledger.Revoke{ID: [32]byte{1}, Tenant: "acme", Until: g.now + 60*gridSecond},
		&ledger.Revoke{ID: [32]byte{2}},
		&ledger.PutCustodian{Node: "n1", Card: []byte("card")},
		&ledger.PutSecret{Tenant: "acme", Name: "TOKEN", ID: [16]byte{1}, Nodes: []ledger.NodeID{"n1"}, Keys: []ledger.SecretKey{{Node: "n1", Sealed: []byte("key")}}, Value: []byte("sealed")},
		&ledger.RegisterNode{
			Node: "n1", Capacity: ledger.Resources{MemoryBytes: 1000, FuelRate: 1000, Slots: 4}, Features: []string{ledger.FeatureHTTP},
			Key: [32]byte(gridKey.Public().(ed25519.PublicKey)),
		},
		&ledger.PutModule{Module: ledger.ModuleID{1}, Bytes: 10},
		&ledger.Submit{Job: low, Spec: gridSpec(1)},
		&ledger.Place{Placements: []ledger.Placement{{Job: low, Count: 4, Node: "n1", Slots: 4, Expiry: g.now + 300_000*gridSecond}}},
		gridReport(g.t, 0, 5),
	)
	g.now += 86_400 * gridSecond // the job's charges are of two days
	g.must(
		gridReport(g.t, 1, 6),
		&ledger.Revoke{ID: [32]byte{3}, Tenant: "birch", Until: g.now + gridSecond},
		&ledger.Submit{Job: high, Spec: gridSpec(4)},
		&ledger.Preempt{Job: high, Leases: []ledger.LeaseName{{Node: "n1", Epoch: 1}}},
	)
}

// step is a command such as come at any time.
func (g *grid) step() ledger.Command {
	n := func(high int, label string) int { return rapid.IntRange(0, high).Draw(g.t, label) }
	tenant := rapid.SampledFrom([]ledger.TenantID{"acme", "birch"}).Draw(g.t, "tenant")
	name := rapid.SampledFrom([]ledger.SecretName{"TOKEN", "OTHER"}).Draw(g.t, "secret")
	keys := []ledger.SecretKey{{Node: "n2", Sealed: []byte{byte(n(3, "key"))}}}
	g.now += gridSecond * ledger.Time(rapid.SampledFrom([]int{0, 1, 11, 41, 100_000}).Draw(g.t, "seconds"))
	switch n(10, "command") {
	case 0:
		return &ledger.SetQuota{Tenant: tenant, Weight: 3, Quota: ledger.Quota{Jobs: 7, EgressPerDay: 5}, Only: ledger.QuotaFields(n(1<<10-1, "only"))}
	case 1:
		return &ledger.SetCapabilities{Tenant: tenant, Add: ledger.Capabilities(n(1, "add"))}
	case 2:
		return &ledger.Revoke{ID: [32]byte{byte(n(5, "delegation"))}, Tenant: tenant, Until: (g.now + 60*gridSecond) * ledger.Time(n(1, "ends"))}
	case 3:
		return &ledger.PutSecret{Tenant: tenant, Name: name, ID: [16]byte{byte(n(3, "value"))}, Keys: keys, Value: []byte(strings.Repeat("sealed", 1+n(999, "long")))}
	case 4:
		return &ledger.DropSecret{Tenant: tenant, Name: name}
	case 5:
		return &ledger.WrapSecret{Tenant: tenant, Name: name, ID: [16]byte{byte(n(3, "value"))}, Keys: keys}
	case 6:
		return &ledger.PutCustodian{Node: ledger.NodeID("n2"), Card: make([]byte, n(2, "card"))}
	case 7:
		return gridReport(g.t, uint32(n(3, "task")), uint64(n(100, "fuel")))
	case 8:
		return &ledger.Release{Node: "n1", Epochs: []ledger.Epoch{1}, Cause: ledger.CausePreempted}
	case 9:
		return &ledger.Place{Placements: []ledger.Placement{{Job: ledger.JobID{2}, Count: 4, Node: "n1", Slots: 1, Expiry: g.now + 60*gridSecond}}}
	default:
		return &ledger.Tick{}
	}
}

// records returns all of a ledger, and verifies it.
func (g *grid) records() (all []string) {
	_, err := g.store.ViewAt(func(tx ledger.Tx) error {
		if err := ledger.Check(tx); err != nil {
			return err
		}
		return tx.Scan(nil, nil, func(key, value []byte) bool {
			all = append(all, string(key)+"="+string(value))
			return true
		})
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return all
}

// same fails unless two ledgers have the same bytes.
func (g *grid) same(other *grid, when string) {
	a, b := g.records(), other.records()
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			what := func(list []string) string {
				if i >= len(list) {
					return "nothing"
				}
				key, value, _ := strings.Cut(list[i], "=")
				name, fields := ledger.Describe([]byte(key), []byte(value))
				return name + " " + strings.Join(fields, " ")
			}
			g.t.Fatalf("%s: record %d of %d is %s, and of %d %s", when, i, len(a), what(a), len(b), what(b))
		}
	}
}

// TestRestoreTenants: a ledger that was restored from a snapshot is the same, byte by byte,
// with accounts, quotas, capabilities, revocations, secrets and notices in it, and goes on
// as the one that it was taken of.
func TestRestoreTenants(t *testing.T) {
	target := openTest(t, testConfig(tempDir(t)))
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := mkdirTemp()
		if err != nil {
			rt.Fatal(err)
		}
		defer removeAll(dir)
		source := openRapid(rt, testConfig(dir))
		defer source.Close()
		g := &grid{rt, source, gridStart}
		g.found()
		tables := map[byte]bool{}
		for _, r := range g.records() {
			tables[r[0]] = true
		}
		for _, table := range []byte("tmnMJSLPCOEAcQTlKuvayYU") {
			if !tables[table] {
				rt.Fatalf("the state has no key in table %q", table)
			}
		}
		for range rapid.IntRange(0, 20).Draw(rt, "before") {
			g.do(g.step())
		}
		header := Header{Grid: "grid", Writer: "test"}
		bytesOf := take(t, source, header)
		if _, err := target.Restore(bytes.NewReader(bytesOf)); err != nil {
			rt.Fatal(err)
		}
		restored := &grid{rt, target, g.now}
		g.same(restored, "restored")
		if again := take(t, target, header); !bytes.Equal(again, bytesOf) {
			rt.Fatal("a snapshot of what was restored has other bytes")
		}
		for range rapid.IntRange(0, 20).Draw(rt, "after") {
			c := g.step()
			restored.now = g.now
			if one, other := g.do(c), restored.do(c); !bytes.Equal(one, other) {
				rt.Fatalf("%T is answered %x, and after the restoration %x", c, one, other)
			}
		}
		g.same(restored, "later")
	})
}
