package rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/matrix"
)

// soon is how long before its end a certificate should have been renewed:
// certbot does so 30 days before.
const soon = 14 * 24 * time.Hour

// lookAtNames looks where the public names lead and whether they speak TLS.
func (k *looker) lookAtNames(ctx context.Context) {
	wanted := k.names
	switch k.scope {
	case Deployed:
		wanted = []*name{k.named("sfu"), k.named("auth")}
	case Announced:
		wanted = []*name{k.named("server")}
	}
	k.lookAt(ctx, wanted...)
	if k.scope == Deployed {
		return
	}
	k.findHomeserver(ctx)
	if n := k.named("homeserver"); n != nil {
		k.lookAt(ctx, n)
	}
}

func (k *looker) lookAt(ctx context.Context, names ...*name) {
	var dns, certs []look
	for _, n := range names {
		dns = append(dns, look{id: "dns." + n.id, name: "the addresses of " + n.host, part: Names, do: func(ctx context.Context) result { return k.dns(ctx, n) }})
		certs = append(certs, look{id: "tls." + n.id, name: "HTTPS and the certificate of " + n.host, part: Names, do: func(ctx context.Context) result { return k.tls(ctx, n) }})
	}
	k.all(ctx, dns...)
	k.all(ctx, certs...)
}

// lookUpTime bounds a look-up of a name.
const lookUpTime = 5 * time.Second

