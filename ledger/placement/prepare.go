package placement

import (
	"math"
	"math/bits"

	"github.com/dugnad/dugnad/ledger"
)

// prepare reads the snapshot.
func (p *Planner) prepare(in Input) {
	p.in, p.params, p.out = in, in.Params, Output{}
	if p.classOf == nil {
		p.classOf = make(map[string]int32)
		p.boundOf = make(map[boundKey]int32)
		p.boundTo = make(map[ledger.NodeID][]int32)
		p.tenantOf = make(map[ledger.TenantID]int32)
		p.demandOf = make(map[string]int32)
		p.poolOf = make(map[poolKey]int32)
		p.shapeOf = make(map[shapeKey]int32)
		p.moduleOf = make(map[ledger.ModuleID]int32)
		p.spreadOf = make(map[string]int32)
		p.quotaOf = make(map[ledger.TenantID]int32)
		p.claimOf = make(map[ledger.TenantID]int32)
		p.reasonOf = make(map[reasonKey]found)
		p.yields = make(map[int32]*yield)
		p.stuck = make(map[bandShape]bool)
		p.rules = make(map[ledger.LabelRule]struct{})
	}
	p.readBounds()
	p.readNodes()
	p.quotas = p.quotas[:0]
	for _, q := range in.Quotas {
		p.quotaOf[q.Tenant] = int32(len(p.quotas))
		p.quotas = append(p.quotas, q)
	}
	for i := range in.Claims {
		p.enterClaim(&in.Claims[i])
	}
	p.jobs = p.jobs[:0]
	for i := range in.Jobs {
		p.readJob(&in.Jobs[i])
	}
	p.readClaims()
}

// release forgets the snapshot, whose memory is not ours to keep.
func (p *Planner) release() {
	p.in, p.out = Input{}, Output{}
	clear(p.classOf)
	clear(p.boundOf)
	clear(p.boundTo)
	clear(p.tenantOf)
	clear(p.demandOf)
	clear(p.poolOf)
	clear(p.shapeOf)
	clear(p.moduleOf)
	clear(p.spreadOf)
	clear(p.quotaOf)
	clear(p.claimOf)
	clear(p.reasonOf)
	clear(p.yields)
	clear(p.stuck)
	clear(p.rules)
	p.index.clear()
	p.forgetHeld()
	clear(p.nodes)
	clear(p.jobs)
	p.nodes, p.jobs, p.fetched = p.nodes[:0], p.jobs[:0], p.fetched[:0]
	for i := range p.classes {
		p.classes[i].node = nil
	}
	for i := range p.demands {
		p.demands[i].spec, p.demands[i].bound = nil, nil
	}
	p.classes, p.tenants, p.demands, p.claimants = p.classes[:0], p.tenants[:0], p.demands[:0], p.claimants[:0]
	clear(p.spreads)
	p.pools, p.shapes, p.spreads = p.pools[:0], p.shapes[:0], p.spreads[:0]
}

func (p *Planner) readJob(in *Job) {
	j := job{Job: in, spread: -1, quota: -1, tenant: -1, behind: -1, hash: hashModule(in.Spec.Module)}
	for i := range in.Pending {
		j.left += uint64(in.Pending[i].Tasks.Count())
	}
	for i := range in.Running {
		j.slots += uint64(in.Running[i].Slots)
	}
	if j.done = j.left == 0; !j.done {
		j.rest = in.Pending[0].Tasks
		if q, ok := p.quotaOf[in.Spec.Tenant]; ok {
			j.quota = q
		}
		j.module = intern(p.moduleOf, in.Spec.Module)
		if t, ok := p.tenantOf[in.Spec.Tenant]; ok {
			j.tenant = t
		}
		j.claim = p.claimFor(in.Spec.Tenant)
		p.claimants[j.claim].count++
		j.shape = p.shapeFor(in, j.tenant)
		j.expected, j.longest = p.expected(in), p.params.TimeoutNanos
		if in.Spec.TimeoutNanos > 0 {
			j.longest = in.Spec.TimeoutNanos
		}
		j.remote = scoreMax - ratio(min(in.ModuleBytes, p.params.FetchBytesMax), p.params.FetchBytesMax)
		if in.Spec.SpreadLabel != "" {
			j.spread = p.spreadFor(in.Spec.SpreadLabel)
		}
	}
	p.jobs = append(p.jobs, j)
}

// expected returns how long one task is likely to run, 1 ns to LeaseNanosMax.
func (p *Planner) expected(in *Job) int64 {
	nanos := in.ExpectedNanos
	if nanos <= 0 {
		nanos = p.params.TaskNanos
		if rate := in.Spec.Task.FuelRate; rate > 0 && in.Spec.FuelMax > 0 {
			nanos = p.params.LeaseNanosMax
			if seconds := in.Spec.FuelMax / rate; seconds < uint64(math.MaxInt64/1_000_000_000-1) {
				rest := in.Spec.FuelMax % rate
				hi, lo := bits.Mul64(rest, 1e9)
				part, _ := bits.Div64(hi, lo, rate)
				nanos = int64(seconds)*1e9 + int64(part)
			}
		}
	}
	return min(max(nanos, 1), p.params.LeaseNanosMax)
}
