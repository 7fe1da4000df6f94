package p2p

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// startMDNS finds members on the local network. Grids do not see one another: the
// name of the service comes from the grid's key.
func (h *Host) startMDNS() error {
	if !h.cfg.MDNS {
		return nil
	}
	service := mdns.NewMdnsService(h.libp2p, "_dugnad-"+h.grid.prefix()+"._udp", finder{h})
	if err := service.Start(); err != nil {
		return err
	}
	h.closeMDNS = service.Close
	return nil
}

func (h *Host) stopMDNS() {
	if h.closeMDNS != nil {
		_ = h.closeMDNS() // it always returns nil
	}
}

// finder feeds the list of members from local discovery.
type finder struct{ h *Host }

// HandlePeerFound is called for each answer on the local network.
func (f finder) HandlePeerFound(info peer.AddrInfo) {
	if f.h.book.hear(info.ID, f.h.dialable(info.Addrs)) {
		signal(f.h.lonely)
	}
}
