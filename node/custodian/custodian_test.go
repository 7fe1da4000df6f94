package custodian

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// TestValue: a node that runs a job is given the secrets that the job names, by a
// custodian that answers; the custodian itself needs to ask nobody.
func TestValue(t *testing.T) {
	g := newGrid(t)
	one, two := g.add(true, nil), g.add(true, nil)
	worker := g.add(false, nil)
	b := g.put("acme", "TOKEN", "the value")
	job, epoch := g.job(1, "acme", worker.id, "TOKEN")
	value, id, err := worker.Value(t.Context(), "acme", "TOKEN", job, epoch)
	if err != nil || string(value) != "the value" || id != b.ID {
		t.Fatalf("%q, %x, %v", value, id, err)
	}
	one.wrong = func([]byte) ([]byte, error) { return nil, rpc.ErrUnavailable }
	for range 8 { // in any order
		if value, _, err := worker.Value(t.Context(), "acme", "TOKEN", job, epoch); err != nil || string(value) != "the value" {
			t.Fatalf("one custodian does not answer: %q, %v", value, err)
		}
	}
	two.wrong = func([]byte) ([]byte, error) { return bytes.Repeat([]byte{7}, keyBytes), nil }
	if _, _, err := worker.Value(t.Context(), "acme", "TOKEN", job, epoch); !errors.Is(err, ErrWithheld) {
		t.Errorf("the other one lies: %v", err)
	}
	two.wrong = func([]byte) ([]byte, error) { return []byte("short"), nil }
	if _, _, err := worker.Value(t.Context(), "acme", "TOKEN", job, epoch); !errors.Is(err, ErrWithheld) {
		t.Errorf("the other one answers with little: %v", err)
	}
	job, epoch = g.job(2, "acme", one.id, "TOKEN")
	if value, _, err := one.Value(t.Context(), "acme", "TOKEN", job, epoch); err != nil || string(value) != "the value" {
		t.Errorf("the custodian itself: %q, %v", value, err)
	}
	next := g.put("acme", "TOKEN", "the next value")
	one.wrong, two.wrong = nil, nil
	job, epoch = g.job(3, "acme", worker.id, "TOKEN")
	if value, id, err := worker.Value(t.Context(), "acme", "TOKEN", job, epoch); err != nil || string(value) != "the next value" || id != next.ID {
		t.Errorf("the next value: %q, %x, %v", value, id, err)
	}
	g.Must(&ledger.DropSecret{Tenant: "acme", Name: "TOKEN"})
	_, _, err = worker.Value(t.Context(), "acme", "TOKEN", job, epoch)
	var gone interface{ Gone() bool }
	if !errors.Is(err, ErrGone) || !errors.As(err, &gone) || !gone.Gone() {
		t.Errorf("removed: %v", err)
	}
}

