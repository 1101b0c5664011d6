package cloudapi

import (
	"errors"
	"net/netip"
	"syscall"
)

// errAddress is a link that leads where links may not lead.
var errAddress = errors.New("the link leads to an address that is not public")

// notPublic lists what is unicast by form and does not belong to a server on
// the Internet (IANA's special-purpose registries).
func notPublic() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
		netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation
		netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"), // documentation
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved
		netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
		netip.MustParsePrefix("2001:db8::/32"),   // documentation
		netip.MustParsePrefix("2002::/16"),       // 6to4: an IPv4 address inside
		netip.MustParsePrefix("3fff::/20"),       // documentation
	}
}

// guard decides which addresses may be dialled.
type guard struct {
	denied   []netip.Prefix
	global6  netip.Prefix // what IPv6 has handed out so far
	loopback bool         // also allowed
}

func newGuard(loopback bool) *guard {
	return &guard{denied: notPublic(), global6: netip.MustParsePrefix("2000::/3"), loopback: loopback}
}

// allows reports whether addr is a public unicast address.
func (g *guard) allows(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return g.loopback
	}
	if addr.Zone() != "" || !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	if addr.Is6() && !g.global6.Contains(addr) {
		return false
	}
	for _, prefix := range g.denied {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}

// control is a net.Dialer's Control: it sees the address that is really
// dialled, after the name was resolved, so that a name cannot point elsewhere
// the second time it is asked for.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(to.Addr()) {
		return errAddress
	}
	return nil
}
