package ledger

import "math/bits"

func (c *CreateTenant) apply(s *session) Result {
	if r := c.check(); r.Code != CodeOK {
		return r
	}
	if s.tenant(c.Tenant) != nil {
		return refuse(CodeTenantExists, string(c.Tenant))
	}
	s.tenants.put(c.Tenant, &heldTenant{Tenant: Tenant{ID: c.Tenant, Weight: c.Weight, BandMax: c.BandMax, Quota: c.Quota, Capabilities: c.Capabilities}})
	return Result{}
}

func (c *SetQuota) apply(s *session) Result {
	switch {
	case !validTenant(c.Tenant):
		return refuse(CodeInvalid, "tenant")
	case c.Only&^quotaFieldsAll != 0:
		return outside("only", uint64(c.Only), 0, uint64(quotaFieldsAll))
	}
	t := s.tenant(c.Tenant)
	if t == nil {
		return refuse(CodeTenantUnknown, string(c.Tenant))
	}
	is := CreateTenant{Tenant: t.ID, Weight: t.Weight, BandMax: t.BandMax, Quota: t.Quota}
	c.change(&is)
	if r := is.check(); r.Code != CodeOK {
		return r
	}
	t.Weight, t.BandMax, t.Quota = is.Weight, is.BandMax, is.Quota
	return Result{}
}

func (c *CreateTenant) check() Result {
	switch {
	case !validTenant(c.Tenant):
		return refuse(CodeInvalid, "tenant")
	case c.Weight == 0 || c.Weight > WeightMax:
		return outside("weight", uint64(c.Weight), 1, WeightMax)
	case c.BandMax > BandTop:
		return outside("band_max", uint64(c.BandMax), 0, BandTop)
	case c.Capabilities&^capabilitiesAll != 0:
		return outside("capabilities", uint64(c.Capabilities), 0, uint64(capabilitiesAll))
	}
	return Result{}
}

// admit checks that the tenant may have another count tasks of fuelMax each.
func (t *Tenant) admit(count uint32, fuelMax uint64) Result {
	high, fuel := bits.Mul64(uint64(count), fuelMax)
	held := addMax(t.FuelReserved, t.FuelUsed)
	sum, carry := bits.Add64(held, fuel, 0)
	q := t.Quota
	switch {
	case high|carry != 0:
		return outside("fuel_max", fuelMax, 1, (1<<64-1-held)/uint64(count))
	case q.FuelTotal != 0 && sum > q.FuelTotal:
		return over(CodeQuotaFuel, "fuel", sum, q.FuelTotal)
	case q.QueuedTasks != 0 && t.Queued+uint64(count) > q.QueuedTasks:
		return over(CodeQuotaQueued, "queued_tasks", t.Queued+uint64(count), q.QueuedTasks)
	case q.Jobs != 0 && t.Jobs+1 > q.Jobs:
		return over(CodeQuotaJobs, "jobs", uint64(t.Jobs)+1, uint64(q.Jobs))
	}
	return Result{}
}

// overdrawn reports whether the tenant has no fuel for another attempt.
func (t *Tenant) overdrawn() bool {
	return t.Quota.FuelTotal != 0 && addMax(t.FuelReserved, t.FuelUsed) > t.Quota.FuelTotal
}

// Add sums up, and stays at the largest number rather than beginning anew.
func (u *Usage) Add(v Usage) {
	u.Fuel = addMax(u.Fuel, v.Fuel)
	u.MemoryByteSeconds = addMax(u.MemoryByteSeconds, v.MemoryByteSeconds)
	u.WallNanos = addMax(u.WallNanos, v.WallNanos)
	u.EgressBytes = addMax(u.EgressBytes, v.EgressBytes)
}

// Minus returns what u has beyond v, which is part of it.
func (u Usage) Minus(v Usage) Usage {
	return Usage{u.Fuel - v.Fuel, u.MemoryByteSeconds - v.MemoryByteSeconds, u.WallNanos - v.WallNanos, u.EgressBytes - v.EgressBytes}
}

func addMax(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum | -carry
}

func validTenant(t TenantID) bool {
	for i := range len(t) {
		if c := t[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(t) >= 1 && len(t) <= 64
}
