package control

import (
	"context"
	"net/http"
	"time"
)

// Activity is what a node does at a moment. What only grows is counted since the
// node's process, or the worker's, has started: rates are the difference of two.
type Activity struct {
	At    time.Time  `json:"at"`
	Node  string     `json:"node"`
	Name  string     `json:"name,omitempty"`
	Grid  string     `json:"grid"`
	State string     `json:"state,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Leader is the ledger's, empty when none is known; Connected are the members with
	// a connection, of Members.
	Leader    string `json:"leader,omitempty"`
	Connected int    `json:"connected"`
	Members   int    `json:"members"`

	// Slots, MemoryBytes, DiskBytes and FuelRate, per second, are what the node gives;
	// 0 is not known. CoreFuelRate is what one core burns.
	Slots        uint32 `json:"slots"`
	MemoryBytes  uint64 `json:"memory_bytes"`
	DiskBytes    uint64 `json:"disk_bytes"`
	FuelRate     uint64 `json:"fuel_rate"`
	CoreFuelRate uint64 `json:"core_fuel_rate"`

	SlotsUsed     uint32 `json:"slots_used"`
	DiskBytesUsed uint64 `json:"disk_bytes_used"`
	ReceivedBytes uint64 `json:"received_bytes"`
	SentBytes     uint64 `json:"sent_bytes"`

	Jobs    []JobActivity    `json:"jobs"`
	Workers []WorkerActivity `json:"workers"`
	Queues  []Queue          `json:"queues"`
}

// JobActivity is what a job does on the node.
type JobActivity struct {
	Job         string    `json:"job"`
	Name        string    `json:"name,omitempty"`
	Tenant      string    `json:"tenant"`
	Module      string    `json:"module"`
	Band        uint8     `json:"band"`
	Leases      int       `json:"leases"`
	Since       time.Time `json:"since"`
	Running     uint32    `json:"running"`
	Left        uint32    `json:"left"`
	Slots       uint32    `json:"slots"`
	MemoryBytes uint64    `json:"memory_bytes"`
	Ended       uint64    `json:"ended"`
	Fuel        uint64    `json:"fuel"`
}

// WorkerActivity is what a tenant's worker process does.
type WorkerActivity struct {
	Tenant      string  `json:"tenant"`
	PID         int     `json:"pid"`
	Tasks       int     `json:"tasks"`
	Adopted     bool    `json:"adopted,omitempty"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	MemoryBytes uint64  `json:"memory_bytes"`
}

// Queue is what waits of a tenant in a band, anywhere in the grid. More says that
// there are more jobs than were counted.
type Queue struct {
	Tenant string    `json:"tenant"`
	Band   uint8     `json:"band"`
	Jobs   int       `json:"jobs"`
	More   bool      `json:"more,omitempty"`
	Tasks  uint64    `json:"tasks"`
	Oldest time.Time `json:"oldest"`
}

// Activity asks what the node does now.
func (c *Client) Activity(ctx context.Context) (a Activity, err error) {
	err = c.call(ctx, http.MethodGet, "/activity", nil, &a)
	return a, err
}

func (s *Server) activity(w http.ResponseWriter, _ *http.Request) {
	a, err := s.node.Activity()
	s.answer(w, a, err)
}
