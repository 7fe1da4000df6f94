package portmap

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

const (
	// pmpPort is where routers hear NAT-PMP, pmpFirst the wait for the first answer,
	// which doubles.
	pmpPort  = 5351
	pmpFirst = 250 * time.Millisecond
	// pmpBytesMax bounds an answer, routesBytesMax the system's table of routes.
	pmpBytesMax    = 16
	routesBytesMax = 1 << 20
	// The operations: an answer has 128 added.
	pmpExternal, pmpUDP, pmpTCP = 0, 1, 2
	pmpAnswer                   = 128
)

// pmp is a router that speaks NAT-PMP.
type pmp struct{ gateway, local netip.Addr }

// findPMP asks the default gateway.
func findPMP(ctx context.Context) (router, error) {
	gateway, err := defaultGateway()
	if err != nil {
		return nil, fmt.Errorf("NAT-PMP: %w", err)
	}
	r := &pmp{gateway: gateway}
	if _, err := exchange(ctx, r.external); err != nil {
		return nil, fmt.Errorf("NAT-PMP: %w: %w", errNoRouter, err)
	}
	return r, nil
}

// defaultGateway reads Linux's table of routes: elsewhere there is none to read, and
// UPnP is all that is tried.
func defaultGateway() (netip.Addr, error) {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the default gateway: %w", err)
	}
	defer f.Close()
	return readRoutes(io.LimitReader(f, routesBytesMax))
}

// readRoutes finds the default gateway among the lines of the table: interface,
// destination and gateway, in hexadecimal, the last byte first.
func readRoutes(r io.Reader) (netip.Addr, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[1] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(fields[2])
		if err != nil || len(b) != 4 {
			continue
		}
		if a := netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}); a.IsPrivate() {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("there is no private default gateway")
}

// ask sends a question until it is answered.
func (r *pmp) ask(ctx context.Context, question []byte) ([]byte, error) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.gateway, pmpPort)))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is written any more
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	r.local = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	answer := make([]byte, pmpBytesMax+1)
	for wait := pmpFirst; ctx.Err() == nil; wait *= 2 {
		if _, err := conn.Write(question); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, err
		}
		n, err := conn.Read(answer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return answer[:n], readPMP(answer[:n], question[1])
	}
	return nil, ctx.Err()
}

// readPMP checks an answer.
func readPMP(b []byte, operation byte) error {
	size := 16
	if operation == pmpExternal {
		size = 12
	}
	switch {
	case len(b) > pmpBytesMax:
		return fmt.Errorf("%w: the limit is %d bytes", ErrTooLong, pmpBytesMax)
	case len(b) < 4 || b[0] != 0 || b[1] != pmpAnswer+operation:
		return fmt.Errorf("%w: %x", ErrMalformed, b)
	case binary.BigEndian.Uint16(b[2:]) != 0:
		return fmt.Errorf("%w: result %d", ErrRefused, binary.BigEndian.Uint16(b[2:]))
	case len(b) != size:
		return fmt.Errorf("%w: %x", ErrMalformed, b)
	}
	return nil
}

func (r *pmp) external(ctx context.Context) (netip.Addr, error) {
	b, err := r.ask(ctx, []byte{0, pmpExternal})
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4([4]byte(b[8:12])), nil
}

func (r *pmp) inner() netip.Addr { return r.local }

func (r *pmp) add(ctx context.Context, p Port, outer uint16) (uint16, error) {
	return r.change(ctx, p, outer, uint32(Life.Seconds()))
}

func (r *pmp) remove(ctx context.Context, p Port, _ uint16) error {
	_, err := r.change(ctx, p, 0, 0)
	return err
}

func (r *pmp) change(ctx context.Context, p Port, outer uint16, seconds uint32) (uint16, error) {
	operation := byte(pmpTCP)
	if p.Protocol == "udp" {
		operation = pmpUDP
	}
	question := []byte{0, operation, 0, 0}
	question = binary.BigEndian.AppendUint16(question, p.Number)
	question = binary.BigEndian.AppendUint16(question, outer)
	question = binary.BigEndian.AppendUint32(question, seconds)
	b, err := r.ask(ctx, question)
	if err != nil {
		return 0, err
	}
	if got := binary.BigEndian.Uint16(b[8:]); got != p.Number {
		return 0, fmt.Errorf("%w: port %d was asked for, %d is answered", ErrMalformed, p.Number, got)
	}
	return binary.BigEndian.Uint16(b[10:]), nil
}

func (r *pmp) String() string { return "NAT-PMP at " + r.gateway.String() }
