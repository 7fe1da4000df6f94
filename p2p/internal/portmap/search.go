package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const (
	// searchGroup is where devices listen, searchWait how long they may take.
	searchGroup = "239.255.255.250:1900"
	searchWait  = 2 * time.Second
	// searchesMax bounds the local addresses from which devices are looked for,
	// devicesMax those that are looked at of the devices that have answered.
	searchesMax = 8
	devicesMax  = 4
	// searchBytesMax bounds an answer to the search.
	searchBytesMax = 2048
)

// targets are what is searched for.
var targets = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// findUPnP returns the first device that answers with a service that maps ports.
func findUPnP(ctx context.Context) (router, error) {
	locations, err := searchDevices(ctx)
	errs := []error{err}
	for _, location := range locations {
		r, err := exchange(ctx, func(ctx context.Context) (*upnp, error) { return describe(ctx, location) })
		if err == nil {
			return r, nil
		}
		errs = append(errs, fmt.Errorf("device at %s: %w", location.Host, err))
	}
	return nil, errors.Join(append(errs, fmt.Errorf("UPnP: %w", errNoRouter))...)
}

// searchDevices asks the local network for devices, and returns where they describe
// themselves.
func searchDevices(ctx context.Context) ([]*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, searchWait)
	defer cancel()
	addresses, err := localAddresses()
	if err != nil {
		return nil, err
	}
	found := make(chan *url.URL, devicesMax*len(addresses))
	ended := make(chan error, len(addresses))
	for _, a := range addresses {
		go func() { ended <- searchFrom(ctx, a, found) }()
	}
	var errs []error
	for range addresses {
		errs = append(errs, <-ended)
	}
	close(found)
	var out []*url.URL
	seen := map[string]bool{}
	for u := range found {
		if !seen[u.String()] && len(out) < devicesMax {
			seen[u.String()] = true
			out = append(out, u)
		}
	}
	return out, errors.Join(errs...)
}

// localAddresses returns the private IPv4 addresses of this machine: what has none is
// behind no router.
func localAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && prefix.Addr().IsPrivate() && len(out) < searchesMax {
			out = append(out, prefix.Addr())
		}
	}
	return out, nil
}

// searchFrom asks from one address, and collects answers until ctx ends or there are
// enough.
func searchFrom(ctx context.Context, from netip.Addr, found chan<- *url.URL) error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return fmt.Errorf("search for devices: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is written any more
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	group := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(searchGroup))
	for _, target := range append(targets, services...) {
		question := "M-SEARCH * HTTP/1.1\r\nHOST: " + searchGroup + "\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + target + "\r\n\r\n"
		for range 2 { // either may be lost
			if _, err := conn.WriteToUDP([]byte(question), group); err != nil {
				return fmt.Errorf("search for devices: %w", err)
			}
		}
	}
	buffer := make([]byte, searchBytesMax)
	seen := map[string]bool{}
	for len(seen) < devicesMax {
		n, sender, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return nil // time is up
		}
		location, err := readSearchAnswer(buffer[:n], sender.Addr().Unmap())
		if err != nil || seen[location.String()] {
			continue
		}
		seen[location.String()] = true
		found <- location
	}
	return nil
}

// readSearchAnswer returns where a device describes itself: that must be at the
// address that it has answered from.
func readSearchAnswer(b []byte, sender netip.Addr) (*url.URL, error) {
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	answer.Body.Close()
	location, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	host, err := netip.ParseAddr(location.Hostname())
	if answer.StatusCode != http.StatusOK || err != nil || location.Scheme != "http" || host != sender || location.User != nil {
		return nil, fmt.Errorf("%w: %s answers with %q", ErrMalformed, sender, location.Redacted())
	}
	return location, nil
}
