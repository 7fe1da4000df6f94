package control

import (
	"context"
	"net/http"
)

// Checkup is what a node finds out about itself and its peers when it is asked to.
type Checkup struct {
	Version string `json:"version"`
	// MemoryBytes and Slots are what the node gives.
	MemoryBytes uint64 `json:"memory_bytes"`
	Slots       uint32 `json:"slots"`
	// Peers are members that were asked, More how many were connected and were not.
	Peers    []Peer    `json:"peers"`
	More     int       `json:"more,omitempty"`
	Book     Book      `json:"book"`
	Accounts []Account `json:"accounts"`
}

// Peer is what a member answers. OffsetSeconds is how far its clock is ahead of this
// node's, give or take ErrorSeconds. Problem says why it has not answered.
type Peer struct {
	Node          string  `json:"node"`
	Name          string  `json:"name,omitempty"`
	Version       string  `json:"version,omitempty"`
	OffsetSeconds float64 `json:"offset_seconds"`
	ErrorSeconds  float64 `json:"error_seconds"`
	Problem       string  `json:"problem,omitempty"`
}

// Book is how the node's copy of the ledger stands at Index. Problem is the first
// thing that does not fit together.
type Book struct {
	Index   uint64  `json:"index"`
	Seconds float64 `json:"seconds"`
	Problem string  `json:"problem,omitempty"`
}

// Account is what a tenant has used altogether, and the sum of its days that are
// kept, which cannot be more.
type Account struct {
	Tenant   string `json:"tenant"`
	Fuel     uint64 `json:"fuel"`
	FuelDays uint64 `json:"fuel_days"`
}

// Checkup asks the node to look at itself and its peers. It reads the whole ledger.
func (c *Client) Checkup(ctx context.Context) (out Checkup, err error) {
	err = c.call(ctx, http.MethodPost, "/checkups", struct{}{}, &out)
	return out, err
}

func (s *Server) checkup(w http.ResponseWriter, r *http.Request) {
	c, err := s.node.Checkup(r.Context())
	s.answer(w, c, err)
}
