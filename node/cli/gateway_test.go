package cli

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// gatewayVariable makes the test binary an Internet Gateway Device of UPnP, for a
// router of the tests: its value is "honest", or how it lies.
const gatewayVariable = "DUGNAD_TEST_GATEWAY"

const gatewayService = "urn:schemas-upnp-org:service:WANIPConnection:1"

// gateway is the device. What it maps it puts into the maps of the router's nft.
type gateway struct{ outside, lies string }

// runGateway serves on the router's interface "lan" until it is killed.
func runGateway(lies string) error {
	lan, err := net.InterfaceByName("lan")
	if err != nil {
		return err
	}
	eth, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	addresses, err := eth.Addrs()
	if err != nil {
		return err
	}
	outside, _, _ := strings.Cut(addresses[0].String(), "/")
	g := &gateway{outside, lies}
	served := make(chan error, 1)
	go func() { served <- http.ListenAndServe("192.168.77.1:5000", g) }()
	conn, err := net.ListenMulticastUDP("udp4", lan, &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900})
	if err != nil {
		return err
	}
	fmt.Println("the gateway is up")
	go func() { served <- g.answerSearches(conn) }()
	return <-served
}

func (g *gateway) answerSearches(conn *net.UDPConn) error {
	for b := make([]byte, 2048); ; {
		n, from, err := conn.ReadFromUDP(b)
		if err != nil {
			return err
		}
		target := "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
		if !bytes.HasPrefix(b[:n], []byte("M-SEARCH ")) || !bytes.Contains(b[:n], []byte(target)) {
			continue
		}
		answer := "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\nST: " + target +
			"\r\nUSN: uuid:1::" + target + "\r\nLOCATION: http://192.168.77.1:5000/device.xml\r\n\r\n"
		if g.lies == "garbage" {
			answer = strings.Repeat("\xff", 1400)
		}
		if _, err := conn.WriteToUDP([]byte(answer), from); err != nil {
			return err
		}
	}
}

// ServeHTTP describes the device and does what it is told.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		return
	}
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPAction"), `"`), "#")
	fmt.Printf("%s %s %s\n", r.Method, r.URL.Path, action)
	switch {
	case g.lies == "endless", g.lies == "endless answers" && action != "":
		for chunk := bytes.Repeat([]byte("<x>"), 1<<12); ; {
			if _, err := w.Write(chunk); err != nil {
				fmt.Println("the client has had enough")
				return
			}
		}
	case g.lies == "silent answers" && action != "":
		<-r.Context().Done()
		fmt.Println("the client has had enough")
	case action == "":
		fmt.Fprintf(w, `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device><deviceList><device>
<serviceList><service><serviceType>%s</serviceType><controlURL>/control</controlURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>`, gatewayService)
	default:
		g.act(w, action, body)
	}
}

func (g *gateway) act(w http.ResponseWriter, action string, body []byte) {
	var a struct {
		Outer    string `xml:"Body>AddPortMapping>NewExternalPort"`
		Protocol string `xml:"Body>AddPortMapping>NewProtocol"`
		Inner    string `xml:"Body>AddPortMapping>NewInternalPort"`
		Client   string `xml:"Body>AddPortMapping>NewInternalClient"`
		Lease    string `xml:"Body>AddPortMapping>NewLeaseDuration"`
		Gone     string `xml:"Body>DeletePortMapping>NewExternalPort"`
		GoneFrom string `xml:"Body>DeletePortMapping>NewProtocol"`
	}
	err := xml.Unmarshal(body, &a)
	result := ""
	switch action {
	case "GetExternalIPAddress":
		result = "<NewExternalIPAddress>" + g.outside + "</NewExternalIPAddress>"
	case "AddPortMapping":
		// What is there already is deleted, so that its lease begins anew.
		_ = exec.Command("nft", "delete element ip nat "+strings.ToLower(a.Protocol)+"_ports { "+a.Outer+" }").Run()
		err = nft(fmt.Sprintf("add element ip nat %s_ports { %s timeout %ss : %s . %s }", strings.ToLower(a.Protocol), a.Outer, a.Lease, a.Client, a.Inner))
	case "DeletePortMapping":
		err = nft(fmt.Sprintf("delete element ip nat %s_ports { %s }", strings.ToLower(a.GoneFrom), a.Gone))
	default:
		err = fmt.Errorf("%s is unknown", action)
	}
	if err != nil {
		fmt.Println(err)
		w.WriteHeader(http.StatusInternalServerError)
		result = "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>" +
			`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>501</errorCode></UPnPError></detail></s:Fault>`
	} else {
		result = fmt.Sprintf(`<u:%sResponse xmlns:u="%s">%s</u:%sResponse>`, action, gatewayService, result, action)
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>`, result)
}

func nft(command string) error {
	if out, err := exec.Command("nft", command).CombinedOutput(); err != nil {
		return fmt.Errorf("nft %s: %w: %s", command, err, bytes.TrimSpace(out))
	}
	return nil
}

// gateway starts the device on a router. It returns what it writes.
func (n *network) gateway(router, lies string) *nodeProcess {
	n.t.Helper()
	n.rules(router, "the kernel maps no ports", `table ip nat {
	map tcp_ports { type inet_service : ipv4_addr . inet_service; flags timeout; }
	map udp_ports { type inet_service : ipv4_addr . inet_service; flags timeout; }
	chain mapped {
		type nat hook prerouting priority dstnat
		iifname "eth0" dnat ip to tcp dport map @tcp_ports
		iifname "eth0" dnat ip to udp dport map @udp_ports
	}
}`)
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	argv := append(n.wrapper(router), self)
	g := &nodeProcess{dir: router, out: &transcript{}, errOut: &transcript{}, ended: make(chan struct{})}
	g.cmd = exec.Command(argv[0], argv[1:]...)
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), gatewayVariable + "=" + lies}
	g.cmd.Stdout, g.cmd.Stderr = g.out, g.errOut
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait()
	}()
	n.t.Cleanup(func() {
		_ = g.cmd.Process.Kill()
		<-g.ended
		if n.t.Failed() {
			said, _ := g.out.read()
			problems, _ := g.errOut.read()
			n.t.Logf("%s wrote:\n%s%s", router, said, problems)
		}
	})
	g.await(n.t, g.out, 0, "the gateway is up")
	return g
}

// mapped returns what a router maps.
func (n *network) mapped(router string) string {
	n.t.Helper()
	var all []string
	for _, protocol := range []string{"tcp", "udp"} {
		argv := append(n.wrapper(router), "nft", "list map ip nat "+protocol+"_ports")
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			n.t.Fatalf("list what %s maps: %v: %s", router, err, out)
		}
		if _, elements, ok := strings.Cut(string(out), "elements = "); ok {
			all = append(all, protocol+" "+strings.Join(strings.Fields(strings.TrimRight(elements, "}\n\t ")), " "))
		}
	}
	return strings.Join(all, "; ")
}
