package rpc_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/dugnad/dugnad/p2p"
	"github.com/dugnad/dugnad/p2p/p2ptest"
	"github.com/dugnad/dugnad/p2p/rpc"
)

// waitMax bounds every wait for something that must come.
const waitMax = 2 * time.Minute

func TestMain(m *testing.M) {
	if address := os.Getenv(childVariable); address != "" {
		if err := childMain(context.Background(), address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var errOdd = &rpc.Fault{Code: "odd", Text: "the number is odd"}

// probe is what the methods of a test tell it.
type probe struct {
	started chan string
	ended   chan error
	release chan struct{}
}

func newProbe() *probe {
	return &probe{make(chan string, 4096), make(chan error, 4096), make(chan struct{})}
}

// methods is a table in which each method shows one thing.
func (p *probe) methods() []rpc.Method {
	const small, large = 1 << 10, 4 << 20
	call := func(name string, allow p2p.Role, requestMax, responseMax int, h func(context.Context, rpc.Request) ([]byte, error)) rpc.Method {
		return rpc.Method{Name: name, Allow: allow, RequestBytesMax: requestMax, ResponseBytesMax: responseMax, Handler: h}
	}
	watch := func(name string, responseMax int, w func(context.Context, rpc.Request, func([]byte) error) error) rpc.Method {
		return rpc.Method{Name: name, Allow: p2p.RoleClient, RequestBytesMax: small, ResponseBytesMax: responseMax, Watch: w}
	}
	return []rpc.Method{
		call("echo", p2p.RoleClient, large, large, func(_ context.Context, r rpc.Request) ([]byte, error) { return r.Body, nil }),
		call("admin", p2p.RoleAdmin, small, small, func(_ context.Context, r rpc.Request) ([]byte, error) {
			return fmt.Appendf(nil, "%s %d %s", r.From, r.Role, r.Method), nil
		}),
		call("odd", p2p.RoleClient, small, small, func(context.Context, rpc.Request) ([]byte, error) {
			return nil, fmt.Errorf("look at 3: %w", errOdd)
		}),
		call("plain", p2p.RoleClient, small, small, func(context.Context, rpc.Request) ([]byte, error) {
			return nil, errors.New(strings.Repeat("é", rpc.TextBytesMax))
		}),
		call("panic", p2p.RoleClient, small, small, func(context.Context, rpc.Request) ([]byte, error) { panic("at the disco") }),
		call("exit", p2p.RoleClient, small, small, func(context.Context, rpc.Request) ([]byte, error) {
			runtime.Goexit()
			return nil, nil
		}),
		call("fat", p2p.RoleClient, small, small, func(context.Context, rpc.Request) ([]byte, error) { return make([]byte, small+1), nil }),
		call("block", p2p.RoleClient, small, small, func(ctx context.Context, r rpc.Request) ([]byte, error) {
			p.started <- string(r.Body)
			select {
			case <-p.release:
				return r.Body, nil
			case <-ctx.Done():
				p.ended <- ctx.Err()
				return nil, ctx.Err()
			}
		}),
		watch("count", large, func(_ context.Context, r rpc.Request, send func([]byte) error) error {
			for i := range 1000 {
				if err := send(fmt.Appendf(nil, "%s%d", r.Body, i)); err != nil {
					return err
				}
			}
			return nil
		}),
		watch("large", large, func(_ context.Context, _ rpc.Request, send func([]byte) error) error {
			message := make([]byte, large)
			for i := range 4 {
				for j := range message {
					message[j] = byte(i)
				}
				if err := send(message); err != nil {
					return err
				}
			}
			return errOdd
		}),
		watch("overflow", small, func(_ context.Context, _ rpc.Request, send func([]byte) error) error {
			return send(make([]byte, small+1))
		}),
		watch("flood", large, func(ctx context.Context, _ rpc.Request, send func([]byte) error) error {
			for i := 0; ; i++ {
				if err := send(make([]byte, 1000)); err != nil {
					p.ended <- err
					return err
				}
				p.started <- ""
			}
		}),
	}
}

// open opens an endpoint on a network, and closes it when the test ends.
func open(t testing.TB, n p2p.Network, methods []rpc.Method, change ...func(*rpc.Config)) *rpc.Endpoint {
	t.Helper()
	c := rpc.Default()
	c.Network, c.Methods, c.Registerer = n, methods, prometheus.NewPedanticRegistry()
	for _, f := range change {
		f(&c)
	}
	e, err := rpc.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// memory returns a network with a client c and an admin a.
func memory(t testing.TB, c p2ptest.Config) (n *p2ptest.Network, client, admin *p2ptest.Node) {
	n = p2ptest.New(t, c)
	return n, n.Add("c", p2p.RoleClient), n.Add("a", p2p.RoleAdmin)
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(waitMax):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// want fails the test unless the error is every one of the targets.
func want(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("got %v, want %v", err, target)
		}
	}
}

func pattern(n int) []byte {
	out := bytes.Repeat([]byte("dugnad on the quay, "), n/20+1)[:n]
	for i := 0; i < n; i += 251 {
		out[i] = byte(i * 7)
	}
	return out
}

func value(r prometheus.Gatherer, name string, labels ...string) float64 {
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			matches := true
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				matches = matches && found
			}
			if matches {
				sum += cmp.Or(m.GetCounter().GetValue(), m.GetGauge().GetValue())
			}
		}
	}
	return sum
}
