package ledger

// OtherModules stands for the modules of a tenant's day beyond DayModulesMax.
var OtherModules ModuleID

// Day returns the day, in UTC, that a time is in, counted from 1970-01-01.
func (t Time) Day() uint32 { return uint32(max(t, 0) / dayNanos) }

// DayEnd returns when the day of a time ends.
func (t Time) DayEnd() Time { return (max(t, 0)/dayNanos + 1) * dayNanos }

// charges are what a job, or a module of a tenant, has cost on a day, by receipts.
type charges struct{ Usage }

func (c *charges) fields(w *wire) { c.whole(w) }

type moduleKey struct {
	accountKey
	module ModuleID
}

type jobDayKey struct {
	job JobID
	day uint32
}

// heldCharges are charges that a command adds to.
type heldCharges struct{ charges }

// today returns the tenant's account of the day, which the caller only reads.
func (s *session) today(id TenantID) Account {
	key := accountKey{id, s.now.Day()}
	if a := s.accounts.records[key]; a != nil {
		return a.Account
	}
	var a Account
	s.load(keyAccount(id, key.day), &a)
	return a
}

// chargeModule books usage under the job's module, or under OtherModules when the day
// has DayModulesMax already. a is the account of the day.
func (s *session) chargeModule(j *heldJob, a *Account, usage Usage) {
	day := accountKey{j.Tenant, s.now.Day()}
	key := moduleKey{day, s.specOf(j).Module}
	load := func(c *heldCharges) bool { return s.load(keyModuleDay(key.tenant, key.day, key.module), &c.charges) }
	c := s.modules.find(key, load)
	if c == nil && a.Modules < DayModulesMax {
		a.Modules++
		c = &heldCharges{}
		s.modules.put(key, c)
	}
	if c == nil {
		key.module = OtherModules
		if c = s.modules.find(key, load); c == nil {
			c = &heldCharges{}
			s.modules.put(key, c)
		}
	}
	c.Add(usage)
}

// chargeDay books usage under the job's day. Most jobs have one, which needs no record
// of its own.
func (s *session) chargeDay(j *heldJob, usage Usage) {
	day := s.now.Day()
	switch {
	case j.Today == Usage{}:
		j.Day = day
	case j.Day < day:
		s.jobDay(j, j.Day).Add(j.Today)
		s.forgetBefore(j, day)
		j.Day, j.Today = day, Usage{}
	case j.Day > day: // The proposers' clocks differ.
		s.jobDay(j, day).Add(usage)
		return
	}
	j.Today.Add(usage)
}

// jobDay returns what a job has cost on an earlier day, which the caller changes.
func (s *session) jobDay(j *heldJob, day uint32) *charges {
	return &s.jobDays.find(jobDayKey{j.ID, day}, func(c *heldCharges) bool {
		s.load(keyJobDay(j.ID, day), &c.charges)
		return true
	}).charges
}

// forgetBefore deletes what a job has cost so long before a day that the accounts of
// those days are gone, too.
func (s *session) forgetBefore(j *heldJob, day uint32) {
	if day < AccountDays {
		return
	}
	for _, key := range s.keys(prefixJobDay(j.ID), errandSteps) {
		if parseJobDay(key) >= day-AccountDays {
			return
		}
		s.forgetDay(j, key)
	}
}

// forgetDays deletes up to limit of the days of a job that is pruned, and returns how
// many.
func (s *session) forgetDays(j *heldJob, limit int) int {
	keys := s.keys(prefixJobDay(j.ID), limit)
	for _, key := range keys {
		s.forgetDay(j, key)
	}
	return len(keys)
}

func (s *session) forgetDay(j *heldJob, key []byte) {
	var c charges
	s.load(key, &c)
	s.delete(key)
	s.forgotten(j.Tenant, parseJobDay(key), c.Usage)
}

// forgetCharges takes leave of a job that is pruned: what it has cost stays in the
// accounts, what is stored for it does not.
func (s *session) forgetCharges(j *heldJob) {
	if j.Today != (Usage{}) {
		s.forgotten(j.Tenant, j.Day, j.Today)
	}
	if j.Stored > 0 {
		s.tenant(j.Tenant).Stored -= j.Stored
	}
}

// forgotten books usage of a day that no job has any more.
func (s *session) forgotten(id TenantID, day uint32, usage Usage) {
	a := s.accounts.find(accountKey{id, day}, func(a *heldAccount) bool {
		return s.load(keyAccount(id, day), &a.Account)
	})
	if a != nil {
		a.Forgotten.Add(usage)
	}
}

// store counts the size of a result that is kept.
func (s *session) store(j *heldJob, run *Run) {
	if run.StoredBytes > 0 {
		j.Stored += run.StoredBytes
		s.tenant(j.Tenant).Stored += run.StoredBytes
	}
}

// flushCharges writes the charges that were held.
func (s *session) flushCharges() {
	for _, key := range s.modules.order {
		if c := s.modules.records[key]; c != nil {
			s.save(keyModuleDay(key.tenant, key.day, key.module), &c.charges)
		}
	}
	for _, key := range s.jobDays.order {
		s.save(keyJobDay(key.job, key.day), &s.jobDays.records[key].charges)
	}
}

// fireAccount forgets a tenant's day, and then what its modules have cost.
func (s *session) fireAccount(t timerKey) {
	name, rest := cutName(t.What)
	day := accountKey{TenantID(name), uint32(number(rest))}
	var a Account
	if s.load(keyAccount(day.tenant, day.day), &a) && a.Receipts != (Usage{}) {
		s.later(errand{timerModules, t.At, string(t.What)})
	}
	s.accounts.put(day, nil)
	s.delete(keyAccount(day.tenant, day.day))
}

// forgetModules forgets what modules have cost on a day, at most steps of them.
func (s *session) forgetModules(e errand, steps int) (used int, done bool) {
	name, rest := cutName([]byte(e.what))
	keys := s.keys(prefixModuleDay(TenantID(name), uint32(number(rest))), steps)
	for _, key := range keys {
		s.delete(key)
	}
	return len(keys), len(keys) < steps
}

// parseJobDay reads the day of what a job has cost.
func parseJobDay(key []byte) uint32 { return uint32(number(key[17:])) }

// parseModuleDay reads the key of what a module has cost a tenant on a day.
func parseModuleDay(key []byte) moduleKey {
	name, rest := cutName(key[1:])
	return moduleKey{accountKey{TenantID(name), uint32(number(rest[:4]))}, ModuleID(rest[4:])}
}
