package api

import "time"

// SecretBytesMax bounds the body of a SealedSecret.
const SecretBytesMax = 256 << 10

// Secret is what the grid tells of a tenant's secret: never its value.
type Secret struct {
	Name string `json:"name"`
	// Version counts the values, from 1.
	Version uint32 `json:"version"`
	// Created is when the first value came, Changed when this one.
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
	// Nodes are the only ones that are given it; none is any that runs such a job.
	Nodes []string `json:"nodes,omitempty"`
	// Custodians are the nodes that can open it.
	Custodians []string `json:"custodians"`
}

// Secrets are those of a tenant.
type Secrets struct {
	Secrets []Secret `json:"secrets"`
	Index   uint64   `json:"index"`
}

// SealedSecret is a secret as its tenant has sealed it: the node that is asked cannot
// open it.
type SealedSecret struct {
	// ID is the value's: 32 hexadecimal digits, made for it alone.
	ID    string      `json:"id"`
	Nodes []string    `json:"nodes,omitempty"`
	Keys  []SealedKey `json:"keys"`
	// Value is sealed.
	Value []byte `json:"value"`
}

// SealedKey is what opens a value, sealed to a custodian.
type SealedKey struct {
	Custodian string `json:"custodian"`
	Key       []byte `json:"key"`
}

// Custodians are the nodes that secrets are sealed to.
type Custodians struct {
	// Grid is the grid's public key. Who has a token knows it already, and need not
	// believe the node that is asked.
	Grid []byte `json:"grid"`
	// Tenant is who asks.
	Tenant     string      `json:"tenant"`
	Custodians []Custodian `json:"custodians"`
}

// Custodian is an admin's node. Its card says which, and is signed by the grid.
type Custodian struct {
	Node string `json:"node"`
	Name string `json:"name,omitempty"`
	Card []byte `json:"card"`
}
