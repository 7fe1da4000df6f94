package api

// Quota bounds what a tenant may hold; zero is no bound.
type Quota struct {
	Weight        uint32 `json:"weight,omitempty" maximum:"1048576" doc:"Its share beside other tenants; 1 when left out"`
	BandMax       uint8  `json:"band_max" maximum:"7" doc:"The highest priority band of its jobs"`
	Fuel          uint64 `json:"fuel,omitempty" doc:"Fuel that is reserved and used, together and for ever"`
	FuelPerDay    uint64 `json:"fuel_per_day,omitempty" doc:"Fuel that is reserved, and used on one day in UTC"`
	FuelPerSecond uint64 `json:"fuel_per_second,omitempty" doc:"Fuel per second of tasks that nodes have at the same time; while there is less, another one is placed"`
	MemoryBytes   uint64 `json:"memory_bytes,omitempty" doc:"Memory of tasks that nodes have at the same time"`
	QueuedTasks   uint64 `json:"queued_tasks,omitempty" doc:"Tasks that wait"`
	Jobs          uint32 `json:"jobs,omitempty" doc:"Jobs that have not ended"`
	StoredBytes   uint64 `json:"stored_bytes,omitempty" doc:"Results that are kept: above it no job is taken"`
	EgressPerDay  uint64 `json:"egress_per_day,omitempty" doc:"Bytes exchanged with the world outside on one day in UTC"`
}

// QuotaChange is what changes of a quota: what is nil stays, and zero takes a bound away.
type QuotaChange struct {
	Weight        *uint32 `json:"weight,omitempty" minimum:"1" maximum:"1048576" doc:"Its share beside other tenants"`
	BandMax       *uint8  `json:"band_max,omitempty" maximum:"7" doc:"The highest priority band of its jobs"`
	Fuel          *uint64 `json:"fuel,omitempty" doc:"Fuel that is reserved and used, together and for ever"`
	FuelPerDay    *uint64 `json:"fuel_per_day,omitempty" doc:"Fuel that is reserved, and used on one day in UTC"`
	FuelPerSecond *uint64 `json:"fuel_per_second,omitempty" doc:"Fuel per second of tasks that nodes have at the same time"`
	MemoryBytes   *uint64 `json:"memory_bytes,omitempty" doc:"Memory of tasks that nodes have at the same time"`
	QueuedTasks   *uint64 `json:"queued_tasks,omitempty" doc:"Tasks that wait"`
	Jobs          *uint32 `json:"jobs,omitempty" doc:"Jobs that have not ended"`
	StoredBytes   *uint64 `json:"stored_bytes,omitempty" doc:"Results that are kept"`
	EgressPerDay  *uint64 `json:"egress_per_day,omitempty" doc:"Bytes exchanged with the world outside on one day in UTC"`
}

// CapabilitiesChange gives a tenant capabilities and takes others from it.
type CapabilitiesChange struct {
	Allow []string `json:"allow,omitempty" maxItems:"16" doc:"What its jobs may ask for from now on: http"`
	Deny  []string `json:"deny,omitempty" maxItems:"16" doc:"What they may not any more"`
}

// The bounds of a tenant that is made without a quota: as many tasks as the largest job
// has, in so many jobs.
const (
	DefaultQueuedTasks = 10_000_000
	DefaultJobs        = 10_000
)

// DefaultQuota is what a tenant has that is made without one.
func DefaultQuota() Quota {
	return Quota{Weight: 1, BandMax: 7, QueuedTasks: DefaultQueuedTasks, Jobs: DefaultJobs}
}

// Held is what a tenant holds of what its quota bounds.
type Held struct {
	FuelReserved  uint64 `json:"fuel_reserved" doc:"What its tasks that have not ended may burn"`
	FuelUsed      uint64 `json:"fuel_used"`
	FuelToday     uint64 `json:"fuel_today" doc:"Used on this day in UTC"`
	FuelPerSecond uint64 `json:"fuel_per_second" doc:"Of tasks that nodes have, counted while there is a quota"`
	MemoryBytes   uint64 `json:"memory_bytes" doc:"Of tasks that nodes have"`
	QueuedTasks   uint64 `json:"queued_tasks"`
	Jobs          uint32 `json:"jobs"`
	StoredBytes   uint64 `json:"stored_bytes"`
	EgressToday   uint64 `json:"egress_today"`
}

// Tenant is a tenant with its quota and what it holds.
type Tenant struct {
	ID    string `json:"id"`
	Quota Quota  `json:"quota"`
	Held  Held   `json:"held"`
	// Capabilities are what its jobs may ask for beyond computing, by name.
	Capabilities []string `json:"capabilities" doc:"What its jobs may ask for beyond computing"`

	Index uint64 `json:"index,omitempty" doc:"Index of the ledger that this is from"`
}

// Tenants is a page of tenants.
type Tenants struct {
	Tenants []Tenant `json:"tenants"`
	Next    string   `json:"next,omitempty" doc:"Ask for more after this; left out at the end"`
	Index   uint64   `json:"index"`
}

// NewTenant asks for a tenant. Without a quota it has DefaultQuota.
type NewTenant struct {
	ID    string `json:"id" minLength:"1" maxLength:"64" doc:"Of a-z, 0-9 and -"`
	Quota *Quota `json:"quota,omitempty"`
}

// UsageDaysMax is how many days of a tenant's usage are kept: the most that one answer
// is about.
const UsageDaysMax = 400

// What usage is told by.
const (
	UsageByDay    = "day"
	UsageByModule = "module"
	UsageByJob    = "job"
)

// OtherModules stands for the modules of a day beyond those that are told apart.
const OtherModules = "other"

// UsagePart is what a day, a module or a job has cost.
type UsagePart struct {
	Day    string `json:"day,omitempty" doc:"In UTC, such as 2026-11-23"`
	Module string `json:"module,omitempty" doc:"sha256: and 64 hexadecimal digits, or other"`
	Job    string `json:"job,omitempty"`
	Name   string `json:"name,omitempty" doc:"The job's name"`
	Usage
	Tasks *Tasks `json:"tasks,omitempty" doc:"Tasks that ended on the day, by state"`
}

// UsageReport is what a tenant has cost, by receipts: reports that nodes have signed.
type UsageReport struct {
	Tenant string      `json:"tenant"`
	By     string      `json:"by" enum:"day,module,job"`
	From   string      `json:"from" doc:"The first day, in UTC"`
	To     string      `json:"to" doc:"The last day"`
	Parts  []UsagePart `json:"parts" doc:"Without those that have cost nothing"`
	Total  Usage       `json:"total" doc:"Of the parts in this answer"`
	// Unsigned is what nodes have reported without signing it, which is in no part.
	Unsigned *Usage `json:"unsigned,omitempty" doc:"What was reported without a signature, by day only; it is in no part"`
	Next     string `json:"next,omitempty" doc:"By job: ask for more after this; left out at the end"`
	Index    uint64 `json:"index"`
}
