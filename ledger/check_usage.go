package ledger

// daySum is what jobs and modules of a tenant say that a day has cost.
type daySum struct {
	jobs, modules Usage
	count         uint32 // modules
}

func (c *checker) day(key accountKey) *daySum {
	if c.days[key] == nil {
		c.days[key] = &daySum{}
	}
	return c.days[key]
}

// jobDays sums up what a job has cost, by day, and verifies that this is not more than
// it has cost in all.
func (c *checker) jobDays(j *Job) {
	sum := j.Today
	c.day(accountKey{j.Tenant, j.Day}).jobs.Add(j.Today)
	c.each(prefixJobDay(j.ID), func(key, value []byte) {
		var charged charges
		c.parse(key, value, &charged)
		day := parseJobDay(key)
		if day >= j.Day || j.Today == (Usage{}) {
			wrong("job %s: charges of day %d, the last one is %d", j.ID, day, j.Day)
		}
		c.day(accountKey{j.Tenant, day}).jobs.Add(charged.Usage)
		sum.Add(charged.Usage)
		c.want[tableJobDay]++
	})
	if u := j.Usage; sum.Fuel > u.Fuel || sum.MemoryByteSeconds > u.MemoryByteSeconds || sum.WallNanos > u.WallNanos || sum.EgressBytes > u.EgressBytes {
		wrong("job %s has cost %+v, its days %+v", j.ID, u, sum)
	}
}

func (c *checker) moduleDay(key, value []byte) {
	var charged charges
	c.parse(key, value, &charged)
	k := parseModuleDay(key)
	d := c.day(k.accountKey)
	d.modules.Add(charged.Usage)
	if k.module != OtherModules {
		d.count++
	}
	c.want[tableModuleDay]++
}

// settle verifies that the account of a day is the sum of its receipts: of what the jobs
// and the modules say.
func (c *checker) settle(key accountKey, a *Account) {
	d := c.day(key)
	delete(c.days, key)
	d.jobs.Add(a.Forgotten)
	equal(a.Receipts, d.jobs, "tenant %s: receipts of day %d by jobs", key.tenant, key.day)
	equal(a.Receipts, d.modules, "tenant %s: receipts of day %d by modules", key.tenant, key.day)
	equal(a.Modules, d.count, "tenant %s: modules of day %d", key.tenant, key.day)
	if r, u := a.Receipts, a.Usage; r.Fuel > u.Fuel || r.MemoryByteSeconds > u.MemoryByteSeconds || r.WallNanos > u.WallNanos || r.EgressBytes > u.EgressBytes {
		wrong("tenant %s: receipts of day %d are %+v, the account is %+v", key.tenant, key.day, r, u)
	}
}

// charges looks at the days that have no account any more: the modules' charges are being
// forgotten, the jobs' are forgotten with them.
func (c *checker) charges() {
	for key, d := range c.days {
		if d.modules != (Usage{}) || d.count > 0 {
			at := Time(key.day+AccountDays) * dayNanos
			c.timer(at, timerModules, whatAccount(key.tenant, key.day), "modules of tenant %s on day %d", key.tenant, key.day)
		}
	}
}
