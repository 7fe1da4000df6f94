package httpd

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// RequestsPerSecondDefault is how many requests an address, and a token, may make per
	// second, in the long run, at a port that is not on loopback. At once it may make so
	// many as in rateBurst.
	RequestsPerSecondDefault = 200
	rateBurst                = 2 * time.Second
	// clientsMax bounds the clients whose requests are counted; beyond, whoever has
	// asked least recently is forgotten, and could ask as often as a new one.
	clientsMax = 16_384
	// prefixBits is how much of an IPv6 address is one client: what a provider gives to
	// one line.
	prefixBits = 64
)

// rates count the requests of each client.
type rates struct {
	every rate.Limit
	burst int

	mu      sync.Mutex
	clients map[string]*list.Element
	// order has the clients, who has asked last first.
	order *list.List
}

// counted is a client.
type counted struct {
	key   string
	quota *rate.Limiter
}

func newRates(perSecond float64) *rates {
	if perSecond <= 0 {
		perSecond = RequestsPerSecondDefault
	}
	burst := max(1, int(perSecond*rateBurst.Seconds()))
	return &rates{every: rate.Limit(perSecond), burst: burst, clients: map[string]*list.Element{}, order: list.New()}
}

// wait counts a request, and returns 0, or does not, and returns after how long it may
// come again.
func (r *rates) wait(key string, now time.Time) time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reserved := r.of(key).ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// charge counts a request that was made, also one too many.
func (r *rates) charge(key string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(key).ReserveN(now, 1)
}

// ahead returns after how long the next request could be counted, and counts none.
func (r *rates) ahead(key string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.clients[key]
	if !ok {
		return 0
	}
	missing := 1 - e.Value.(*counted).quota.TokensAt(now)
	return max(0, time.Duration(missing/float64(r.every)*float64(time.Second)))
}

// of returns what counts the requests of a client. r.mu is held.
func (r *rates) of(key string) *rate.Limiter {
	e, ok := r.clients[key]
	if ok {
		r.order.MoveToFront(e)
		return e.Value.(*counted).quota
	}
	if r.order.Len() >= clientsMax {
		delete(r.clients, r.order.Remove(r.order.Back()).(*counted).key)
	}
	quota := rate.NewLimiter(r.every, r.burst)
	r.clients[key] = r.order.PushFront(&counted{key, quota})
	return quota
}

// addressKey names the client at an address.
func addressKey(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := a.Addr().Unmap().WithZone("")
	if p, err := ip.Prefix(prefixBits); err == nil && ip.Is6() {
		return p.String()
	}
	return ip.String()
}
