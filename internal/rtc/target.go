package rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// Target is a site to look at.
type Target struct {
	Site  *steps.Site
	Hosts map[string]host.Host // connected, by their names in the plan file: all of the site and of From
	// Keys are the credentials that LiveKit's key file has, and Issues those that
	// the JWT service makes tokens with.
	Keys, Issues livekit.Pair
	// HTTPS is where the proxy on a host listens, by the host's name. A host that is
	// not in it has none of the plan file's own, and goes by public names.
	HTTPS map[string]string
	// SFU and Auth are the services that the call goes through.
	SFU, Auth Service
	// Homeserver is who can be asked how it is configured, on the host HomeserverHost.
	Homeserver     steps.Homeserver
	HomeserverHost string
	WellKnownHost  string         // serves the client well-known
	Roots          *x509.CertPool // nil: the system's
	Now            func() time.Time
	From           []string      // hosts that look along the same way, too
	Helper         bool          // leave to run a helper on the SFU's host
	User           *User         // nil: nothing is looked at as a Matrix user
	Participants   int           // in the call; at least 2
	Duration       time.Duration // of media of each kind
}

// Service is a part of the site as clients and other parts reach it.
type Service struct {
	Host         string
	Container    string
	URL          string // public: https://name[/prefix]
	WebSocket    string // wss://name[/prefix]
	Local        string // on its own host, http://address:port
	Signalling   int    // the port of Local
	TCP          int    // for media; 0 for a service that carries none
	UDP          [2]int // the first and the last port for media
	Addresses    []string
	Participants int
	Trust        string // a file of CAs on its host; "" for those of its image
	FullAccess   []string
}

// UDPRange is the first and the last UDP port for media.
func (s Service) UDPRange() (first, last int) { return s.UDP[0], s.UDP[1] }

// ServiceOf is a part of a site as it is reached for a purpose.
func ServiceOf(p steps.Part, purpose steps.Purpose) Service {
	s := Service{Host: p.Host, Addresses: p.Addresses, Participants: p.Participants, Trust: p.Trust}
	if p.Run != nil {
		s.Container = p.Run.Container
		s.FullAccess = strings.FieldsFunc(p.Run.Env["LIVEKIT_FULL_ACCESS_HOMESERVERS"], func(r rune) bool { return r == ',' })
	}
	for _, r := range p.Routes {
		if r.Purpose == purpose {
			s.URL, s.WebSocket, s.Local = r.URL, r.WebSocketURL(), r.LocalURL()
		}
	}
	for _, l := range p.Listens {
		switch {
		case l.For != steps.ForWorld:
			s.Signalling = l.First
		case l.Proto == "udp":
			s.UDP = [2]int{l.First, l.Last}
		default:
			s.TCP = l.First
		}
	}
	return s
}

// NewTarget is a site whose calls go through one of its SFUs.
func NewTarget(site *steps.Site, sfu steps.Part) Target {
	_, auth := site.Route(steps.Tokens)
	t := Target{Site: site, SFU: ServiceOf(sfu, steps.Signalling), Auth: ServiceOf(auth, steps.Tokens)}
	if r, p := site.Route(steps.Announce); r.File != "" {
		t.WellKnownHost = p.Host
	}
	for _, p := range site.Parts {
		if p.Homeserver != nil {
			t.Homeserver, t.HomeserverHost = p.Homeserver, p.Host
		}
	}
	return t
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
