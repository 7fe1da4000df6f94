package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"github.com/dugnad/dugnad/node/certificate"
	"github.com/dugnad/dugnad/node/httpd"
	"github.com/dugnad/dugnad/p2p/content"
)

// ErrCertificateHalf is returned by Open when one of Config.APICert and APIKey is set
// without the other.
var ErrCertificateHalf = errors.New("a certificate and its key come together")

// openPort answers the API on a port, when there is to be one.
func (n *Node) openPort(ctx context.Context) error {
	if n.config.APIListen == "" {
		return nil
	}
	c := httpd.ServerConfig{
		Listen: n.config.APIListen, Handler: withUI(n.api), Gated: true, Origins: n.config.APIOrigins, RequestsPerSecond: n.config.APIRate,
		ObjectBytesMax: n.objectBytesMax(), Audit: n.audit, Log: n.log, Registerer: n.registry, Down: n.link.Down, Up: n.link.Up,
	}
	var err error
	if c.Certificate, err = n.certificate(); err != nil {
		return err
	}
	n.config.alter(&c)
	if n.httpd, err = httpd.Open(ctx, c); err != nil {
		return err
	}
	if at, err := netip.ParseAddrPort(n.httpd.Addr()); err == nil {
		n.apiPort.Store(&at)
	}
	return nil
}

// certificate returns the operator's certificate, or the node's own where there must
// be one, and nil for none.
func (n *Node) certificate() (httpd.Certificate, error) {
	if n.config.APICert != "" || n.config.APIKey != "" {
		if n.config.APICert == "" || n.config.APIKey == "" {
			return nil, ErrCertificateHalf
		}
		own, err := certificate.OpenFiles(n.config.APICert, n.config.APIKey, n.log)
		if err != nil {
			return nil, err
		}
		n.apiScheme = "https://"
		return own.Get, nil
	}
	n.apiScheme = "http://"
	loopback, err := httpd.Loopback(n.config.APIListen)
	if err != nil || loopback && !n.config.APITLS {
		return nil, err
	}
	host, _, err := net.SplitHostPort(n.config.APIListen)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = net.IPv6unspecified.String()
	}
	names := []string{host}
	for _, name := range n.apiNames() {
		if alone, _, err := net.SplitHostPort(name); err == nil {
			name = alone
		}
		names = append(names, name)
	}
	made, err := certificate.Open(n.config.Dir, n.host, names)
	if err != nil {
		return nil, err
	}
	n.apiScheme, n.apiPin, n.apiFingerprint = "https://", "#"+n.host.Grid().String(), made.Fingerprint()
	return made.Get, nil
}

// objectBytesMax bounds an object as the node's store does.
func (n *Node) objectBytesMax() int64 {
	most := content.Default("").ObjectBytesMax
	if n.config.DiskBytes > 0 {
		most = min(most, n.config.DiskBytes)
	}
	return most
}

// APIURL returns where the API is answered, as a client takes it; empty when only on
// the operator's socket. The public key behind it is that of the node's own
// certificate, empty for another or none.
func (n *Node) APIURL() (url, fingerprint string) {
	if n.httpd == nil {
		return "", ""
	}
	host, port, err := net.SplitHostPort(n.httpd.Addr())
	if err != nil {
		return "", ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return n.apiScheme + net.JoinHostPort(host, port) + n.apiPin, n.apiFingerprint
}
