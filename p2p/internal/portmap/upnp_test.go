package portmap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

const testService = "urn:schemas-upnp-org:service:WANIPConnection:1"

const testDescription = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceList><device>
<serviceList><service><serviceType>urn:other</serviceType><controlURL>/other</controlURL></service>
<service><serviceType> ` + testService + ` </serviceType><controlURL>control</controlURL></service></serviceList>
</device></deviceList></device></root>`

func envelope(body string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` + body + `</s:Body></s:Envelope>`
}

const testRefusal = `<s:Fault><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">
<errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported</errorDescription></UPnPError></detail></s:Fault>`

// serveDevice serves what handle writes, on loopback.
func serveDevice(t *testing.T, handle http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	location, err := url.Parse(server.URL + "/somewhere/device.xml")
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// A device is spoken with as its description says. One that knows permanent mappings
// only gets permanent ones.
func TestUPnP(t *testing.T) {
	var asked []string
	location := serveDevice(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		action := strings.TrimPrefix(strings.Trim(r.Header.Get("SOAPAction"), `"`), testService+"#")
		asked = append(asked, r.URL.Path+" "+action)
		switch action {
		case "":
			io.WriteString(w, testDescription)
		case "GetExternalIPAddress":
			io.WriteString(w, envelope(`<u:GetExternalIPAddressResponse xmlns:u="x"><NewExternalIPAddress>11.77.0.3</NewExternalIPAddress></u:GetExternalIPAddressResponse>`))
		case "AddPortMapping":
			if !bytes.Contains(body, []byte("<NewLeaseDuration>0</NewLeaseDuration>")) {
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, envelope(testRefusal))
				return
			}
			for _, want := range []string{"<NewExternalPort>20000<", "<NewProtocol>UDP<", "<NewInternalPort>4610<", "<NewInternalClient>127.0.0.1<"} {
				if !bytes.Contains(body, []byte(want)) {
					t.Errorf("%s is missing in %s", want, body)
				}
			}
			io.WriteString(w, envelope(`<u:AddPortMappingResponse xmlns:u="x"/>`))
		default:
			io.WriteString(w, envelope(`<u:DeletePortMappingResponse xmlns:u="x"/>`))
		}
	})
	u, err := describe(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	if outside, err := u.external(t.Context()); err != nil || outside != netip.MustParseAddr("11.77.0.3") {
		t.Errorf("outside %v, %v", outside, err)
	}
	p := Port{"udp", 4610}
	if outer, err := u.add(t.Context(), p, 20000); err != nil || outer != 20000 {
		t.Errorf("mapped to %d, %v", outer, err)
	}
	if err := u.remove(t.Context(), p, 20000); err != nil {
		t.Error(err)
	}
	want := "/somewhere/device.xml ,/somewhere/control GetExternalIPAddress,/somewhere/control AddPortMapping,/somewhere/control AddPortMapping,/somewhere/control DeletePortMapping"
	if got := strings.Join(asked, ","); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// Whoever claims to be a device gets bounded memory, bounded time, and sends nobody
// elsewhere.
func TestLies(t *testing.T) {
	elsewhere := serveDevice(t, func(http.ResponseWriter, *http.Request) { t.Error("a device sends its client elsewhere") })
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("<x>"), 1000)); err != nil {
				return
			}
		}
	}
	for name, lie := range map[string]struct {
		handle http.HandlerFunc
		want   error
	}{
		"endless": {endless, ErrTooLong},
		"nested":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("<a>", 50_000)) }, ErrMalformed},
		"garbage": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "\xff\xfe<") }, ErrMalformed},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, ErrMalformed},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.String(), http.StatusFound)
		}, ErrMalformed},
		"control elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.ReplaceAll(testDescription, ">control<", ">http://192.0.2.1/<"))
		}, ErrMalformed},
		"silent": {func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // the server sees the client go when it has read all
			<-r.Context().Done()
		}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			location := serveDevice(t, lie.handle)
			if _, err := exchange(t.Context(), func(ctx context.Context) (*upnp, error) { return describe(ctx, location) }); !errors.Is(err, lie.want) {
				t.Errorf("describe: %v, want %v", err, lie.want)
			}
			if strings.HasPrefix(name, "control") {
				return
			}
			u := &upnp{control: location, service: testService}
			outside, err := exchange(t.Context(), u.external)
			if err == nil {
				t.Errorf("it is outside at %v", outside)
			}
		})
	}
}

// A search answer counts if it leads to who has sent it.
func TestReadSearchAnswer(t *testing.T) {
	sender := netip.MustParseAddr("192.168.77.1")
	answer := func(status, location string) []byte {
		return []byte("HTTP/1.1 " + status + "\r\nLOCATION: " + location + "\r\n\r\n")
	}
	if u, err := readSearchAnswer(answer("200 OK", "http://192.168.77.1:5000/x"), sender); err != nil || u.Host != "192.168.77.1:5000" {
		t.Errorf("an honest one: %v, %v", u, err)
	}
	for _, b := range [][]byte{
		nil, answer("404 Not Found", "http://192.168.77.1/"), answer("200 OK", "http://192.168.77.2/"), answer("200 OK", "http://localhost/"),
		answer("200 OK", "https://192.168.77.1/"), answer("200 OK", "http://u:p@192.168.77.1/"), answer("200 OK", ""), answer("200 OK", "file:///etc/passwd"),
	} {
		if u, err := readSearchAnswer(b, sender); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q leads to %v, %v", b, u, err)
		}
	}
}

func FuzzReadSearchAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.77.1:5000/x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sender := netip.MustParseAddr("192.168.77.1")
		if u, err := readSearchAnswer(b, sender); err == nil && (u.Scheme != "http" || u.Hostname() != sender.String()) {
			t.Errorf("%q leads to %v", b, u)
		}
	})
}

func FuzzReadDescription(f *testing.F) {
	f.Add([]byte(testDescription))
	location := &url.URL{Scheme: "http", Host: "192.168.77.1:5000", Path: "/device.xml"}
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := readDescription(b, location); err == nil && (u.control.Scheme != "http" || u.control.Hostname() != "192.168.77.1") {
			t.Errorf("%q leads to %v", b, u.control)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(envelope(testRefusal)), 500)
	f.Add([]byte(envelope(`<GetExternalIPAddressResponse><NewExternalIPAddress>11.77.0.3</NewExternalIPAddress></GetExternalIPAddressResponse>`)), 200)
	f.Fuzz(func(t *testing.T, b []byte, status int) {
		a, err := readAnswer(b, status)
		if err == nil && (status != http.StatusOK || a.Code != 0) {
			t.Errorf("status %d, answer %+v is taken for consent", status, a)
		}
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrRefused) {
			t.Errorf("error %v has no name", err)
		}
	})
}

// The search on a machine without a router ends in time.
func TestFindEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended, stop := context.WithCancel(ctx)
	stop()
	if r, err := find(ended); err == nil {
		t.Errorf("found %v", r)
	}
	if ctx.Err() != nil {
		t.Error("it took a minute")
	}
}
