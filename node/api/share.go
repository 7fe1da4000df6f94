package api

import "time"

// What shares are told over.
const (
	SharesOverHour = "hour"
	SharesOverDay  = "day"
)

// SharesTenantsMax bounds the tenants of Shares.Tenants.
const SharesTenantsMax = 32

// Share is a part of what the nodes that are up have together: 1 is all of it.
type Share struct {
	Dominant float64 `json:"dominant" doc:"The largest of the others, by which tenants share"`
	Memory   float64 `json:"memory"`
	FuelRate float64 `json:"fuel_rate"`
	Slots    float64 `json:"slots"`
}

// ShareSample is what a tenant had beside the others at a time.
type ShareSample struct {
	At time.Time `json:"at" doc:"When, or the beginning of the time of which it is the mean"`
	// Own is nil where it is not known: there were more tenants than a node tells apart,
	// and this one had less than those.
	Own      *Share  `json:"own,omitempty" doc:"What the tenant had; left out when a node tells so many tenants apart and this one had less than those"`
	Entitled float64 `json:"entitled" doc:"The part that its weight is of those of all tenants that had something or waited for it, with its own"`
	Others   Share   `json:"others" doc:"What all other tenants had together"`
}

// TenantShare is what one of several tenants had.
type TenantShare struct {
	Tenant   string    `json:"tenant"`
	Dominant []float64 `json:"dominant" doc:"Its dominant share in each sample"`
}

// Shares are what a tenant had of the grid, as the node that answers has sampled it.
type Shares struct {
	Tenant  string        `json:"tenant"`
	Over    string        `json:"over" enum:"hour,day"`
	Seconds int           `json:"seconds" doc:"The time between two samples; over a day each is the mean of that time, over an hour it is of one moment"`
	Since   *time.Time    `json:"since,omitempty" doc:"When this node began to take samples; left out when it has none"`
	Samples []ShareSample `json:"samples" doc:"The earlier first; where the node took none there is a gap"`
	Tenants []TenantShare `json:"tenants,omitempty" doc:"With all=true: the tenants that had the most, the most first"`
}
