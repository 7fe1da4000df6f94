package portmap

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
)

// router maps ports. Only one goroutine at a time uses it.
type router interface {
	// external returns the router's address outside.
	external(ctx context.Context) (netip.Addr, error)
	// inner is this machine's address, as the router sees it.
	inner() netip.Addr
	// add maps an outer port, and returns the one that it got.
	add(ctx context.Context, p Port, outer uint16) (uint16, error)
	remove(ctx context.Context, p Port, outer uint16) error
	// String names the router and how it is spoken with.
	String() string
}

// mapPort maps a port to the outer port that it had, or else to one that follows from
// this machine's address: the same after a restart, another one on other machines.
func mapPort(ctx context.Context, r router, p Port, before uint16) (uint16, error) {
	var last error
	for try := range portTries {
		want := before
		if try > 0 || before == 0 {
			want = outerPort(r.inner(), p.Number, try)
		}
		outer, err := exchange(ctx, func(ctx context.Context) (uint16, error) { return r.add(ctx, p, want) })
		if err == nil && outer != 0 {
			return outer, nil
		}
		if last = err; !errors.Is(err, ErrRefused) {
			break
		}
	}
	if last == nil {
		last = fmt.Errorf("%w: port 0", ErrMalformed)
	}
	return 0, last
}

// outerPort returns a port above those that programs commonly choose.
func outerPort(inner netip.Addr, number uint16, try int) uint16 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %d %d", inner, number, try)
	return uint16(10000 + h.Sum32()%50000)
}

// exchange bounds one question to the router.
func exchange[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return ask(ctx)
}

// public says whether an address can be one outside: a router behind another one has
// none.
func public(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10")
	return a.Is4() && a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// find looks for a router: UPnP and NAT-PMP at the same time, UPnP if both answer.
func find(ctx context.Context) (router, error) {
	type answer struct {
		router router
		err    error
	}
	pmp := make(chan answer, 1)
	go func() {
		r, err := findPMP(ctx)
		pmp <- answer{r, err}
	}()
	r, err := findUPnP(ctx)
	other := <-pmp
	switch {
	case err == nil:
		return r, nil
	case other.err == nil:
		return other.router, nil
	default:
		return nil, errors.Join(err, other.err)
	}
}
