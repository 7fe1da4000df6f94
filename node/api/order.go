package api

import "time"

// The states of a standing order.
const (
	OrderActive = "active"
	OrderPaused = "paused"
	OrderEnded  = "ended"
)

// Order is a standing order: what makes jobs at the times of a schedule, or on every
// node that meets its constraints.
type Order struct {
	ID     string `json:"id" doc:"32 hexadecimal digits"`
	Name   string `json:"name,omitempty"`
	Tenant string `json:"tenant"`
	Kind   string `json:"kind" enum:"cron,daemon"`
	Module string `json:"module" doc:"sha256: and 64 hexadecimal digits"`
	Count  uint32 `json:"count" doc:"Number of tasks of each job"`
	State  string `json:"state" enum:"active,paused,ended"`
	// Labels are those of its jobs.
	Labels   map[string]string `json:"labels,omitempty" doc:"What its jobs are, to those who give machines"`
	Schedule string            `json:"schedule,omitempty"`
	Timezone string            `json:"timezone,omitempty"`
	Overlap  string            `json:"overlap,omitempty"`
	CatchUp  string            `json:"catch_up,omitempty"`
	Created  time.Time         `json:"created"`
	Changed  time.Time         `json:"changed" doc:"When its state last changed"`
	Next     *time.Time        `json:"next,omitempty" doc:"When it runs next"`
	Open     uint32            `json:"open" doc:"Its jobs that have not ended"`
	Made     uint64            `json:"made" doc:"Jobs that it made"`
	// Succeeded, Failed and Killed are those of them that ended.
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	Killed    uint64 `json:"killed"`
	Skipped   uint64 `json:"skipped" doc:"Runs that were not made because of earlier ones"`
	Refused   uint64 `json:"refused" doc:"Runs that were not made because of a quota or another limit"`
	Missed    uint64 `json:"missed" doc:"Times that passed while no leader could see them, at least"`
	Runs      []Run  `json:"runs,omitempty" doc:"The last runs, the latest last"`
	Seats     []Seat `json:"seats,omitempty" doc:"A daemon's places"`
	Index     uint64 `json:"index" doc:"The ledger's index up to which this holds"`
}

// Run is one run of a standing order.
type Run struct {
	At     time.Time  `json:"at"`
	Result string     `json:"result" doc:"ok when a job was made; otherwise the code of what spoke against it"`
	Job    string     `json:"job,omitempty"`
	State  string     `json:"state,omitempty" doc:"The job's"`
	Ended  *time.Time `json:"ended,omitempty"`
}

// Seat is the place of a daemon on a node.
type Seat struct {
	Node  string     `json:"node"`
	Job   string     `json:"job,omitempty" doc:"The latest there"`
	Open  bool       `json:"open" doc:"The job has not ended"`
	Since *time.Time `json:"since,omitempty"`
	Jobs  uint32     `json:"jobs" doc:"How many there were, with it"`
	// NotBefore is when the next may be made.
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// Orders is a page of standing orders.
type Orders struct {
	Orders []Order `json:"orders"`
	Next   string  `json:"next,omitempty"`
	Index  uint64  `json:"index"`
}
