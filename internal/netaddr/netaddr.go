// Package netaddr says what an IP address means for who can reach it. It asks no
// network.
package netaddr

import "net/netip"

// carrierNAT is what providers give to customers behind their NAT (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// Private reports whether the internet does not route an address: private,
// loopback, link-local, or of a provider's NAT. The zero Addr is not one.
func Private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || carrierNAT.Contains(a)
}

// Loopback reports whether text is an address that only its own host reaches. A
// name, or nothing, is not one.
func Loopback(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.IsLoopback()
}

// Wildcard reports whether something bound to text listens on all addresses of
// its host; nothing means that, too.
func Wildcard(text string) bool {
	a, err := netip.ParseAddr(text)
	return text == "" || err == nil && a.IsUnspecified()
}

// Dialable is where something bound to text answers on its own host: 127.0.0.1 for
// a wildcard, else text.
func Dialable(text string) string {
	if Wildcard(text) {
		return "127.0.0.1"
	}
	return text
}
