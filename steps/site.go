package steps

import (
	"net/url"
	"strconv"
	"strings"
)

// Site is what every step of a site may know: the plan file's word on it, and
// what follows from that.
type Site struct {
	Name      string // the Matrix server name
	SFU       SFU
	Auth      Auth
	SFUFile   *Archive            // the SFU's image, where it comes from the laptop
	AuthFile  *Archive            // the JWT service's image, likewise
	Fronts    map[string][]Route  // by host name: what the proxy there serves
	WellKnown map[string]string   // by host name: path of the static file there
	Reaches   map[string][]string // by host name: the hosts whose proxy reaches the SFU there over the network
}

// Route is a public URL and where a proxy sends its requests.
type Route struct {
	Component string // "sfu" or "auth"
	URL       string // https://name[/prefix]
	Upstream  string // host:port, plain HTTP
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

// Dir is the folder on a host with all files of the site.
func (s Site) Dir() string { return "/etc/ecdeploy/" + s.slug() }

// Slug is a site's server name as a file name. Hosts remember what is a site's under
// it, so it stays as it is.
func Slug(serverName string) string {
	return strings.NewReplacer(":", "_", "/", "_").Replace(serverName)
}

func (s Site) slug() string { return Slug(s.Name) }

// LiveKitURL is the public signalling URL, wss://name[/prefix]. The JWT
// service hands it to clients as it is and calls LiveKit's API through it
// (element-hq/lk-jwt-service README).
func (s Site) LiveKitURL() string { return "wss" + strings.TrimPrefix(s.SFU.URL, "https") }

// Domain is the server name without a port.
func (s Site) Domain() string {
	if host, port, ok := strings.Cut(s.Name, ":"); ok && !strings.Contains(port, ":") {
		return host
	}
	return s.Name
}

// UDPRange is the first and last UDP port for media.
func (p Ports) UDPRange() (first, last int) {
	a, b, _ := strings.Cut(p.UDP, "-")
	first, _ = strconv.Atoi(strings.TrimSpace(a))
	last, _ = strconv.Atoi(strings.TrimSpace(b))
	return first, last
}
