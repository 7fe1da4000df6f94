package ledger

import "fmt"

// Check verifies that what is stored fits together: every task is in exactly one
// place, with at most one spare beside its lease, and every counter, sum, index
// and timer agrees with what it is made of.
// The error names the first thing that does not. It reads the whole state once,
// in portions, and keeps in memory only the sums per tenant, node and module and
// one bit per task of one job.
func Check(tx Tx) (err error) {
	defer catch(&err)
	c := &checker{
		reader:  reader{tx},
		days:    map[accountKey]*daySum{},
		tenants: map[TenantID]*Tenant{}, nodes: map[NodeID]*Node{}, modules: map[ModuleID]uint64{},
		revocations: map[TenantID]uint32{}, want: map[byte]int{},
	}
	c.each([]byte{tableRevocation}, c.revocation)
	c.each([]byte{tableJob}, c.job)
	c.each([]byte{tableOrder}, c.order)
	c.each([]byte{tableMaker}, c.maker)
	c.each([]byte{tableTenant}, c.tenant)
	c.each([]byte{tableNode}, c.node)
	c.each([]byte{tableModule}, c.module)
	c.each([]byte{tableClient}, c.client)
	c.each([]byte{tableModuleDay}, c.moduleDay)
	c.each([]byte{tableAccount}, c.account)
	c.charges()
	c.each([]byte{tableSecret}, c.secret)
	c.each([]byte{tableCustodian}, c.custodian)
	c.tables()
	return nil
}

// checker sums up what the tenants, nodes and modules must have.
type checker struct {
	reader
	tenants map[TenantID]*Tenant
	nodes   map[NodeID]*Node
	modules map[ModuleID]uint64
	days    map[accountKey]*daySum
	// revocations counts those of each tenant.
	revocations map[TenantID]uint32
	// want counts, per table, the keys that something accounts for.
	want map[byte]int
	// seen has a bit per task of the job at hand.
	seen []uint64
	last Epoch
}

// wrong raises the first violation.
func wrong(format string, args ...any) { panic(fault{fmt.Errorf("check: "+format, args...)}) }

// expect demands a key.
func (c *checker) expect(key []byte, what string, args ...any) {
	if c.get(key) == nil {
		wrong("%s: key %x is missing", fmt.Sprintf(what, args...), key)
	}
	c.want[key[0]]++
}

func (c *checker) timer(at Time, kind uint8, what []byte, format string, args ...any) {
	c.expect(keyTimer(at, kind, what), "timer of "+format, args...)
}

func equal[T comparable](got, want T, format string, args ...any) {
	if got != want {
		wrong("%s is %v, should be %v", fmt.Sprintf(format, args...), got, want)
	}
}

func (c *checker) tenant(key, value []byte) {
	var t Tenant
	c.parse(key, value, &t)
	want := c.tenants[t.ID]
	if want == nil {
		want = &Tenant{}
	}
	delete(c.tenants, t.ID)
	equal(string(key[1:]), string(t.ID), "tenant %s: key", t.ID)
	if r := (&CreateTenant{Tenant: t.ID, Weight: t.Weight, BandMax: t.BandMax, Capabilities: t.Capabilities}).check(); r.Code != CodeOK {
		wrong("tenant %s: %s is %d", t.ID, r.What, r.Have)
	}
	equal(t.FuelReserved, want.FuelReserved, "tenant %s: reserved fuel", t.ID)
	equal(t.Leased, want.Leased, "tenant %s: leased resources", t.ID)
	equal(t.Queued, want.Queued, "tenant %s: queued tasks", t.ID)
	equal(t.Jobs, want.Jobs, "tenant %s: open jobs", t.ID)
	equal(t.Stored, want.Stored, "tenant %s: stored bytes", t.ID)
	equal(t.Revocations, c.revocations[t.ID], "tenant %s: revocations", t.ID)
	delete(c.revocations, t.ID)
	equal(t.Rate, want.Rate, "tenant %s: fuel rate of its leases", t.ID)
	c.want[tableTenant]++
}

func (c *checker) node(key, value []byte) {
	var n Node
	c.parse(key, value, &n)
	want := c.nodes[n.ID]
	if want == nil {
		want = &Node{}
	}
	delete(c.nodes, n.ID)
	equal(string(key[1:]), string(n.ID), "node %s: key", n.ID)
	equal(n.Reserved, want.Reserved, "node %s: reserved resources", n.ID)
	equal(n.Leases, want.Leases, "node %s: leases", n.ID)
	if n.State == NodeGone && n.Leases > 0 {
		c.timer(n.Changed, timerNode, []byte(n.ID), "node %s", n.ID)
	} else if n.State == NodeGone && c.get(keyTimer(n.Changed, timerNode, []byte(n.ID))) != nil {
		// Its last lease ended by itself; the timer will find nothing to do.
		c.want[tableTimer]++
	}
	c.want[tableNode]++
}

func (c *checker) module(key, value []byte) {
	var m Module
	c.parse(key, value, &m)
	equal(string(key), string(keyModule(m.ID)), "module %s: key", m.ID)
	equal(m.References, c.modules[m.ID], "module %s: references", m.ID)
	delete(c.modules, m.ID)
	c.want[tableModule]++
}

func (c *checker) client(key, value []byte) {
	var r client
	c.parse(key, value, &r)
	if _, err := DecodeResult(r.Result); err != nil {
		wrong("client %x: %v", key[1:], err)
	}
	c.timer(r.Timer, timerClient, key[1:], "client %x", key[1:])
	c.want[tableClient]++
}

func (c *checker) account(key, value []byte) {
	var a Account
	c.parse(key, value, &a)
	name, rest := cutName(key[1:])
	day := uint32(rest[0])<<24 | uint32(rest[1])<<16 | uint32(rest[2])<<8 | uint32(rest[3])
	c.timer(Time(day+AccountDays)*dayNanos, timerAccount, key[1:], "account %s of day %d", name, day)
	c.settle(accountKey{TenantID(name), day}, &a)
	c.want[tableAccount]++
}

// tables compares the number of keys in each table with what was accounted for,
// and looks for tenants, nodes and modules that jobs name and that are not there.
func (c *checker) tables() {
	if len(c.tenants)+len(c.nodes)+len(c.modules) > 0 {
		wrong("jobs or leases name %d tenants, %d nodes and %d modules that do not exist", len(c.tenants), len(c.nodes), len(c.modules))
	}
	if len(c.revocations) > 0 {
		wrong("revocations name %d tenants that do not exist", len(c.revocations))
	}
	var m meta
	if c.load(keyMeta(), &m) {
		c.want[tableMeta]++
	}
	equal(int(m.Revocations), c.want[tableRevocation], "the number of revocations")
	if c.last > m.Epoch {
		wrong("a lease has epoch %d, the last one given is %d", c.last, m.Epoch)
	}
	have, first := map[byte]int{}, map[byte][]byte{}
	c.each(nil, func(key, _ []byte) {
		if have[key[0]]++; first[key[0]] == nil {
			first[key[0]] = key
		}
	})
	for table := range 256 {
		t := byte(table)
		if have[t] != c.want[t] {
			wrong("table %q has %d keys, %d are accounted for; the first is %x", t, have[t], c.want[t], first[t])
		}
	}
}
