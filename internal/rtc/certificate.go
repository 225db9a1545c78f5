package rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// soon is how long before its end a certificate should have been renewed:
// certbot does so 30 days before.
const soon = 14 * 24 * time.Hour

// tls looks at the certificate, over the connections that clients make: one to each
// address.
func (k *verifier) tls(ctx context.Context, n *name) result {
	var last result
	ways := []vantage{n.route}
	if n.route.name == laptop && len(n.addrs) > 1 {
		ways = nil
		for _, a := range n.addrs {
			ways = append(ways, here().to(net.JoinHostPort(a.String(), n.port)))
		}
	}
	tried := 0
	var noWay []string
	for i, v := range ways {
		leaf, err := k.handshake(ctx, v, n)
		if err != nil && noRoute(err) && len(ways) > 1 {
			noWay = append(noWay, n.addrs[i].String()+" was not looked at: "+err.Error())
			continue // this laptop has one family alone
		}
		tried++
		if last = k.judgeTLS(ctx, n, leaf, err); last.status == Failed {
			break
		}
	}
	if tried == 0 {
		return bad("laptop-network", LaptopSide, append(noWay, k.reroute(n)...)...)
	}
	last.evidence = append(last.evidence, noWay...)
	return last
}

func (k *verifier) judgeTLS(ctx context.Context, n *name, leaf *x509.Certificate, err error) result {
	if err == nil {
		return k.dates(n, leaf)
	}
	code, untrusted := certificate(err)
	if !untrusted {
		return k.closed(ctx, n, err)
	}
	evidence := []string{err.Error(), validity(leaf)}
	if v, ok := k.frontVantage(n); ok && n.route.name == laptop {
		if own, err := k.handshake(ctx, v, n); err == nil {
			// Somebody between here and there answers in the host's place.
			return bad(code, WaySide, append(append(evidence, "on "+v.name+" itself it is trusted, "+validity(own)), k.reroute(n)...)...)
		}
	}
	r := bad(code, HostSide, evidence...)
	r.from = n.route.name
	return r
}

// noRoute reports whether this machine has no way to an address's network.
func noRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// handshake returns the certificate even where it is not trusted.
func (k *verifier) handshake(ctx context.Context, v vantage, n *name) (*x509.Certificate, error) {
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

func (k *verifier) dates(n *name, leaf *x509.Certificate) result {
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
	return fmt.Sprintf("for %s, from %s to %s, by %s",
		strings.Join(leaf.DNSNames, " "),
		leaf.NotBefore.Format(time.DateOnly),
		leaf.NotAfter.Format(time.DateOnly),
		leaf.Issuer.CommonName)
}

// closed tells why no connection comes about: nobody answers on the host, its own
// firewall, or something between here and there.
func (k *verifier) closed(ctx context.Context, n *name, cause error) result {
	v, ok := k.frontVantage(n)
	if !ok || n.route.name != laptop {
		return bad("https-closed", HostSide, cause.Error())
	}
	if _, err := k.handshake(ctx, v, n); err != nil {
		if _, answers := certificate(err); !answers {
			return bad("https-closed", HostSide, cause.Error(), "on "+n.front+" itself: "+err.Error())
		}
	}
	evidence := []string{cause.Error(), "on " + n.front + " itself HTTPS is answered"}
	if len(n.addrs) > 0 && len(k.foreign(n)) == 0 && n.serves {
		a := n.addrs[0]
		port, _ := strconv.ParseUint(n.port, 10, 16) // of a URL that was parsed
		k.blaming.Lock()
		defer k.blaming.Unlock()
		b := k.blamePort(ctx, n.front, family("tcp", a), netip.AddrPortFrom(a, uint16(port)))
		evidence = append(evidence, b.Evidence...)
		if slices.Contains([]Code{"firewall-tcp", "not-listening"}, b.Code) && b.Side == HostSide {
			return bad("https-closed", HostSide, evidence...)
		}
	}
	return bad("https-blocked", WaySide, append(evidence, k.reroute(n)...)...)
}

// certificate is why a TLS connection is not trusted, where it is not.
func certificate(err error) (Code, bool) {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "certificate-expired", true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "certificate-name", true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "certificate-untrusted", true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate-untrusted", true
	}
	return "", false
}
