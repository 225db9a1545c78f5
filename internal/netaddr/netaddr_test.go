package netaddr

import (
	"net/netip"
	"testing"
)

func TestPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"10.0.0.5": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true, "127.0.0.1": true, "169.254.1.1": true,
		"100.64.0.5": true, "100.127.255.255": true, "100.128.0.1": false, "198.51.100.7": false, "8.8.8.8": false,
		"::1": true, "fe80::1": true, "fd00::1": true, "2001:db8::1": false, "::ffff:10.0.0.5": true, "::ffff:100.64.0.5": true,
	} {
		if got := Private(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if Private(netip.Addr{}) {
		t.Error("no address is private")
	}
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		text               string
		loopback, wildcard bool
		dialable           string
	}{
		{"", false, true, "127.0.0.1"},
		{"0.0.0.0", false, true, "127.0.0.1"},
		{"::", false, true, "127.0.0.1"},
		{"127.0.0.1", true, false, "127.0.0.1"},
		{"127.0.1.1", true, false, "127.0.1.1"},
		{"::1", true, false, "::1"},
		{"10.0.0.5", false, false, "10.0.0.5"},
		{"localhost", false, false, "localhost"},
		{"*", false, false, "*"},
	} {
		if got := Dialable(c.text); Loopback(c.text) != c.loopback || Wildcard(c.text) != c.wildcard || got != c.dialable {
			t.Errorf("%q: loopback %t, wildcard %t, dialable %q", c.text, Loopback(c.text), Wildcard(c.text), got)
		}
	}
}
