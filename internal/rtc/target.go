package rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// Target is a site to look at.
type Target struct {
	Site  steps.Site
	Hosts map[string]host.Host // connected, by their names in the plan file: all of the site and of From
	// Keys are the credentials that LiveKit's key file has, and Issues those that
	// the JWT service makes tokens with.
	Keys, Issues livekit.Pair
	// HTTPS is where the proxy on a host listens, by the host's name. A host that is
	// not in it has none of the plan file's own, and goes by public names.
	HTTPS map[string]string
	// Synapse is set where it runs from a package on the host SynapseHost.
	Synapse     *steps.SynapseDebian
	SynapseHost string
	// HomeserverURL is the base URL of the client-server API; "" for the one that
	// the client well-known names.
	HomeserverURL string
	WellKnownHost string         // serves the client well-known
	Roots         *x509.CertPool // nil: the system's
	Now           func() time.Time
	From          []string      // hosts that look along the same way, too
	Helper        bool          // leave to run a helper on the SFU's host
	User          *User         // nil: nothing is looked at as a Matrix user
	Participants  int           // in the call; at least 2
	Duration      time.Duration // of media of each kind
}

// laptop is what links seen from here name as From.
const laptop = "laptop"

// vantage is where requests are sent from.
type vantage struct {
	name string
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// here is the laptop.
func here() vantage {
	d := net.Dialer{Timeout: dialTime}
	return vantage{laptop, d.DialContext}
}

// on is a host, which is asked to connect through its SSH connection.
func on(h host.Host) vantage { return vantage{h.Name(), h.DialContext} }

// to is v, connecting to addr whatever it is asked for.
func (v vantage) to(addr string) vantage {
	return vantage{v.name, func(ctx context.Context, network, _ string) (net.Conn, error) { return v.dial(ctx, network, addr) }}
}

// Bounds of single requests.
const (
	dialTime    = 5 * time.Second
	requestTime = 8 * time.Second
	maxBody     = 256 << 10 // bytes of an answer that are looked at
)

// client asks from v. It follows no redirect, keeps no connection, uses no
// proxy of the environment and speaks HTTP/1.1, as WebSockets do.
func (t Target) client(v vantage, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           v.dial,
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: t.Now},
			TLSHandshakeTimeout:   dialTime,
			ResponseHeaderTimeout: requestTime,
			DisableKeepAlives:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
