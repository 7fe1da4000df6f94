package portmap

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// descriptionBytesMax bounds what a device says of itself, answerBytesMax what
	// it answers to one question.
	descriptionBytesMax = 256 << 10
	answerBytesMax      = 32 << 10
	// permanentOnly is the error of devices that know no other mappings.
	permanentOnly = 725
)

// services map ports, the best first.
var services = []string{
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
}

// upnp is a device that maps ports.
type upnp struct {
	control *url.URL
	service string
	local   netip.Addr
}

// client talks to devices: never through a proxy, never where else one is sent.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: answerBytesMax},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// device is what one says of itself, as far as it matters.
type device struct {
	Services []struct {
		Type    string `xml:"serviceType"`
		Control string `xml:"controlURL"`
	} `xml:"serviceList>service"`
	Devices []device `xml:"deviceList>device"`
}

// controls returns the control URLs of a device and those in it, by service.
func (d *device) controls(into map[string]string) map[string]string {
	for _, s := range d.Services {
		if kind := strings.TrimSpace(s.Type); into[kind] == "" {
			into[kind] = strings.TrimSpace(s.Control)
		}
	}
	for i := range d.Devices {
		d.Devices[i].controls(into)
	}
	return into
}

// describe asks a device what it is.
func describe(ctx context.Context, location *url.URL) (*upnp, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	b, _, err := talk(request, descriptionBytesMax)
	if err != nil {
		return nil, err
	}
	r, err := readDescription(b, location)
	if err != nil {
		return nil, err
	}
	// The way to it shows which of this machine's addresses it sees.
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", net.JoinHostPort(location.Hostname(), "1900"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r.local = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return r, nil
}

// readDescription finds the service that maps ports, which must be on the same host.
func readDescription(b []byte, location *url.URL) (*upnp, error) {
	var root struct {
		Device device `xml:"device"`
	}
	if err := xml.Unmarshal(b, &root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	controls := root.Device.controls(map[string]string{})
	for _, service := range services {
		if controls[service] == "" {
			continue
		}
		control, err := location.Parse(controls[service])
		if err != nil || control.Hostname() != location.Hostname() || control.Scheme != "http" || control.User != nil {
			return nil, fmt.Errorf("%w: service at %q", ErrMalformed, controls[service])
		}
		return &upnp{control: control, service: service}, nil
	}
	return nil, fmt.Errorf("%w: no service that maps ports", ErrMalformed)
}

// talk does one exchange and reads the answer, up to limit bytes.
func talk(request *http.Request, limit int64) (body []byte, status int, err error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(b)) > limit {
		return nil, 0, fmt.Errorf("%w: the limit is %d bytes", ErrTooLong, limit)
	}
	return b, answer.StatusCode, nil
}

// argument is one of an action.
type argument struct{ name, value string }

// act has the device do something.
func (u *upnp) act(ctx context.Context, action string, arguments ...argument) (answer, error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, `%s<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:%s xmlns:u="%s">`, xml.Header, action, u.service)
	for _, a := range arguments {
		fmt.Fprintf(&body, "<%s>%s</%s>", a.name, a.value, a.name)
	}
	fmt.Fprintf(&body, `</u:%s></s:Body></s:Envelope>`, action)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.control.String(), &body)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
	request.Header["SOAPACTION"] = []string{`"` + u.service + "#" + action + `"`}
	b, status, err := talk(request, answerBytesMax)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(b, status)
}

// answer is what an action returns, as far as it matters.
type answer struct {
	Outside string `xml:"Body>GetExternalIPAddressResponse>NewExternalIPAddress"`
	Code    int    `xml:"Body>Fault>detail>UPnPError>errorCode"`
	Problem string `xml:"Body>Fault>detail>UPnPError>errorDescription"`
}

// problemTextMax bounds what of the device's words goes into an error.
const problemTextMax = 100

func readAnswer(b []byte, status int) (answer, error) {
	var a answer
	if err := xml.Unmarshal(b, &a); err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if a.Code != 0 || status != http.StatusOK {
		return a, fmt.Errorf("%w: status %d, code %d, %q", ErrRefused, status, a.Code, a.Problem[:min(len(a.Problem), problemTextMax)])
	}
	return a, nil
}

func (u *upnp) external(ctx context.Context) (netip.Addr, error) {
	a, err := u.act(ctx, "GetExternalIPAddress")
	if err != nil {
		return netip.Addr{}, err
	}
	outside, err := netip.ParseAddr(strings.TrimSpace(a.Outside))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return outside, nil
}

func (u *upnp) inner() netip.Addr { return u.local }

func (u *upnp) add(ctx context.Context, p Port, outer uint16) (uint16, error) {
	seconds := int(Life.Seconds())
	a, err := u.addFor(ctx, p, outer, seconds)
	if a.Code == permanentOnly {
		_, err = u.addFor(ctx, p, outer, 0)
	}
	return outer, err
}

func (u *upnp) addFor(ctx context.Context, p Port, outer uint16, seconds int) (answer, error) {
	return u.act(ctx, "AddPortMapping",
		argument{"NewRemoteHost", ""}, argument{"NewExternalPort", strconv.Itoa(int(outer))},
		argument{"NewProtocol", strings.ToUpper(p.Protocol)}, argument{"NewInternalPort", strconv.Itoa(int(p.Number))},
		argument{"NewInternalClient", u.local.String()}, argument{"NewEnabled", "1"},
		argument{"NewPortMappingDescription", "dugnad"}, argument{"NewLeaseDuration", strconv.Itoa(seconds)})
}

func (u *upnp) remove(ctx context.Context, p Port, outer uint16) error {
	_, err := u.act(ctx, "DeletePortMapping", argument{"NewRemoteHost", ""},
		argument{"NewExternalPort", strconv.Itoa(int(outer))}, argument{"NewProtocol", strings.ToUpper(p.Protocol)})
	return err
}

func (u *upnp) String() string { return "UPnP at " + u.control.Host }
