package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/node/warrant"
)

// ErrPlain is returned for a token and a node that is asked over plain HTTP through a
// network: what is asked and answered could be read, and changed, on the way.
var ErrPlain = errors.New("a token is used over https, or on one machine")

// credential proves to a node that the token is held. A nil one proves nothing.
type credential struct {
	token warrant.Token

	mu sync.Mutex
	// reading is the proof for requests that read, made at.
	reading string
	made    time.Time
}

func newCredential(config Config, base *url.URL) (*credential, error) {
	if config.Token == "" {
		return nil, nil
	}
	token, err := warrant.Parse(config.Token)
	if err != nil {
		return nil, err
	}
	if base.Scheme == "http" && config.Dial == nil && !thisMachine(base.Hostname()) {
		return nil, fmt.Errorf("%w: %s is neither: write https://%s", ErrPlain, base, base.Host)
	}
	return &credential{token: token}, nil
}

func thisMachine(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// prove adds a proof to a request: one for this request, or for all that read.
func (c *credential) prove(r *http.Request) (err error) {
	if c == nil {
		return nil
	}
	var proof string
	call := warrant.Call{Host: r.URL.Host}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		proof, err = c.read(call)
	} else {
		call.Method, call.Path = r.Method, r.URL.RequestURI()
		proof, err = c.token.Mint(call, time.Now())
	}
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", proof)
	return nil
}

// read returns the proof for requests that read, a new one when the last is half over.
func (c *credential) read(call warrant.Call) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if age := now.Sub(c.made); c.reading != "" && age >= 0 && age < warrant.ProofLife/2 {
		return c.reading, nil
	}
	proof, err := c.token.Mint(call, now)
	if err == nil {
		c.reading, c.made = proof, now
	}
	return proof, err
}
