package control

import (
	"context"
	"net/http"
	"time"
)

// Preferences are what a node gives now, and why not more.
type Preferences struct {
	// File is where they are, Text the file that is in force.
	File string `json:"file"`
	Text string `json:"text"`
	// Problem says what is wrong with the file: Text is the one before, then.
	Problem string `json:"problem,omitempty"`
	// Will is give, pause or stop.
	Will string `json:"will"`
	// Withheld says why nothing is given; empty is that something is, since Since.
	Withheld string    `json:"withheld,omitempty"`
	Since    time.Time `json:"since"`
	// Slots are those that tasks have here now.
	Slots uint32 `json:"slots"`
	// Cores and MemoryBytes are what guests may have; zero is no bound but the node's.
	Cores       float64 `json:"cores,omitempty"`
	MemoryBytes uint64  `json:"memory_bytes,omitempty"`
	// Download and Upload are what users of the grid move over the network here.
	Download Bandwidth `json:"download"`
	Upload   Bandwidth `json:"upload"`
	// Until is when the machine is switched off.
	Until *time.Time `json:"until,omitempty"`
	// OtherLoad and OnBattery are what sensors tell, Sensors what they cannot.
	OtherLoad float64 `json:"other_load,omitempty"`
	OnBattery bool    `json:"on_battery,omitempty"`
	Sensors   string  `json:"sensors,omitempty"`
}

// Bandwidth is one direction of the network.
type Bandwidth struct {
	// Bound is in bytes per second; zero is none.
	Bound uint64 `json:"bound,omitempty"`
	// BytesPerSecond is the mean of the last seconds, Bytes all since the node started.
	BytesPerSecond uint64 `json:"bytes_per_second"`
	Bytes          uint64 `json:"bytes"`
	// Waiting are the streams that the bound holds up now.
	Waiting int `json:"waiting,omitempty"`
}

// PreferencesText asks for other preferences.
type PreferencesText struct {
	Text string `json:"text"`
}

// Will is what an operator tells a node: give, pause or stop.
type Will struct {
	Will string `json:"will"`
}

func (s *Server) preferences(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, s.node.Preferences(), nil)
}

func (s *Server) setPreferences(w http.ResponseWriter, r *http.Request) {
	p, err := read[PreferencesText](w, r)
	if err == nil {
		err = s.node.SetPreferences(p.Text)
	}
	s.answer(w, s.node.Preferences(), err)
}

func (s *Server) tell(w http.ResponseWriter, r *http.Request) {
	v, err := read[Will](w, r)
	if err == nil {
		err = s.node.Tell(v.Will)
	}
	s.answer(w, s.node.Preferences(), err)
}

// Preferences asks what the node gives.
func (c *Client) Preferences(ctx context.Context) (p Preferences, err error) {
	err = c.call(ctx, http.MethodGet, "/preferences", nil, &p)
	return p, err
}

// SetPreferences gives the node other preferences, and returns what follows.
func (c *Client) SetPreferences(ctx context.Context, text string) (p Preferences, err error) {
	err = c.call(ctx, http.MethodPut, "/preferences", PreferencesText{text}, &p)
	return p, err
}

// Tell lets the node give, pause or stop.
func (c *Client) Tell(ctx context.Context, will string) (p Preferences, err error) {
	err = c.call(ctx, http.MethodPut, "/will", Will{will}, &p)
	return p, err
}
