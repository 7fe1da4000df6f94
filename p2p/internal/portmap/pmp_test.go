package portmap

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestReadPMP(t *testing.T) {
	external := []byte{0, 128, 0, 0, 0, 0, 0, 1, 11, 77, 0, 3}
	mapping := []byte{0, 129, 0, 0, 0, 0, 0, 1, 18, 2, 78, 32, 0, 0, 2, 88}
	for _, c := range []struct {
		b         []byte
		operation byte
		want      error
	}{
		{external, pmpExternal, nil},
		{mapping, pmpUDP, nil},
		{mapping, pmpTCP, ErrMalformed},
		{external, pmpUDP, ErrMalformed},
		{external[:11], pmpExternal, ErrMalformed},
		{mapping[:12], pmpUDP, ErrMalformed},
		{append([]byte{1}, mapping[1:]...), pmpUDP, ErrMalformed},
		{nil, pmpExternal, ErrMalformed},
		{[]byte{0, 129, 0, 2, 0, 0, 0, 1}, pmpUDP, ErrRefused},
		{append(mapping, 0), pmpUDP, ErrTooLong},
	} {
		if err := readPMP(c.b, c.operation); !errors.Is(err, c.want) || err == nil && c.want != nil {
			t.Errorf("%x: %v, want %v", c.b, err, c.want)
		}
	}
}

func FuzzReadPMP(f *testing.F) {
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 11, 77, 0, 3}, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, operation byte) {
		if readPMP(b, operation%3) == nil && (len(b) < 12 || len(b) > pmpBytesMax || binary.BigEndian.Uint16(b[2:]) != 0) {
			t.Errorf("%x is taken for consent", b)
		}
	})
}

func TestReadRoutes(t *testing.T) {
	table := "Iface Destination Gateway Flags\neth0 004DA8C0 00000000 0001\neth0 00000000 014DA8C0 0003\n"
	if a, err := readRoutes(strings.NewReader(table)); err != nil || a != netip.MustParseAddr("192.168.77.1") {
		t.Errorf("the gateway is %v, %v", a, err)
	}
	for _, none := range []string{"", "eth0 00000000 0101A811 0003", "eth0 00000000", "eth0 00000000 xyz 0003"} {
		if a, err := readRoutes(strings.NewReader(none)); err == nil {
			t.Errorf("%q has the gateway %v", none, a)
		}
	}
}
