package steps

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/netaddr"
)

// Part is one piece of a site, for all who need not know what it is: preflight,
// firewalls, claims, proxies, verify, status and logs.
type Part struct {
	Name  string // "sfu": what status calls it
	Title string // "the SFU": what it is called in a sentence
	Host  string
	Run   *Run   // set for a part that is a container
	Unit  *Unit  // set for a part that is a service of the host
	Proxy *Proxy // set for a reverse proxy, through which routes of other parts go

	Listens []Listen
	Routes  []Route
	Needs   []Need
	// Resolves are names that it looks up from its host, each with what for.
	Resolves []Resolve
	// Files are paths on its host that no other site can have.
	Files []Claim
	// Own are paths of its files in the site's folder.
	Own []string
	// Addresses are those that clients are told to send media to; none where they
	// are found on the host.
	Addresses []string
	// Participants is how many people at once a part that carries media is for.
	Participants int
	// Trust is a file on its host with the CAs that it trusts; "" for those that
	// come with it.
	Trust      string
	Homeserver Homeserver // set for the homeserver
}

// Run is the container of a part.
type Run struct {
	Container string
	Image     string
	Archive   string   // path on the laptop of an image archive; "" for a registry
	File      *Archive // that archive, opened; nil while nothing is brought
	UID       int      // user and group in the container
	Env       map[string]string
	Other     string // another name for the container, as an example
}

// Unit is the service of a part.
type Unit struct {
	Name    string // "nginx.service"
	Title   string // "nginx"
	Version string // sh text that prints its version; nothing where it is not there
}

// Proxy is what is to be known of a reverse proxy.
type Proxy struct {
	// Foreign: somebody else configures it.
	Foreign bool
	// Somewhere: the plan file does not say where it is, so nobody can open a port
	// to it.
	Somewhere bool
}

// Listen is a range of ports that a part listens on.
type Listen struct {
	Proto       string // "tcp" or "udp"
	Bind        string // address; "" for all
	First, Last int
	For         Audience
	Claim       Claim // Fix says how to choose other ports
}

// Audience is who has to reach a port.
type Audience string

// The audiences of ports.
const (
	ForWorld   Audience = "world"   // clients, from anywhere
	ForProxies Audience = "proxies" // the proxy in front of it, also over the network
	ForHost    Audience = "host"    // its own host
)

// Claim is where the plan file chooses something that only one part can have.
type Claim struct {
	Path []string // blocks within the part's block: {"ports"}
	Attr string   // attribute
	What string   // the thing itself, where it is a name: a path
	Fix  string   // what to write instead
}

// Resolve is a name that a part looks up.
type Resolve struct {
	Name string
	Of   Purpose // or the name of the site's route for this purpose
	Why  string  // "the JWT service calls LiveKit by that name"
}

// Purpose is what a route is for.
type Purpose string

// The purposes of routes, by the protocols that clients speak there.
const (
	Signalling Purpose = "signalling" // the SFU's API and WebSockets
	Tokens     Purpose = "tokens"     // the MatrixRTC authorization service (MSC4195)
	Announce   Purpose = "announce"   // the client well-known
)

// Route is a public URL and where a proxy sends its requests.
type Route struct {
	Purpose   Purpose
	URL       string  // https://name[/prefix]
	Upstream  string  // host:port, plain HTTP
	File      string  // path on the proxy's own host of a static file that is served instead
	WebSocket bool    // it carries WebSockets that stay open for hours
	Quiet     bool    // URLs hold tokens: no access log
	CORS      bool    // the service sends its own CORS header, and browsers refuse two
	Checks    []Check // asked through the proxy
}

// Name is the public host name.
func (r Route) Name() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Prefix is the URL's path, without a slash at its end; "" for the root.
func (r Route) Prefix() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

// WebSocketURL is the URL for WebSockets: wss://name[/prefix].
func (r Route) WebSocketURL() string { return "wss" + strings.TrimPrefix(r.URL, "https") }

// LocalURL is where the upstream answers on its own host, http://host:port.
func (r Route) LocalURL() string {
	h, port, err := net.SplitHostPort(r.Upstream)
	if err != nil {
		return "http://" + r.Upstream
	}
	return "http://" + net.JoinHostPort(netaddr.Dialable(h), port)
}

// ChecksAt are the route's checks, sent to the proxy's own address, "" to go by
// the name.
func (r Route) ChecksAt(dial string) []Check {
	var out []Check
	for _, c := range r.Checks {
		if c.HTTP != nil {
			request := *c.HTTP
			request.Dial = dial
			c.HTTP = &request
		}
		out = append(out, c)
	}
	return out
}

// Need is something that the homeserver has to do so that calls work. What that
// means in its settings is for its variant to say.
type Need struct {
	What Requirement
	URL  string // of a Transport: the service URL that clients are to be told
}

// Requirement is a kind of need.
type Requirement string

// What calls need of a homeserver.
const (
	Transport     Requirement = "transport"      // announce the backend (MSC4143)
	DelayedEvents Requirement = "delayed-events" // leave for people whose connection breaks (MSC4140)
	OpenID        Requirement = "openid"         // say whose an OpenID token is
	StateAfter    Requirement = "state-after"    // room state in sync (MSC4222)
	RoomSummary   Requirement = "room-summary"   // rooms that one has not joined (MSC3266)
	CallRates     Requirement = "call-rates"     // limits that key exchange and leaving stay below
)

// CallNeeds are the needs of a backend that clients are told of by url.
func CallNeeds(url string) []Need {
	return []Need{{What: StateAfter}, {What: RoomSummary}, {What: DelayedEvents}, {What: CallRates}, {What: Transport, URL: url}, {What: OpenID}}
}

// Homeserver is what others ask about a homeserver without knowing what it is.
type Homeserver interface {
	// BaseURL is that of its client-server API; "" for the one that the client
	// well-known names.
	BaseURL() string
	// Configured reports whether State can say anything: not where somebody else
	// configures it.
	Configured() bool
	// State reads its effective configuration on its host.
	State(context.Context, host.Observer, *Site) (HomeserverState, error)
}

// HomeserverState is what a homeserver's own files say, for who wants to know
// whether calls can work rather than what to change.
type HomeserverState struct {
	Active   bool
	Unit     string // its service
	Problem  string // why its configuration could not be read
	Version  string // "1.160.0"; "" where it is not known
	Local    string // where it answers clients over plain HTTP on its own host; "" for nowhere
	Advert   bool   // it is new enough to say in /versions that it has transports
	Lacks    []Lack // what the effective configuration is to have and has not
	Settings int    // how many settings were looked at
}

// Lack is a setting that is not as calls need it.
type Lack struct {
	Need Requirement
	Path string // "matrix_rtc.transports"
	Have string // "" where nobody sets it
	Want string
}

// RouteTimeout bounds all tries of a check through a proxy.
const RouteTimeout = 20 * time.Second
