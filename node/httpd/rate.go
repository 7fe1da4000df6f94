package httpd

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// RequestsPerSecondDefault is how many requests a client of a port that is not on
	// loopback may make per second, in the long run. At once it may make so many as in
	// rateBurst.
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
	e, ok := r.clients[key]
	if ok {
		r.order.MoveToFront(e)
	} else {
		if r.order.Len() >= clientsMax {
			last := r.order.Back()
			delete(r.clients, r.order.Remove(last).(*counted).key)
		}
		e = r.order.PushFront(&counted{key, rate.NewLimiter(r.every, r.burst)})
		r.clients[key] = e
	}
	reserved := e.Value.(*counted).quota.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
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