// TestRefuses: a custodian gives no key to a node that is not to have it, counts that and
// says so, and says nothing of the value.
func TestRefuses(t *testing.T) {
	g := newGrid(t)
	custodian := g.add(true, nil)
	worker, other := g.add(false, nil), g.add(false, nil)
	token := g.put("acme", "TOKEN", "the value").ID
	bound := g.put("acme", "BOUND", "the value", other.id).ID
	theirs := g.put("zeta", "THEIRS", "the value").ID
	job, epoch := g.job(1, "acme", worker.id, "BOUND", "TOKEN")
	plain, plainEpoch := g.job(2, "acme", worker.id)
	elsewhere, elsewhereEpoch := g.job(3, "acme", other.id, "TOKEN")
	if _, _, err := g.Do(t.Context(), &ledger.WrapSecret{Tenant: "acme", Name: "BOUND"}); err != nil {
		t.Fatal(err)
	}
	good := question{id: token, job: job, epoch: epoch, tenant: "acme", name: "TOKEN"}
	ask := func(q question) ([]byte, error) {
		return custodian.answer(t.Context(), rpc.Request{From: p2p.NodeID(worker.id), Body: q.encode()})
	}
	if key, err := ask(good); err != nil || len(key) != keyBytes {
		t.Fatalf("%x, %v", key, err)
	}
	for what, c := range map[string]struct {
		change func(q *question)
		want   *rpc.Fault
	}{
		"no such lease":                {func(q *question) { q.epoch = 99 }, ErrNoLease},
		"the lease of another":         {func(q *question) { q.job, q.epoch = elsewhere, elsewhereEpoch }, ErrNoLease},
		"the lease of another job":     {func(q *question) { q.epoch = plainEpoch }, ErrNoLease},
		"no such job":                  {func(q *question) { q.job = ledger.JobID{9} }, ErrNoLease},
		"a job without secrets":        {func(q *question) { q.job, q.epoch = plain, plainEpoch }, ErrNotNamed},
		"another tenant's secret":      {func(q *question) { q.tenant, q.name, q.id = "zeta", "THEIRS", theirs }, ErrNotNamed},
		"a secret that is not named":   {func(q *question) { q.name = "OTHER" }, ErrNotNamed},
		"another value":                {func(q *question) { q.id[0]++ }, ErrOtherValue},
		"a secret that is for another": {func(q *question) { q.name, q.id = "BOUND", bound }, ErrNotForNode},
	} {
		q := good
		c.change(&q)
		before := custodian.refused(c.want.Code)
		key, err := ask(q)
		if !errors.Is(err, c.want) || key != nil {
			t.Errorf("%s: %x, %v", what, key, err)
		}
		if after := custodian.refused(c.want.Code); after != before+1 {
			t.Errorf("%s: counted %g times", what, after-before)
		}
	}
	if _, err := custodian.answer(t.Context(), rpc.Request{From: p2p.NodeID(worker.id), Body: []byte("garbage")}); !errors.Is(err, ErrMalformed) {
		t.Errorf("garbage: %v", err)
	}
	if _, err := worker.answer(t.Context(), rpc.Request{From: p2p.NodeID(worker.id), Body: good.encode()}); !errors.Is(err, ErrNoKey) {
		t.Errorf("who is no custodian: %v", err)
	}
	// A key that somebody has taken from another secret does not open.
	var s ledger.Secret
	if _, err := g.View(func(tx ledger.Tx) (err error) {
		s, _, err = ledger.FindSecret(tx, "zeta", "THEIRS")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	g.Must(&ledger.WrapSecret{Tenant: "acme", Name: "TOKEN", ID: token, Keys: s.Keys})
	if _, err := ask(good); !errors.Is(err, ErrNoKey) {
		t.Errorf("another secret's key: %v", err)
	}
	log := custodian.log.String()
	if !strings.Contains(log, "key to a secret is refused") || !strings.Contains(log, string(worker.id)) || strings.Contains(log, "the value") {
		t.Errorf("logged:\n%s", log)
	}
}

// TestCustodiansChange: the keys of what there is are sealed to an admin that comes, and
// not to whoever says that it is one.
func TestCustodiansChange(t *testing.T) {
	g := newGrid(t)
	one, worker := g.add(true, nil), g.add(false, nil)
	g.put("acme", "A", "value of A")
	g.put("zeta", "A", "another value", worker.id)
	g.Must(&ledger.PutCustodian{Node: worker.id, Card: []byte("I am one")})
	two := g.add(true, nil)
	sealedTo := func(want ...ledger.NodeID) func(tx ledger.Tx) bool {
		slices.Sort(want)
		return func(tx ledger.Tx) bool {
			list, err := ledger.AllSecrets(tx, "", "", 10)
			return err == nil && len(list) == 2 && !slices.ContainsFunc(list, func(s ledger.Secret) bool {
				return !slices.EqualFunc(s.Keys, want, func(k ledger.SecretKey, n ledger.NodeID) bool { return k.Node == n })
			})
		}
	}
	g.await("sealed to both", sealedTo(one.id, two.id))
	g.await("no other custodian", func(tx ledger.Tx) bool {
		list, err := ledger.Custodians(tx)
		return err == nil && len(list) == 2
	})
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	one.wrong = func([]byte) ([]byte, error) { return nil, rpc.ErrUnavailable }
	job, epoch := g.job(1, "zeta", worker.id, "A")
	if value, _, err := worker.Value(t.Context(), "zeta", "A", job, epoch); err != nil || string(value) != "another value" {
		t.Errorf("from the new one: %q, %v", value, err)
	}
	// Whoever is one no more is left out.
	g.Must(&ledger.PutCustodian{Node: one.id})
	g.await("sealed to the new one", sealedTo(two.id))
}

func TestValidate(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"no name":   func(c *Config) { c.Self = "" },
		"no ledger": func(c *Config) { c.Ledger = nil },
		"no peers":  func(c *Config) { c.Peers = nil },
		"no time":   func(c *Config) { c.CallTimeout = 0 },
	} {
		g := newGrid(t)
		c := Default()
		c.Self, c.Ledger, c.Peers, c.Read = "n1", g.book, &node{}, g.read
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if k, err := Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened, %v", what, k.Close())
		}
	}
}

// FuzzQuestion: what is read is written as it was.
func FuzzQuestion(f *testing.F) {
	q := question{id: [16]byte{1}, job: ledger.JobID{2}, epoch: 3, index: 4, tenant: "acme", name: "TOKEN"}
	f.Add(q.encode())
	f.Add([]byte{wireVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeQuestion(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again := q.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x, was %x", again, b)
		}
	})
}
