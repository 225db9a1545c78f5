package rtc

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/matrix"
	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
)

// lookAtNames looks where the public names lead and whether they speak TLS.
func (k *verifier) lookAtNames(ctx context.Context) {
	switch k.scope {
	case Deployed:
		k.lookAt(ctx, k.named("sfu"), k.named("auth"))
		return
	case Announced:
		k.lookAt(ctx, k.named("server"))
	default:
		k.lookAt(ctx, k.names...)
	}
	k.findHomeserver(ctx)
	if n := k.named(k.baseName()); n != nil {
		if _, looked := k.link("dns." + n.id); !looked {
			k.lookAt(ctx, n)
		}
	}
}

func (k *verifier) lookAt(ctx context.Context, names ...*name) {
	var dns, certs []linkCheck
	for _, n := range names {
		dns = append(dns, linkCheck{id: "dns." + n.id, name: "the addresses of " + n.host, part: Names,
			do: func(ctx context.Context) result { return k.dns(ctx, n) }})
		certs = append(certs, linkCheck{
			id:   "tls." + n.id,
			name: "HTTPS and the certificate of " + n.host,
			part: Names,
			do:   func(ctx context.Context) result { return k.tls(ctx, n) },
		})
	}
	k.all(ctx, dns...)
	k.all(ctx, certs...)
}

// lookUpTime bounds a look-up of a name.
const lookUpTime = 5 * time.Second

// dns resolves a name as the laptop does. Where that fails, or leads to a machine
// that serves something else, all that follows is looked at from the proxy's host.
func (k *verifier) dns(ctx context.Context, n *name) result {
	lookUp, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	if ip, err := netip.ParseAddr(n.host); err == nil {
		n.addrs = []netip.Addr{ip}
		return good("it is an address")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(lookUp, "ip", n.host)
	if err != nil || len(addrs) == 0 {
		why := "no address"
		if err != nil {
			why = err.Error()
		}
		return bad("name-unknown", WaySide, append([]string{why}, k.reroute(n)...)...)
	}
	var texts []string
	for _, a := range addrs {
		n.addrs = append(n.addrs, a.WithZone("").Unmap())
		texts = append(texts, a.WithZone("").Unmap().String())
	}
	said := n.host + " is " + strings.Join(texts, " and ")
	foreign := k.foreign(n)
	if len(foreign) == 0 {
		return good(said)
	}
	return k.elsewhere(ctx, n, foreign, said)
}

// reroute lets all that follows be looked at from the name's own host, where there
// is one, and says so.
func (k *verifier) reroute(n *name) []string {
	v, ok := k.frontVantage(n)
	if !ok || n.route.name != laptop {
		return nil
	}
	n.route = v
	return []string{"all that follows was looked at from " + v.name}
}

// foreign are a name's addresses that the host which serves it does not hold; none
// where that host, or its addresses, are not known.
func (k *verifier) foreign(n *name) []netip.Addr {
	m := k.seen[n.front]
	if m == nil || m.err != nil || !n.serves {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.addrs), func(a netip.Addr) bool { _, own := m.holds(a); return own })
}

// maybeOutside reports whether an address may be the one that a router before the
// host has: node_ip says so, or nothing is known of the host's public address.
func (k *verifier) maybeOutside(n *name, a netip.Addr) bool {
	if len(k.SFU.Addresses) > 0 && n.front == k.SFU.Host {
		return k.planned(a)
	}
	return !slices.ContainsFunc(k.seen[n.front].addrs, func(h steps.HostAddr) bool {
		ip, err := netip.ParseAddr(h.IP)
		return err == nil && ip.Is4() == a.Is4() && ip.IsGlobalUnicast() && !netaddr.Private(ip)
	})
}

// elsewhere looks who answers at addresses that the proxy's host does not hold: a
// router or a CDN before it, or somebody else. One wrong address of several is
// enough: some clients go there.
func (k *verifier) elsewhere(ctx context.Context, n *name, foreign []netip.Addr, said string) result {
	url := "https://" + net.JoinHostPort(n.host, n.port) + n.path
	ask := func(v vantage) (wrong string, silent bool) {
		resp, _, err := matrix.Get(ctx, k.client(v, k.Roots), url, nil)
		_, untrusted := certificate(err)
		switch {
		case noRoute(err):
			return "", true // this laptop has one family alone
		case err != nil:
			return err.Error(), !untrusted
		case resp.StatusCode != n.status:
			return answers(resp.StatusCode, "it"), false
		}
		return "", false
	}
	var wrong []string
	for _, a := range foreign {
		at := here().to(net.JoinHostPort(a.String(), n.port))
		// A router before the host that does not pass HTTPS on is silent, too.
		if why, silent := ask(at); why != "" && !(silent && k.maybeOutside(n, a)) {
			wrong = append(wrong, a.String()+", no address of "+n.front+", does not serve this site: "+why)
		}
	}
	if len(wrong) == 0 {
		return good(said, "not all of these are addresses of "+n.front+" (NAT, or a CDN)")
	}
	v, ok := k.frontVantage(n)
	if !ok {
		return good(append([]string{said}, wrong...)...)
	}
	if why, _ := ask(v); why != "" {
		return good(append([]string{said, "on " + n.front + " itself: " + why}, wrong...)...) // it is not served there, either: the next links say why
	}
	evidence := append([]string{said}, wrong...)
	return bad("name-elsewhere", WaySide, append(evidence, k.reroute(n)...)...)
}

// findHomeserver finds the base URL of the client-server API as a client does
// (Matrix specification, "Client well-known": else the server name itself), and adds
// its name. It stays "" where nobody says it.
func (k *verifier) findHomeserver(ctx context.Context) {
	if k.Homeserver != nil {
		k.base = strings.TrimRight(k.Homeserver.BaseURL(), "/")
	}
	server := k.named("server")
	ways := []vantage{server.route}
	if v, ok := k.frontVantage(server); ok {
		ways = append(ways, v)
	}
	root := "https://" + net.JoinHostPort(server.host, server.port)
	for _, v := range ways {
		if k.base == "" {
			if _, body, err := matrix.Get(ctx, k.client(v, k.Roots), root+"/.well-known/matrix/client", nil); err == nil {
				k.base = baseURL(body)
			}
		}
	}
	if k.base == "" {
		if resp, _, err := matrix.Get(ctx, k.client(server.route, k.Roots), root+pathVersions, nil); err == nil && resp.StatusCode == http.StatusOK {
			k.base = root
		}
	}
	if k.base == "" {
		return
	}
	host, port := hostOf(k.base), "443"
	if h, p, ok := cutPort(host); ok {
		host, port = h, p
	}
	for _, n := range k.names {
		if n.host == host && n.port == port {
			return
		}
	}
	n := &name{id: "homeserver", host: host, port: port, front: k.HomeserverHost, path: pathVersions, status: http.StatusOK, route: here()}
	if k.Hosts[n.front] == nil {
		n.front = k.Auth.Host
	}
	k.names = append(k.names, n)
}

// baseName is the id of the name that the client-server API has.
func (k *verifier) baseName() string {
	host, port := hostOf(k.base), "443"
	if h, p, ok := cutPort(host); ok {
		host, port = h, p
	}
	for _, n := range k.names {
		if n.host == host && n.port == port {
			return n.id
		}
	}
	return "homeserver" // findHomeserver has added it, where there is a base
}
