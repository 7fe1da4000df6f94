package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

// ErrPin is returned for what is neither a grid's name nor a node's.
var ErrPin = errors.New("is neither the name of a grid nor of a node")

// Pin is whom a client wants to reach: any node of a grid that works for it, or one
// node of whatever grid.
type Pin struct {
	grid *p2p.GridID
	node p2p.NodeID
}

// ParsePin reads a grid's name or a node's, as dugnad status shows them. The error is
// ErrPin.
func ParsePin(text string) (Pin, error) {
	if g, err := p2p.ParseGridID(text); err == nil {
		return Pin{grid: &g}, nil
	}
	// VerifyBy reads the node's name first.
	if err := p2p.VerifyBy(p2p.NodeID(text), nil, make([]byte, signatureBytes)); text == "" || errors.Is(err, p2p.ErrMalformed) {
		return Pin{}, fmt.Errorf("%.80q %w", text, ErrPin)
	}
	return Pin{node: p2p.NodeID(text)}, nil
}

// TLS returns a configuration for connections to whom p names, and to nobody else.
func (p Pin) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection decides instead, for resumed sessions too
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := p.verify(s, time.Now()); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
			}
			return nil
		},
	}
}

func (p Pin) verify(s tls.ConnectionState, now time.Time) error {
	if len(s.PeerCertificates) == 0 {
		return ErrNoIdentity
	}
	c := s.PeerCertificates[0]
	i, err := Read(c)
	if err != nil {
		return err
	}
	if err := i.Verify(c, now); err != nil {
		return err
	}
	switch {
	case p.grid == nil && i.Node != p.node:
		return fmt.Errorf("%w: it is of node %s, not %s", ErrWrongNode, i.Node, p.node)
	case p.grid != nil && i.Grid != *p.grid:
		return fmt.Errorf("%w: it is of grid %s, not %s", ErrWrongNode, i.Grid, p.grid)
	case p.grid != nil && i.membership.Role < p2p.RoleWorker:
		return fmt.Errorf("%w: node %s is only a %s of the grid: name the node itself", ErrWrongNode, i.Node, i.membership.Role)
	}
	return nil
}

// Split takes the pin off an address such as https://host:4611#PIN. Without one it
// returns a nil configuration: the system's authorities decide.
func Split(address string) (rest string, config *tls.Config, err error) {
	rest, text, pinned := strings.Cut(address, "#")
	if !pinned {
		return rest, nil, nil
	}
	if !strings.HasPrefix(rest, "https://") {
		return rest, nil, errors.New("only https:// addresses have a # with a grid or node behind it")
	}
	p, err := ParsePin(text)
	if err != nil {
		return rest, nil, err
	}
	return rest, p.TLS(), nil
}
