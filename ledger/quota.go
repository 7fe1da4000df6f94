package ledger

// QuotaFields names fields of SetQuota: a set of bits, which are stable.
type QuotaFields uint32

// The fields.
const (
	QuotaWeight QuotaFields = 1 << iota
	QuotaBandMax
	QuotaFuelTotal
	QuotaMemoryBytes
	QuotaQueuedTasks
	QuotaJobs
	QuotaFuelPerDay
	QuotaFuelRate
	QuotaStoredBytes
	QuotaEgressPerDay

	quotaFieldsAll = QuotaEgressPerDay<<1 - 1
)

// change sets the fields that the command is about.
func (c *SetQuota) change(to *CreateTenant) {
	only := c.Only
	if only == 0 {
		only = quotaFieldsAll
	}
	set(only&QuotaWeight, &to.Weight, c.Weight)
	set(only&QuotaBandMax, &to.BandMax, c.BandMax)
	q, from := &to.Quota, &c.Quota
	set(only&QuotaFuelTotal, &q.FuelTotal, from.FuelTotal)
	set(only&QuotaMemoryBytes, &q.MemoryBytes, from.MemoryBytes)
	set(only&QuotaQueuedTasks, &q.QueuedTasks, from.QueuedTasks)
	set(only&QuotaJobs, &q.Jobs, from.Jobs)
	set(only&QuotaFuelPerDay, &q.FuelPerDay, from.FuelPerDay)
	set(only&QuotaFuelRate, &q.FuelRate, from.FuelRate)
	set(only&QuotaStoredBytes, &q.StoredBytes, from.StoredBytes)
	set(only&QuotaEgressPerDay, &q.EgressPerDay, from.EgressPerDay)
}

// set sets a field when it is named.
func set[T any](named QuotaFields, to *T, v T) {
	if named != 0 {
		*to = v
	}
}

// admitToday checks that the tenant may have the job's tasks by the quotas of the day,
// and that its results do not take too much room. The result of a day's fuel has in Min
// what would be held when the day is over: waiting for that helps unless it is above Max.
func (s *session) admitToday(t *heldTenant, spec *JobSpec) Result {
	q := &t.Quota
	if !q.hasLater() {
		return Result{}
	}
	today := s.today(t.ID).Usage
	later := addMax(t.FuelReserved, uint64(spec.Count)*spec.FuelMax) // admit has multiplied them
	switch sum := addMax(later, today.Fuel); {
	case q.FuelPerDay != 0 && sum > q.FuelPerDay:
		r := over(CodeQuotaDay, "fuel_per_day", sum, q.FuelPerDay)
		r.Min = later
		return r
	case q.StoredBytes != 0 && t.Stored > q.StoredBytes:
		return over(CodeQuotaStored, "stored_bytes", t.Stored, q.StoredBytes)
	case q.EgressPerDay != 0 && today.EgressBytes >= q.EgressPerDay:
		return over(CodeQuotaEgress, "egress_per_day", today.EgressBytes, q.EgressPerDay)
	}
	return Result{}
}

// Admits says whether a tenant may submit a job by its quotas, as Submit would at that
// time and on what tx knows: it refuses as Submit does, and changes nothing. A job that it
// admits may be refused all the same.
func Admits(tx Tx, spec *JobSpec, now Time) (r Result, err error) {
	defer catch(&err)
	s := &session{reader: reader{tx}, now: now}
	t := s.tenant(spec.Tenant)
	if t == nil {
		return refuse(CodeTenantUnknown, string(spec.Tenant)), nil
	}
	if r = spec.check(); r.Code == CodeOK && spec.Band > t.BandMax {
		r = over(CodeBandCeiling, "band", uint64(spec.Band), uint64(t.BandMax))
	}
	if r.Code == CodeOK {
		r = t.admit(spec.Count, spec.FuelMax)
	}
	if r.Code == CodeOK {
		r = s.admitToday(t, spec)
	}
	return r, nil
}

// untilRenewed returns how long a tenant's tasks that have failed wait at least: until
// the day ends when no fuel of it is left for another attempt beside what is reserved.
func (s *session) untilRenewed(t *heldTenant) Time {
	limit := t.Quota.FuelPerDay
	if limit == 0 || addMax(t.FuelReserved, s.today(t.ID).Usage.Fuel) <= limit {
		return 0
	}
	return s.now.DayEnd() - s.now
}

// TaskRate returns the fuel per second that a task takes on a node: what it asks for, or
// what its slots can burn there at most.
func TaskRate(task *Resources, n *Node) uint64 {
	each := n.Capacity.FuelRate / uint64(max(n.Capacity.Slots, 1))
	return max(task.FuelRate, min(each*uint64(task.Slots), n.Capacity.FuelRate))
}

// EgressLeft returns how many bytes a tenant's tasks may still exchange with the world
// outside on the day that now is in; bounded is false where its quota does not say.
// What was exchanged counts when it is reported: whoever lets tasks exchange more has to
// keep count of that.
func EgressLeft(tx Tx, tenant TenantID, now Time) (left uint64, bounded bool, err error) {
	t, err := FindTenant(tx, tenant)
	if err != nil || t.Quota.EgressPerDay == 0 {
		return 0, false, err
	}
	a, err := FindAccount(tx, tenant, now.Day())
	return t.Quota.EgressPerDay - min(t.Quota.EgressPerDay, a.Usage.EgressBytes), true, err
}