// dns resolves a name as the laptop does. Where that fails, or leads to a machine
// that serves something else, all that follows is looked at from the proxy's host.
func (k *looker) dns(ctx context.Context, n *name) result {
	lookUp, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	if ip, err := netip.ParseAddr(n.host); err == nil {
		n.addrs = []netip.Addr{ip}
		return good("it is an address")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(lookUp, "ip", n.host)
	if err != nil || len(addrs) == 0 {
		v, ok := k.frontVantage(n)
		if ok {
			n.route = v
		}
		why := "no address"
		if err != nil {
			why = err.Error()
		}
		return bad("name-unknown", WaySide, why, "all that follows was looked at from the proxy's own host")
	}
	var texts []string
	for _, a := range addrs {
		n.addrs = append(n.addrs, a.Unmap())
		texts = append(texts, a.Unmap().String())
	}
	said := n.host + " is " + strings.Join(texts, " and ")
	at, own := k.atFront(n)
	if !own || at {
		return good(said)
	}
	return k.elsewhere(ctx, n, said)
}

// atFront reports whether one of a name's addresses is one of the proxy's host; ok
// is false where its addresses are not known.
func (k *looker) atFront(n *name) (at, ok bool) {
	m := k.seen[n.front]
	if m == nil || m.err != nil {
		return false, false
	}
	for _, a := range n.addrs {
		if _, holds := m.holds(a); holds {
			return true, true
		}
	}
	return false, true
}

// elsewhere looks who answers at an address that the proxy's host does not hold: a
// router or a CDN before it, or somebody else.
func (k *looker) elsewhere(ctx context.Context, n *name, said string) result {
	url := "https://" + net.JoinHostPort(n.host, n.port) + n.path
	ask := func(v vantage) error {
		resp, _, err := matrix.Get(ctx, k.client(v, k.Roots), url, nil)
		if err == nil && resp.StatusCode != n.status {
			err = errors.New(answers(resp.StatusCode, "it"))
		}
		return err
	}
	wrong := ask(here())
	if wrong == nil {
		return good(said, "none of these is an address of "+n.front+", and this site answers there (NAT, or a CDN)")
	}
	v, ok := k.frontVantage(n)
	if !ok || ask(v) != nil {
		return good(said, "none of these is an address of "+n.front)
	}
	n.elsewhere, n.route = true, v
	return bad("name-elsewhere", WaySide, said, "none of these is an address of "+n.front+", where the site does answer; there: "+wrong.Error(), "all that follows was looked at from the proxy's own host")
}

// tls looks at the certificate, over the connection that a client makes.
func (k *looker) tls(ctx context.Context, n *name) result {
	leaf, err := k.handshake(ctx, n.route, n)
	if err == nil {
		return k.dates(n, leaf)
	}
	if code, ok := certificate(err); ok {
		r := bad(code, HostSide, err.Error(), validity(leaf))
		r.from = n.route.name
		return r
	}
	return k.closed(ctx, n, err)
}

// handshake returns the certificate even where it is not trusted.
func (k *looker) handshake(ctx context.Context, v vantage, n *name) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	conn, err := v.dial(ctx, "tcp", net.JoinHostPort(n.host, n.port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var leaf *x509.Certificate
	t := tls.Client(conn, &tls.Config{ServerName: n.host, RootCAs: k.Roots, MinVersion: tls.VersionTLS12, Time: k.now,
		VerifyConnection: func(s tls.ConnectionState) error { leaf = s.PeerCertificates[0]; return nil }})
	err = t.HandshakeContext(ctx)
	if err == nil {
		return leaf, nil
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(e.UnverifiedCertificates) > 0 {
		leaf = e.UnverifiedCertificates[0]
	}
	return leaf, err
}

func (k *looker) dates(n *name, leaf *x509.Certificate) result {
	left := leaf.NotAfter.Sub(k.now())
	r := good(validity(leaf), fmt.Sprintf("%d days are left", int(left.Hours()/24)))
	if left < soon {
		r = warn("certificate-soon", r.evidence...)
	}
	r.from = n.route.name
	return r
}

func validity(leaf *x509.Certificate) string {
	if leaf == nil {
		return ""
	}
	return fmt.Sprintf("for %s, from %s to %s, by %s", strings.Join(leaf.DNSNames, " "), leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), leaf.Issuer.CommonName)
}

// closed tells why no connection comes about: nobody answers on the host, its own
// firewall, or something between here and there.
func (k *looker) closed(ctx context.Context, n *name, cause error) result {
	v, ok := k.frontVantage(n)
	if !ok || n.route.name != laptop {
		return bad("https-closed", HostSide, cause.Error())
	}
	if _, err := k.handshake(ctx, v, n); err != nil {
		if _, answers := certificate(err); !answers {
			return bad("https-closed", HostSide, cause.Error(), "on "+n.front+" itself: "+err.Error())
		}
	}
	n.route = v
	evidence := []string{cause.Error(), "on " + n.front + " itself HTTPS is answered"}
	if at, own := k.atFront(n); len(n.addrs) > 0 && (at || !own) {
		a := n.addrs[0]
		port, _ := strconv.ParseUint(n.port, 10, 16) // of a URL that was parsed
		k.blaming.Lock()
		defer k.blaming.Unlock()
		b := k.blamePort(ctx, n.front, family("tcp", a), netip.AddrPortFrom(a, uint16(port)))
		evidence = append(evidence, b.Evidence...)
		if b.Side == HostSide {
			return bad("https-closed", HostSide, evidence...)
		}
	}
	return bad("https-blocked", WaySide, append(evidence, "all that follows was looked at from the proxy's own host")...)
}

// findHomeserver finds the base URL of the client-server API as a client does
// (Matrix specification, "Client well-known"), and adds its name.
func (k *looker) findHomeserver(ctx context.Context) {
	k.base = strings.TrimRight(k.HomeserverURL, "/")
	if k.base == "" {
		server := k.named("server")
		_, body, err := matrix.Get(ctx, k.client(server.route, k.Roots), "https://"+net.JoinHostPort(server.host, server.port)+"/.well-known/matrix/client", nil)
		if err == nil {
			k.base = baseURL(body)
		}
	}
	if k.base == "" {
		k.base = "https://" + k.Site.Domain()
	}
	host, port := hostOf(k.base), "443"
	if h, p, ok := cutPort(host); ok {
		host, port = h, p
	}
	for _, n := range k.names {
		if n.host == host {
			return // looked at already
		}
	}
	k.names = append(k.names, &name{id: "homeserver", host: host, port: port, front: k.SynapseHost, path: "/_matrix/client/versions", status: http.StatusOK, route: here()})
}

// baseName is the id of the name that the client-server API has.
func (k *looker) baseName() string {
	host := hostOf(k.base)
	if h, _, ok := cutPort(host); ok {
		host = h
	}
	for _, n := range k.names {
		if n.host == host {
			return n.id
		}
	}
	return "homeserver" // findHomeserver has added it
}
